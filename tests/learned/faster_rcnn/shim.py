"""torchvision's missing operator, for a torch without CUDA; for tests, and for this version alone.

PyPI's torchvision for Linux is linked with CUDA. Beside a torch for the CPU its own operators are
never registered, and importing it fails. What a Faster R-CNN needs of them is the thinning-out of
overlapping boxes, which is written here in plain torch; RoIAlign torchvision has in Python itself.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

VERSION = "0.28.0"
_LIBRARIES: list[Any] = []  # a library's operators live as long as it does


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes (x0, y0, x1, y1) that no surer one overlaps by more than so much."""
    order = scores.argsort(descending=True, stable=True)
    low, high = boxes[order, :2], boxes[order, 2:]
    area = (high - low).prod(1)
    sides = torch.minimum(high[:, None], high) - torch.maximum(low[:, None], low)
    common = sides.clamp(min=0).prod(2)
    near = (common / (area[:, None] + area - common) > iou_threshold).numpy()
    kept = np.ones(len(near), np.bool_)
    for k in range(len(near)):
        if kept[k]:
            kept[k + 1 :] &= ~near[k, k + 1 :]
    return order[torch.from_numpy(kept)]


def load() -> str:
    """Import torchvision, with the operator if that is what is missing; else, why it fails."""
    try:
        importlib.import_module("torchvision")
    except ImportError as error:
        return str(error)
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            return str(error)
        return _supplied()
    return ""


def _supplied() -> str:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # half-imported
    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", nms, "CPU")
    _LIBRARIES.append(library)
    torchvision: Any = importlib.import_module("torchvision")
    if torchvision.__version__.split("+")[0] != VERSION:
        return f"torchvision is {torchvision.__version__}; this knows {VERSION}"
    torchvision.extension._has_ops = lambda: True  # all that `_assert_has_ops` asks
    align: Any = importlib.import_module("torchvision.ops.roi_align")
    align._roi_align = align._roi_align.__wrapped__  # as it is, not compiled
    return ""
