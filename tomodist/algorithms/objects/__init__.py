"""From scores or 2D boxes to structures."""
