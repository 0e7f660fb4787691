"""Detect structures on cryo-ET tilt series and lift them to 3D by backprojection."""
