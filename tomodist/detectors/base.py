"""What a 2D detector is.

One rule: a detector sees one image, knows its pixel size, and keeps nothing between images, so
that any worker can run it on any tilt. NaN in an image means not measured (outside the field
after alignment); a detector finds nothing there and says so with the value `UNMEASURED`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from tomodist.values.arrays import Float32Array, Image, Map
    from tomodist.values.boxes import Boxes


@runtime_checkable
class MapDetector(Protocol):
    """Marks the pixels of an image that belong to a structure."""

    def __call__(self, image: Image, pixel_size: float) -> Map:
        """Detect in one image.

        Parameters
        ----------
        image : ndarray, shape (height, width), float32
            NaN = not measured.
        pixel_size : float
            In Å.

        Returns
        -------
        ndarray, shape (height, width), uint8
            0, 1 = structure, 2 = not measured.
        """
        ...

    def parameters(self) -> dict[str, Any]:
        """Name and settings as plain values, for fingerprints and reports."""
        ...


@runtime_checkable
class BoxDetector(Protocol):
    """Finds objects in an image, each with its box."""

    def __call__(self, image: Image, pixel_size: float) -> Boxes:
        """Detect in one image.

        Parameters
        ----------
        image : ndarray, shape (height, width), float32
            NaN = not measured.
        pixel_size : float
            In Å.

        Returns
        -------
        Boxes
        """
        ...

    def parameters(self) -> dict[str, Any]:
        """Name and settings as plain values, for fingerprints and reports."""
        ...


@runtime_checkable
class ProbabilityDetector(Protocol):
    """Computes the probability of every class at every pixel."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names."""

    @property
    def thresholds(self) -> Float32Array:
        """Per class: a probability above is structure."""

    def probabilities(self, image: Image, pixel_size: float) -> Float32Array:
        """Probabilities of the classes in one image.

        Parameters
        ----------
        image : ndarray, shape (height, width), float32
            NaN = not measured.
        pixel_size : float
            In Å.

        Returns
        -------
        ndarray, shape (n_classes, height, width), float32
            0 to 1; 0 where the image was not measured.
        """
        ...

    def parameters(self) -> dict[str, Any]:
        """Name and settings as plain values, for fingerprints and reports."""
        ...


@runtime_checkable
class NeedyDetector(Protocol):
    """Detector that needs more memory than a few images, or files on the workers."""

    def memory(self, image_shape: tuple[int, int], pixel_size: float) -> int:
        """Memory that the detector needs for one image.

        Parameters
        ----------
        image_shape : tuple of int
            Height and width in pixels.
        pixel_size : float
            In Å.

        Returns
        -------
        int
            Bytes at the peak.
        """
        ...

    def folders(self) -> tuple[Path, ...]:
        """Folders that workers must see."""
        ...
