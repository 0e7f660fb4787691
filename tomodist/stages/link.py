"""Step: 2D boxes linked across tilts become located structures: `structures/<label>`.

Boxes are small (a row each), so this is one task; no volume is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tomodist.io.boxes import stored_boxes
from tomodist.io.structures import track_columns
from tomodist.io.tables import write_table
from tomodist.lift.tracks import link_boxes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tomodist.io.store import Tomogram
    from tomodist.lift.seen import LinkRule
    from tomodist.stages.execute import Session

VERSION = 1
_OF_VOTES = ("scores", "curves", "labels")  # what locating by votes leaves, which would disagree


def fingerprint_of(
    tomogram: Tomogram, label: str, rule: LinkRule, exclude: Sequence[int] = ()
) -> dict[str, Any]:
    """What determines the structures."""
    maps = tomogram.digest(f"maps/{label}")
    excluded = {"excluded": list(exclude)} if exclude else {}
    return {"step": "link", "version": VERSION, "maps": maps, **vars(rule), **excluded}


def link_structures(
    session: Session,
    tomogram: Tomogram,
    label: str,
    rule: LinkRule,
    *,
    exclude: Sequence[int] = (),
    overwrite: bool = False,
) -> bool:
    """Make `structures/<label>` from the boxes in `maps/<label>`.

    Parameters
    ----------
    session : Session
        Told of the progress.
    tomogram : Tomogram
        The store.
    label : str
        Which boxes.
    rule : LinkRule
        Which of them belong together.
    exclude : sequence of int
        Tilts whose boxes are not used.
    overwrite : bool
        Replace structures that were made differently, and the volumes that belong to those.

    Returns
    -------
    bool
        False if the structures were there already.

    Raises
    ------
    ExistsError, StoreError
    """
    unit, fingerprint = f"structures/{label}", fingerprint_of(tomogram, label, rule, exclude)
    if tomogram.is_current(unit, fingerprint, overwrite=overwrite):
        return False
    session.progress.start(f"link {label}", 1)
    every = stored_boxes(tomogram.array(f"maps/{label}", "boxes"))
    boxes = [b[:0] if t in set(exclude) else b for t, b in enumerate(every)]
    tracks = link_boxes(tomogram.geometry, tomogram.grid, boxes, rule)
    with tomogram.stage(unit, fingerprint) as staging:
        staging.clear()
        write_table(staging.path, track_columns(tracks, tomogram.geometry, tomogram.grid))
        staging.describe(method="tracks", **vars(rule))
    for kind in _OF_VOTES:
        tomogram.remove(f"{kind}/{label}")
    session.progress.advance()
    return True
