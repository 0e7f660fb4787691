"""The algorithms on one brick or one tile: plain functions of arrays and of a way to read windows.

Here is what the paper describes; `tomodist.kernels` holds the inner loops and `tomodist.stages`
runs these functions over a whole tomogram.
"""
