"""Names of the array types: each means one element type, everywhere in the package.

One rule: a name says the element type, never a shape; shapes stand in the docstrings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
"""Geometry, positions, scores and measures: float64."""

Float32Array = npt.NDArray[np.float32]
"""Grey values, probabilities and outputs of networks: float32."""

Image = Float32Array
"""One image, shape (height, width), float32; NaN = not measured."""

IntArray = npt.NDArray[np.int64]
"""Indices, counts and windows: int64."""

BoolArray = npt.NDArray[np.bool_]
"""Masks: bool."""

UInt8Array = npt.NDArray[np.uint8]
"""Scores and masks as they are stored: uint8."""

Map = UInt8Array
"""2D map or label map of a tilt: uint8; see `tomodist.values.maps` for its values."""

AnyArray = npt.NDArray[Any]
"""Any element type: what a file or a function of the user holds."""
