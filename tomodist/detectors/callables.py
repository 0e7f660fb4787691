"""Anybody's function as a detector: ``package.module:function``.

    def find(image, pixel_size):  # (height, width) float32, NaN = not measured; Å
        return mask               # or probabilities, or boxes

What it may return:

    bool or uint8 (height, width)          a mask: 0, 1 = structure, 2 = not measured
    float (height, width)                  probabilities
    float (n_classes, height, width)       probabilities of several classes, of which one is used
    Boxes, or float (n, 5)                 rows of (y, x, height, width, score), in pixels

One rule: what travels to a worker is the text; each process imports it once. The hash of the file
that the function stands in is part of the detector's fingerprint, so an edited one runs again.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tomodist.errors import InputError
from tomodist.values.boxes import Boxes
from tomodist.values.maps import UNMEASURED, as_map

if TYPE_CHECKING:
    from tomodist.values.arrays import AnyArray, BoolArray, Image, Map


Kind = Literal["mask", "boxes"]
Function = Callable[..., Any]

_TRIAL = (96, 80)  # pixels; not square, so that a transposed result is found out
_FIELDS = 5  # of a row of boxes
_NO_ROWS = np.zeros((0, _FIELDS))
_ALLOWED = (
    "a mask (bool or uint8), probabilities (float), Boxes, or float rows of (y, x, height, width, "
    "score), y and x of the centre in pixels"
)


@dataclass(frozen=True)
class CallableDetector:
    """Detector from a function or an object, by its import path.

    Parameters
    ----------
    text : str
        ``"package.module:function"``; the part behind the colon may have dots.
    threshold : float
        On probability.
    channel : int, optional
        Which class's probabilities are used, from 0; needed where there are several.
    source : str, optional
        Hash of its source where the run began (see `pinned`): a process that has imported another
        version refuses to go on.

    Raises
    ------
    InputError
        If the text is of another form, or a number makes no sense.

    Examples
    --------
    >>> detector = CallableDetector("numpy:divide")  # "probabilities": image / pixel size
    >>> detector(np.array([[1, 6, np.nan]], np.float32), 10.0)
    array([[0, 1, 2]], dtype=uint8)
    """

    text: str
    threshold: float = 0.5
    channel: int | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        module, colon, name = self.text.partition(":")
        if not (
            colon and all(part.isidentifier() for part in (*module.split("."), *name.split(".")))
        ):
            raise InputError(
                f"{self.text!r} does not name a function; use package.module:function, such as "
                "mypackage.detectors:find_granules"
            )
        if not 0 < self.threshold < 1:
            raise InputError(
                f"the threshold `probability` is {self.threshold:g}; it must be between 0 and 1"
            )
        if self.channel is not None and self.channel < 0:
            raise InputError(f"`channel` is {self.channel}; it must be 0 or more")

    def __call__(self, image: Image, pixel_size: float) -> Any:  # noqa: ANN401 -- as the function
        """Detect in one image.

        Parameters
        ----------
        image : ndarray, shape (height, width), float32
            NaN = not measured.
        pixel_size : float
            In Å.

        Returns
        -------
        ndarray, shape (height, width), uint8, or Boxes
            0, 1 = structure, 2 = not measured; or boxes, if the function gives boxes.

        Raises
        ------
        InputError
            If it cannot be imported, raises something, or returns something else.
        """
        function, source = imported(self.text)
        if self.source not in (None, source):
            raise InputError(
                f"{self.text} was edited after this process imported it; restart its workers"
            )
        try:
            returned = function(image.copy(), pixel_size)  # its own, to do with what it likes
        except Exception as error:  # whatever it raises
            raise InputError(
                f"{self.text} raised {type(error).__name__}: {error}; it is called with an image "
                f"of shape {image.shape}, float32, NaN where not measured, and its pixel size in Å"
            ) from error
        return self._understood(returned, np.isfinite(image))

    def check(self, pixel_size: float = 10.0) -> Kind:
        """Apply it to a small image of noise with an unmeasured rim.

        Parameters
        ----------
        pixel_size : float
            To try it with, in Å.

        Returns
        -------
        {"mask", "boxes"}
            What it gives.

        Raises
        ------
        InputError
            As of a call.
        """
        image = np.random.default_rng(0).standard_normal(_TRIAL, dtype=np.float32)
        image[:2] = np.nan
        return "boxes" if isinstance(self(image, pixel_size), Boxes) else "mask"

    def parameters(self) -> dict[str, Any]:
        """Name, settings and hash of the source as plain values; those of a detector too."""
        function, source = imported(self.text)
        of = getattr(function, "parameters", None)
        own = of() if callable(of) and not isinstance(function, type) else {}
        settings = {"threshold": self.threshold, "channel": self.channel}
        return {"detector": self.text, **settings, "source": source, **({"of": own} if own else {})}

    def _understood(self, returned: Any, measured: BoolArray) -> Map | Boxes:  # noqa: ANN401
        if isinstance(returned, Boxes):
            return returned
        empty = (
            isinstance(returned, np.ndarray)
            and returned.shape != measured.shape
            and not returned.size
        )
        if empty or (isinstance(returned, list | tuple) and not returned):
            returned = _NO_ROWS  # no boxes, however somebody writes it
        if not isinstance(returned, np.ndarray):
            raise InputError(f"{self.text} returned a {type(returned).__name__}; return {_ALLOWED}")
        if returned.ndim == 2 and returned.shape[1] == _FIELDS and returned.shape != measured.shape:
            return self._boxes(returned, measured.shape)
        if returned.dtype in (np.bool_, np.uint8) and returned.shape == measured.shape:
            return self._mask(returned, measured)
        if (
            returned.dtype.kind == "f"
            and returned.shape[-2:] == measured.shape
            and returned.ndim in (2, 3)
        ):
            return self._cut(returned, measured)
        raise InputError(
            f"{self.text} returned an array of shape {returned.shape}, {returned.dtype}, for an "
            f"image of shape {measured.shape}; return {_ALLOWED}"
        )

    def _boxes(self, rows: AnyArray, shape: tuple[int, ...]) -> Boxes:
        try:
            boxes = Boxes(rows[:, :2], rows[:, 2:4], rows[:, 4])
        except (InputError, TypeError) as error:
            raise InputError(f"{self.text} returned invalid boxes: {error}") from error
        beyond = ((boxes.center < -0.5) | (boxes.center > np.array(shape))).any(axis=1)
        # Corners (y0, x0, y1, x1) read as centre and size lie far beyond the image.
        beyond |= (boxes.center + 0.4 * boxes.size > np.array(shape)).any(axis=1)
        flat = (boxes.size <= 0).any(axis=1)
        wrong = beyond | flat  # one or two may lie at the border
        if flat.any() or (beyond.sum() > 2 and 2 * beyond.sum() > len(boxes)):
            row = ", ".join(f"{v:g}" for v in rows[np.flatnonzero(wrong)[0]])
            raise InputError(
                f"{self.text} returned {wrong.sum()} of {len(boxes)} boxes that have no size or "
                f"lie beyond an image of {shape[0]} x {shape[1]} pixels, such as ({row}); rows are "
                "(y, x, height, width, score), y and x of the centre: convert corners to that"
            )
        return boxes

    def _mask(self, returned: AnyArray, measured: BoolArray) -> Map:
        if returned.dtype == np.uint8 and returned.max(initial=0) > UNMEASURED:
            raise InputError(
                f"{self.text} returned a mask with the value {returned.max()}; return 0, 1 for "
                "structure and 2 for not measured (or float for probabilities)"
            )
        return as_map(returned == 1, measured & (returned != UNMEASURED))

    def _cut(self, returned: AnyArray, measured: BoolArray) -> Map:
        values = returned if returned.ndim == 2 else self._chosen(returned)
        known = values[measured]  # filters spread NaN over what was not measured: that is no fault
        if not np.isfinite(known).all():
            raise InputError(
                f"{self.text} returned probabilities that are not finite where the image was "
                "measured; fill NaN before you filter"
            )
        if known.size and not (known.min() >= 0 and known.max() <= 1):
            raise InputError(
                f"{self.text} returned values from {known.min():g} to {known.max():g}; "
                "probabilities lie between 0 and 1 (apply a sigmoid to logits)"
            )
        return as_map(values > self.threshold, measured)

    def _chosen(self, returned: AnyArray) -> AnyArray:
        if len(returned) == 1 and self.channel is None:
            return np.asarray(returned[0])
        if self.channel is None or self.channel >= len(returned):
            raise InputError(
                f"{self.text} returned probabilities of {len(returned)} classes, but `channel` is "
                f"{self.channel}; set it to 0 to {len(returned) - 1}"
            )
        return np.asarray(returned[self.channel])

    def pinned(self) -> CallableDetector:
        """Copy of the detector that is tied to the current version of its source."""
        return replace(self, source=imported(self.text)[1])


@functools.cache
def imported(text: str) -> tuple[Function, str | None]:
    """Object that an import path names, and the hash of its source; imported once per process.

    Raises
    ------
    InputError
        If there is no such module, importing it fails, or it has nothing callable of that name.
    """
    module, _, name = text.partition(":")
    try:
        named: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise InputError(f"{text}: importing {module} needs {error.name}: {error}") from error
        raise InputError(
            f"{text}: module {error.name} not found; add its folder to PYTHONPATH on every machine "
            "that works"
        ) from error
    except Exception as error:  # whatever the module's code raises
        raise InputError(
            f"{text}: importing {module} raised {type(error).__name__}: {error}"
        ) from error
    for part in name.split("."):
        if not hasattr(named, part):
            names = ", ".join(n for n in vars(named) if not n.startswith("_")) or "nothing"
            raise InputError(f"{text}: {module} has no {part!r} (available: {names[:200]})")
        named = getattr(named, part)
    if not callable(named):
        raise InputError(f"{text} is a {type(named).__name__}; it must be callable")
    return named, source_hash(named)


def source_hash(function: Any) -> str | None:  # noqa: ANN401 -- any object
    """Hash of the file that something callable was defined in; None where there is none.

    The whole file counts, because a function calls others beside it.
    """
    kinds = (inspect.isfunction, inspect.ismethod, inspect.isclass)
    inner = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = inner.func
    defined = inner if any(is_kind(inner) for is_kind in kinds) else type(inner)
    try:
        path = inspect.getsourcefile(defined)
        return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else None
    except (TypeError, OSError):  # built in, or compiled
        return None
