"""Steps over a whole tomogram: each makes one unit of the store, brick by brick.

The steps meet only on disk and never import each other. A task gets handles and reads its own
windows; what it returns is small.
"""
