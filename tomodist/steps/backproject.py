"""Step: stored maps to a stored score volume (`scores/<label>`).

One brick is one task that reads its own windows of the maps; where there are fewer bricks than
workers, each brick's tilts are split into groups whose contributions are added in a tree.

Several classes of label maps are lifted in one pass: a task reads the window of every tilt once,
keeps it (a byte per pixel), and makes the bricks of all classes from it, one after the other; so
it holds the sums of one class at a time. The tilts that see a voxel are the same for all classes
and counted once. Tilts are not grouped then: where there are few bricks, smaller ones give the
workers something to do, and every group would hold the sums of all classes.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from tomodist.algorithms.lift.backproject import (
    Contribution,
    Lifting,
    lift_class,
)
from tomodist.errors import InputError
from tomodist.planning.plan import (
    Cut,
    Plan,
    Resources,
)
from tomodist.runtime.runner import Session, Task, Work, task_of
from tomodist.steps.parts.base import NewVolume, make_volumes
from tomodist.steps.parts.filling import fill_all
from tomodist.steps.parts.lifting import fill_scores, plan_scores
from tomodist.steps.parts.pyramid import plan_levels
from tomodist.store.maps import OneClass, stored_maps
from tomodist.store.volumes import image_reader
from tomodist.values.fingerprints import digest
from tomodist.values.maps import class_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.algorithms.lift.windows import ReadImage
    from tomodist.formats.zarr import ArrayHandle, Stack
    from tomodist.store.place import Staging
    from tomodist.store.tomogram import Label
    from tomodist.values.windows import Index

VERSION = 3  # of the algorithm; raise it when its results change


@dataclass(frozen=True)
class Backproject:
    """Step: `scores` of a label from its maps; or of several classes of label maps in one pass.

    Parameters
    ----------
    labels : tuple of Label
        Whose maps; several are classes of the same label maps, which are read once for all.
    lifting : Lifting
        How maps become scores, of all tilts.
    excluded : tuple of int
        Tilts that take no part.
    exclusion : {"given", "auto"}, optional
        How these came to be named; None if no tilts were to be left out.
    cut : Cut
        Brick and tilts per task, fixed instead of planned.
    """

    labels: tuple[Label, ...]
    lifting: Lifting
    excluded: tuple[int, ...] = ()
    exclusion: Literal["given", "auto"] | None = None
    cut: Cut = Cut()  # noqa: RUF009 -- a value

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """Of the backprojection, and of the smaller levels."""
        plan = plan_scores(self.lifting, 1, resources, n_classes=len(self.labels), cut=self.cut)
        grid, itemsize = self.lifting.grid, self.lifting.dtype.itemsize
        return plan, plan_levels(grid, plan.brick, itemsize, resources)

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether the scores of all labels are there, made just so."""
        return not self._missing(overwrite=overwrite)

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[None]:
        """Make the scores that are missing."""
        labels = self._missing(overwrite=True)
        lifting = self._of_rest
        some = self.tilts if self.excluded else None
        maps = [stored_maps(label.maps, some) for label in labels]
        record = {
            "n_tilts": lifting.geometry.n_tilts,
            "levels": lifting.max_score,
            "score_scale": lifting.scale,
            **self._parameters,
        }
        volumes = [NewVolume(label.scores, self._fingerprint(label), record) for label in labels]

        def fill_them(scores: list[ArrayHandle], _: list[Staging]) -> Work[None]:
            return _fill(list(zip(maps, scores, strict=True)), lifting, plans[0])

        yield from make_volumes(
            session, volumes, lifting.grid, lifting.dtype, plans[0].brick, "mean", fill_them
        )

    @property
    def tilts(self) -> tuple[int, ...]:
        """The tilts that take part."""
        left_out = set(self.excluded)
        return tuple(t for t in range(self.lifting.geometry.n_tilts) if t not in left_out)

    @property
    def _of_rest(self) -> Lifting:
        """The lifting of the tilts that take part."""
        if not self.excluded:
            return self.lifting
        lifting: Any = self.lifting  # a dataclass, whichever it is
        rest: Lifting = replace(lifting, geometry=lifting.geometry.select(self.tilts))
        return rest

    @property
    def _parameters(self) -> dict[str, Any]:
        """The lifting's parameters, and which tilts take no part."""
        if self.exclusion is None:
            return self.lifting.parameters
        left_out = {"exclude": self.exclusion, "excluded": list(self.excluded)}
        return self.lifting.parameters | left_out

    def _missing(self, *, overwrite: bool) -> list[Label]:
        return [
            label
            for label in self.labels
            if not label.scores.is_current(self._fingerprint(label), overwrite=overwrite)
        ]

    def _fingerprint(self, label: Label) -> dict[str, Any]:
        """What determines the scores."""
        lifting = self._of_rest
        return {
            "step": "backproject",
            "version": VERSION,
            "maps": label.maps.digest,
            "geometry": digest(lifting.geometry.to_dict()),
            "grid": lifting.grid.to_dict(),
            **self._parameters,
        }


def _fill(volumes: Sequence[tuple[Stack, ArrayHandle]], lifting: Lifting, plan: Plan) -> Work[None]:
    """Fill the volume of every class from its maps; several together if they share their pixels."""
    if len(volumes) == 1:
        yield from fill_scores(*volumes[0], lifting, plan)
        return
    classes = [(maps, scores) for maps, scores in volumes if isinstance(maps, OneClass)]
    stacks = {maps.stack for maps, _ in classes}
    if len(classes) < len(volumes) or len(stacks) > 1:
        raise InputError("only classes of the same label maps are lifted together")
    (stack,) = stacks

    def task(brick: Index, lacking: list[int]) -> Task:
        targets = [(classes[k][0].value, classes[k][1]) for k in lacking]
        return task_of(_write_classes, stack, targets, brick, lifting)

    name = f"backproject {len(classes)} classes"
    yield from fill_all(name, [scores for _, scores in classes], task, in_flight=plan.in_flight)


def _write_classes(
    labels: Stack, targets: Sequence[tuple[int, ArrayHandle]], brick: Index, lifting: Lifting
) -> None:
    """One brick of several classes; every window of the label maps is read once."""
    read = functools.cache(image_reader(labels))
    shared: Contribution = ()
    for value, scores in targets:
        start, stop = zip(*scores.window(brick), strict=True)
        values, shared = lift_class(lifting, _class_reader(read, value), start, stop, shared)
        scores.write(brick, values)
        del values  # or the next class would find it in memory


def _class_reader(read: ReadImage, value: int) -> ReadImage:
    """Reads binary maps of one class where label maps are read."""
    return lambda tilt, rows, columns: class_map(read(tilt, rows, columns), value)
