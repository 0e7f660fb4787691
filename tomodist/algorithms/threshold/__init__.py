"""From scores to the threshold above which a voxel is structure."""
