"""Step: label maps made elsewhere become `maps/<label>`, and every class a label of its own.

1  pixels    `maps/<label>` by the step that makes maps: 0, a class number, 255 = not measured
2  classes   `maps/<class>` for every class: boxes, and a reference to its value in `maps/<label>`

One rule: pixels are stored once. A class is seen through `tomodist.store.maps.stored_maps`.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from tomodist.errors import ExistsError
from tomodist.formats.zarr import ArrayHandle
from tomodist.runtime.runner import Session, Task, task_of
from tomodist.store.boxes import create_boxes, write_boxes
from tomodist.values.boxes import Boxes, boxes_of
from tomodist.values.maps import class_map, class_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from tomodist.store.tomogram import Tomogram
    from tomodist.values.windows import Index

    LabelMap = npt.NDArray[np.uint8]

VERSION = 1


def check_class_labels(
    tomogram: Tomogram, label: str, classes: Mapping[int, str], *, overwrite: bool
) -> None:
    """Refuse, before anything is done, to replace maps that are no class of these label maps.

    Raises
    ------
    ExistsError
    """
    for value, name in classes.items():
        unit = f"maps/{name}"
        if overwrite or not tomogram.has(unit):
            continue
        made = tomogram.attributes(unit)
        if (made.get("class_of"), made.get("value")) != (label, value):
            raise ExistsError(
                f"{tomogram.path}: {unit} exists and is not class {value} of {label}; use "
                "--overwrite to replace it, or another name in --classes"
            )


def refer_classes(
    session: Session,
    tomogram: Tomogram,
    label: str,
    classes: Mapping[int, str],
    *,
    overwrite: bool = False,
) -> bool:
    """Make `maps/<class>` of every class from `maps/<label>`: its boxes, and which value it is.

    Parameters
    ----------
    session : Session
        Where tasks run.
    tomogram : Tomogram
        The store.
    label : str
        Of the label maps.
    classes : mapping of int to str
        Names by value.
    overwrite : bool
        Replace maps that were made differently.

    Returns
    -------
    bool
        False if all were there already.

    Raises
    ------
    ExistsError, InputError, StoreError
    """
    whole = f"maps/{label}"
    made_from = {whole: tomogram.digest(whole)}
    made = {
        value: {"step": "class", "version": VERSION, "value": value, "made_from": made_from}
        for value in classes
    }
    wanted = [
        value
        for value, name in classes.items()
        if not tomogram.is_current(f"maps/{name}", made[value], overwrite=overwrite)
    ]
    if not wanted:
        return False
    maps, n_tilts = tomogram.array(whole, "maps"), tomogram.geometry.n_tilts
    with ExitStack() as stack:
        boxes = []
        for value in wanted:
            unit = f"maps/{classes[value]}"
            staging = stack.enter_context(tomogram.stage(unit, made[value]))
            path = staging.path / "boxes"
            if not staging.has("boxes"):
                staging.clear()
                create_boxes(path, n_tilts)
            boxes.append(ArrayHandle(str(path)))
            staging.describe(class_of=label, value=value)

        def task(brick: Index, lacking: list[int]) -> Task:
            targets = [(wanted[k], boxes[k]) for k in lacking]
            return task_of(_write_boxes_of, maps, targets, brick[0])

        session.fill_all(f"classes of {label}", boxes, task)
    return True


def _write_boxes_of(
    maps: ArrayHandle, targets: Sequence[tuple[int, ArrayHandle]], tilt: int
) -> None:
    labels = maps.read((tilt, tilt + 1))[0]
    there = set(class_values(labels))
    for value, boxes in targets:
        found = boxes_of(class_map(labels, value)) if value in there else Boxes.empty()
        write_boxes(boxes, tilt, found.center, found.size, found.score)
