"""Counts that add, and their quotients: voxels in common, and things that have a counterpart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from tomodist.errors import InputError

if TYPE_CHECKING:
    from tomodist.values.arrays import BoolArray


@dataclass(frozen=True)
class Confusion:
    """Counts of voxels; they add.

    Parameters
    ----------
    tp, fp, fn : int
        Voxels that are in both, in the prediction alone, in the truth alone.

    Examples
    --------
    >>> Confusion(6, 2, 0) + Confusion(0, 0, 4)
    Confusion(tp=6, fp=2, fn=4)
    >>> (Confusion(6, 2, 4).iou, Confusion(6, 2, 4).precision, Confusion(6, 2, 4).recall)
    (0.5, 0.75, 0.6)
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @classmethod
    def of(cls, predicted: npt.ArrayLike, truth: npt.ArrayLike) -> Self:
        """Compare two masks.

        Parameters
        ----------
        predicted, truth : array_like, any one shape, bool
            Anything but 0 is inside.

        Returns
        -------
        Confusion

        Raises
        ------
        InputError
            If the shapes differ.
        """
        a, b = same_masks(predicted, truth)
        both = int(np.count_nonzero(a & b))
        return cls(both, int(np.count_nonzero(a)) - both, int(np.count_nonzero(b)) - both)

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def iou(self) -> float:
        """Intersection over union."""
        return _quotient(self.tp, self.tp + self.fp + self.fn)

    @property
    def dice(self) -> float:
        """2 tp / (2 tp + fp + fn), which is also F1."""
        return _quotient(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """Share of the prediction that is true."""
        return _quotient(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the truth that is predicted."""
        return _quotient(self.tp, self.tp + self.fn)


@dataclass(frozen=True)
class Agreement:
    """Counts of things that have a counterpart on the other side; they add.

    Parameters
    ----------
    predicted_hits, n_predicted : int
        Predictions near a truth, of all predictions.
    truth_hits, n_truth : int
        Truths near a prediction, of all truths.

    Examples
    --------
    >>> agreement = Agreement(3, 4, 3, 6)
    >>> agreement.precision, agreement.recall, agreement.f1
    (0.75, 0.5, 0.6)
    """

    predicted_hits: int = 0
    n_predicted: int = 0
    truth_hits: int = 0
    n_truth: int = 0

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            self.predicted_hits + other.predicted_hits,
            self.n_predicted + other.n_predicted,
            self.truth_hits + other.truth_hits,
            self.n_truth + other.n_truth,
        )

    @property
    def precision(self) -> float:
        """Share of the predictions that hit."""
        return _quotient(self.predicted_hits, self.n_predicted)

    @property
    def recall(self) -> float:
        """Share of the truths that are hit."""
        return _quotient(self.truth_hits, self.n_truth)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        p, r = self.precision, self.recall
        return 2 * p * r / (p + r) if p + r else 0.0


def same_masks(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[BoolArray, BoolArray]:
    """Two arrays as masks of one shape.

    Parameters
    ----------
    a, b : array_like
        Any values; 0 is outside.

    Returns
    -------
    tuple of ndarray, bool
    """
    first, second = np.asarray(a, dtype=np.bool_), np.asarray(b, dtype=np.bool_)
    if first.shape != second.shape:
        raise InputError(f"the masks must have one shape; found {first.shape} and {second.shape}")
    return first, second


def _quotient(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
