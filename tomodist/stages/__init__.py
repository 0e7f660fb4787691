"""Steps over a whole tomogram: store in, store out, brick by brick on dask.

The steps meet only on disk and never import each other (they share `execute`, which runs tasks).
A task gets handles and reads its own windows; what it returns is small.
"""
