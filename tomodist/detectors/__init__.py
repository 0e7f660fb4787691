"""Two-dimensional detectors: images in, maps or boxes out."""
