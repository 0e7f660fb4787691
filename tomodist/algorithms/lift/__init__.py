"""Maps to scores and volumes to images: backprojection, and its transpose."""
