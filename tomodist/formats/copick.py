"""Picks in the folder layout of copick, written without it.

One rule: a position is in Å from the centre of voxel 0, as in this package, so nothing is shifted.

    <root>/copick_config.json
    <root>/ExperimentRuns/<run>/Picks/<user>_<session>_<object>.json

Underscores separate the parts of a file's name, so user, session and object have none; a session of
``0`` is a tool's. The run is called like the tomogram.

References
----------
https://github.com/copick/copick (models.py, impl/filesystem.py, of version 1.27)
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodist.errors import InputError
from tomodist.values.structures import merit

if TYPE_CHECKING:
    import xarray as xr

CONFIG = "copick_config.json"
_MADE_BY = "Written by tomodist"
_COLORS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (213, 94, 0), (204, 121, 167))
_UPRIGHT = np.eye(4).tolist()  # structures have no orientation


@dataclass(frozen=True)
class Picks:
    """Tomogram, object, user and session of a file of picks.

    Parameters
    ----------
    run : str
        The tomogram.
    name : str
        The object; underscores become ``-``.
    user, session : str
        Letters, digits, ``-`` and ``.``.

    Raises
    ------
    InputError
        If one of them cannot be part of the file's name.

    Examples
    --------
    >>> str(Picks("TS_01", "gold_10nm").path)
    'ExperimentRuns/TS_01/Picks/tomodist_0_gold-10nm.json'
    """

    run: str
    name: str
    user: str = "tomodist"
    session: str = "0"

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name.replace("_", "-"))
        for name in ("user", "session"):
            value = getattr(self, name)
            if not re.fullmatch(r"[A-Za-z0-9.-]+", value):
                raise InputError(
                    f"`{name}` is {value!r}; use only letters, digits, '-' and '.', as copick does"
                )

    @property
    def path(self) -> Path:
        """Path of the file below the root."""
        file = f"{self.user}_{self.session}_{self.name}.json"
        return Path("ExperimentRuns", self.run, "Picks", file)


def picks_json(picks: Picks, table: xr.Dataset, voxel_size: float) -> str:
    """Content of a picks file.

    Parameters
    ----------
    picks : Picks
        Whose they are.
    table : Dataset
        Structures, with z, y, x in Å from the centre of voxel 0.
    voxel_size : float
        Of the tomogram, in Å.

    Returns
    -------
    str
    """
    columns = [table[name].values.tolist() for name in ("x", "y", "z", "id")]
    points = [
        {
            "location": {"x": x, "y": y, "z": z},
            "transformation_": _UPRIGHT,
            "instance_id": number,
            "score": score,
        }
        for x, y, z, number, score in zip(*columns, merit(table).tolist(), strict=True)
    ]
    content = {
        "pickable_object_name": picks.name,
        "user_id": picks.user,
        "session_id": picks.session,
        "run_name": picks.run,
        "voxel_spacing": voxel_size,
        "unit": "angstrom",
        "trust_orientation": False,
        "points": points,
    }
    return json.dumps(content, indent=2)


def config_json(root: Path, picks: Picks, table: xr.Dataset) -> str | None:
    """Content of the configuration that makes the picks known.

    Parameters
    ----------
    root : Path
        Folder of the project.
    picks : Picks
        Names the object.
    table : Dataset
        Structures; the radius is half of their median size in y and x.

    Returns
    -------
    str or None
        None if the object is known already, or the file that is there is not ours to change.
    """
    try:
        config = json.loads((root / CONFIG).read_text())
        objects = config["pickable_objects"]
        ours = str(config["description"]).startswith(_MADE_BY)
    except FileNotFoundError:
        config, objects, ours = _new_config(root), [], True
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # A configuration that a person wrote is never changed.
    if not ours or any(known["name"] == picks.name for known in objects):
        return None
    config["pickable_objects"] = [*objects, _object(picks.name, objects, table)]
    return json.dumps(config, indent=2)


def _new_config(root: Path) -> dict[str, Any]:
    return {
        "config_type": "filesystem",
        "name": root.name,
        "description": f"{_MADE_BY}; it adds objects when it exports picks of them.",
        "version": "1.0.0",
        "pickable_objects": [],
        "overlay_root": f"local://{root.absolute()}",
        "overlay_fs_args": {"auto_mkdir": True},
    }


def _object(name: str, others: list[dict[str, Any]], table: xr.Dataset) -> dict[str, Any]:
    label = 1 + max((other["label"] for other in others), default=0)
    sizes = np.array([table["size_y"].values, table["size_x"].values])
    return {
        "name": name,
        "is_particle": True,
        "label": label,
        "color": [*_COLORS[(label - 1) % len(_COLORS)], 255],
        "radius": round(float(np.median(sizes)) / 2, 3) if sizes.size else None,
    }
