"""Reading and writing: one module per outside format, and the tomogram store."""
