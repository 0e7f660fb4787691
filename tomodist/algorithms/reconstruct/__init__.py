"""Grey values: weighted backprojection and SIRT."""
