"""Which network: a small value that a model's document holds; torch is not needed to read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tomodist.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

FASTER_RCNN = "faster-rcnn"
NAMES = ("residual-unet", "dense-unet", FASTER_RCNN)
MONAI = "monai:"
N_REGRESSION = 4
"""Outputs of a network for boxes beside one per class: where, and how large."""
N_ROWS, N_COLUMNS = 100, 6
"""What a Faster R-CNN gives of an image: so many boxes, each a row of so many numbers."""

_DEFAULTS: dict[str, dict[str, Any]] = {
    "residual-unet": {"widths": (16, 32, 64, 128), "stem_stride": 2, "output_stride": 1},
    # DenseNet-121, the encoder of CheXNet
    "dense-unet": {"blocks": (6, 12, 24, 16), "growth": 32, "output_stride": 1},
    FASTER_RCNN: {"backbone": "resnet50", "pretrained": False, "min_size": 0},
}


@dataclass(frozen=True)
class Architecture:
    """A network by name.

    Parameters
    ----------
    name : str
        ``"residual-unet"``, ``"dense-unet"``, ``"faster-rcnn"``, or ``"monai:<class>"`` such as
        ``"monai:SegResNet"``.
    dims : {2, 3}
        Of images or of volumes.
    n_outputs : int
        Channels of the output; of a network for boxes 4 more than it has classes.
    options : dict
        What differs from the network's defaults, as plain values.

    Raises
    ------
    InputError
        If the name or an option is unknown, or a number makes no sense.

    Examples
    --------
    >>> Architecture("residual-unet", 2, 1).all_options
    {'widths': (16, 32, 64, 128), 'stem_stride': 2, 'output_stride': 1}
    """

    name: str = "residual-unet"
    dims: Literal[2, 3] = 2
    n_outputs: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in NAMES and not (self.name.startswith(MONAI) and self.name[6:]):
            raise InputError(
                f"network {self.name!r} is unknown; it must be one of {', '.join(NAMES)}, or "
                "monai:CLASS such as monai:SegResNet"
            )
        if self.dims not in (2, 3) or self.n_outputs < 1:
            raise InputError(
                f"a network has {self.dims} dimensions and {self.n_outputs} outputs; it must have "
                "2 or 3 dimensions and at least 1 output"
            )
        known = _DEFAULTS.get(self.name, self.options)
        unknown = sorted(set(self.options) - set(known))
        if unknown:
            raise InputError(
                f"network {self.name} has no option {unknown[0]!r}; use one of {', '.join(known)}"
            )
        for name in ("widths", "blocks"):
            numbers = self.options.get(name, (16,))
            if not isinstance(numbers, list | tuple) or not all(
                isinstance(n, int) for n in numbers
            ):
                raise InputError(
                    f"{name} is {numbers!r}; it must be whole numbers, such as 16,32,64"
                )
        widths = self.options.get("widths", (16,))
        if self.name == "residual-unet" and (not widths or any(w < 16 or w % 16 for w in widths)):
            raise InputError(
                f"widths are {tuple(widths)}; each must be a multiple of 16 (narrower ones crash "
                "oneDNN: its issue 6035)"
            )

    @property
    def all_options(self) -> dict[str, Any]:
        """Defaults, and what differs from them."""
        return {**_DEFAULTS.get(self.name, {}), **self.options}


def bytes_per_pixel(name: str, dims: int, options: Mapping[str, Any]) -> int:
    """Memory of a network per pixel (or voxel) of a window during detection.

    Nine arrays of the first level's channels, measured of the default network; of a DenseNet the
    channels that it has gathered when its first block ends; of a network from elsewhere as much as
    MONAI's SegResNet of 32 filters, the largest that was measured.

    Parameters
    ----------
    name : str
        Name of the architecture.
    dims : {2, 3}
        Of images or of volumes.
    options : mapping
        Options that differ from the defaults.

    Returns
    -------
    int
        Bytes per pixel or voxel, in float32.

    Examples
    --------
    >>> bytes_per_pixel("residual-unet", 2, {}), bytes_per_pixel("residual-unet", 3, {})
    (144, 72)
    """
    used = {**_DEFAULTS.get(name, {}), **options}
    if name == "residual-unet":
        return int(36 * used["widths"][0] / used["stem_stride"] ** dims)
    if name == "dense-unet":
        return int(20 * used["growth"] * (2 + used["blocks"][0]) / 2**dims)
    return 950
