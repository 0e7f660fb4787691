"""MRC files: header, extended header, reading, writing."""
