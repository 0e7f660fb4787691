"""Values that all other folders use: geometry, boxes, maps, windows. No input or output."""
