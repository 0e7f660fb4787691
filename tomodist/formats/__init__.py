"""Outside formats: bytes to values and back. Nothing else knows how a format looks."""
