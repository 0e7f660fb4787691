"""Values that everything else is told in: geometry, boxes, maps, windows. No input or output."""
