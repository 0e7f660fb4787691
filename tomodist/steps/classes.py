"""Step: every class of label maps becomes a label of its own.

    maps/<label>   0, a class number, 255 = not measured     by the step that makes maps
    maps/<class>   boxes, and a reference to its value in maps/<label>     by this one

One rule: pixels are stored once. A class is seen through `tomodist.store.maps.stored_maps`.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tomodist.errors import ExistsError
from tomodist.planning.tiles import plan_of_images
from tomodist.runtime.runner import task_of
from tomodist.steps.parts.filling import fill_all
from tomodist.store.boxes import BOXES, create_boxes, write_boxes
from tomodist.store.maps import MAPS
from tomodist.values.boxes import Boxes, boxes_of
from tomodist.values.maps import class_map, class_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.formats.zarr import ArrayHandle
    from tomodist.planning.plan import Plan, Resources
    from tomodist.runtime.runner import Session, Task, Work
    from tomodist.store.tomogram import Label
    from tomodist.values.windows import Index

VERSION = 1


@dataclass(frozen=True)
class ReferClasses:
    """Step: the `maps` of every class: its boxes, and which value it is.

    Parameters
    ----------
    label : Label
        Of the label maps.
    classes : dict of int to Label
        Labels of the classes by value.
    """

    label: Label
    classes: dict[int, Label]

    def check_replaceable(self) -> None:
        """Refuse, before anything is done, to replace maps that are no class of these label maps.

        Raises
        ------
        ExistsError
        """
        for value, name in self.classes.items():
            if not name.maps.exists():
                continue
            record = name.maps.attributes
            if (record.get("class_of"), record.get("value")) != (self.label.name, value):
                raise ExistsError(
                    f"{name.tomogram}: {name.maps} exists and is not class {value} of "
                    f"{self.label}; use `overwrite` to replace it, or another name in `classes`"
                )

    def plans(self, resources: Resources) -> tuple[Plan, ...]:
        """One task per tilt."""
        geometry = self.label.tomogram.geometry
        stack = (geometry.n_tilts, *geometry.image_shape)
        return (plan_of_images("find classes", stack, resources, itemsize=0),)

    def is_current(self, *, overwrite: bool) -> bool:
        """Whether the maps of all classes are there, made just so."""
        return not self._missing(overwrite=overwrite)

    def work(self, session: Session, plans: Sequence[Plan]) -> Work[None]:  # noqa: ARG002
        """Find the boxes of the classes that are missing."""
        values = self._missing(overwrite=True)
        maps = self.label.maps.array(MAPS)
        n_tilts = self.label.tomogram.geometry.n_tilts
        with ExitStack() as stack:
            boxes = []
            for value in values:
                unit = self.classes[value].maps
                staging = stack.enter_context(unit.stage(self._fingerprint(value)))
                if not staging.has(BOXES):
                    staging.clear()
                    create_boxes(staging, n_tilts)
                boxes.append(staging.array(BOXES))
                staging.describe(class_of=self.label.name, value=value)

            def task(brick: Index, lacking: list[int]) -> Task:
                targets = [(values[k], boxes[k]) for k in lacking]
                return task_of(_write_boxes_of, maps, targets, brick[0])

            yield from fill_all(f"classes of {self.label}", boxes, task)

    def _missing(self, *, overwrite: bool) -> list[int]:
        """Values whose maps are not there."""
        return [
            value
            for value, name in self.classes.items()
            if not name.maps.is_current(self._fingerprint(value), overwrite=overwrite)
        ]

    def _fingerprint(self, value: int) -> dict[str, Any]:
        whole = self.label.maps
        made_from = {whole.name: whole.digest}
        return {"step": "class", "version": VERSION, "value": value, "made_from": made_from}


def _write_boxes_of(
    maps: ArrayHandle, targets: Sequence[tuple[int, ArrayHandle]], tilt: int
) -> None:
    labels = maps.read((tilt, tilt + 1))[0]
    present = set(class_values(labels))
    for value, boxes in targets:
        of_class = boxes_of(class_map(labels, value)) if value in present else Boxes.empty()
        write_boxes(boxes, tilt, of_class.center, of_class.size, of_class.score)
