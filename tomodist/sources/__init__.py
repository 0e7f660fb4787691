"""Where 2D maps come from: detectors, stacks, boxes, label maps, annotations."""
