"""Compiled inner loops: arrays in, arrays out; no validation, no input or output, no threads.

One layout for all of them, in which the innermost loop runs along y and every row is contiguous,
so that one weight serves a whole row in the single-axis case:

    images  (tilt, column, row)   ``origin[t]`` is the image pixel (row, column) of [t, 0, 0]
    bricks  (z, x, y)             ``start`` is the volume index (z, y, x) of the voxel at [0, 0, 0]

Positions are computed from *global* voxel indices with the full-volume matrices, so a voxel gets
bitwise the same footprint in whatever brick it is computed. Each ``*_rows`` kernel is the
single-axis form of the ``*_any`` kernel beside it: it skips work whose result is known, and is
tested to give equal results. In the single-axis form, row k of every window is row k of the brick.
"""

from tomodist.kernels.cache import choose_cache

choose_cache()  # before numba's decorators look for a place
