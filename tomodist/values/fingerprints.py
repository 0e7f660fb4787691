"""Fingerprints: plain values that say all that determines a result; hashes and differences."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Fingerprint = Mapping[str, Any]


def plain(value: Any) -> Any:  # noqa: ANN401 -- any JSON value
    """The value as JSON gives it back (tuples become lists, keys become strings)."""
    return json.loads(json.dumps(value))


def digest(value: Any) -> str:  # noqa: ANN401 -- any JSON value
    """Short, stable hash of a plain value.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def differences(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Differences of two fingerprints, in words.

    Parameters
    ----------
    old, new : mapping
        Fingerprints.

    Returns
    -------
    list of str
        One change each.

    Examples
    --------
    >>> differences({"sigma": 2, "input": "a"}, {"sigma": 3, "input": "a"})
    ['sigma was 2, now 3']
    """
    keys = [k for k in {**old, **new} if old.get(k) != new.get(k)]
    return [_change(k, old.get(k), new.get(k)) for k in keys]


def _change(key: str, old: Any, new: Any) -> str:  # noqa: ANN401 -- any JSON values
    """One change; hashes and long values mean nothing to a reader."""
    if key == "made_from" and old and new:
        return ", ".join(f"{u} changed" for u in {**old, **new} if old.get(u) != new.get(u))
    was, now = json.dumps(old), json.dumps(new)
    if key in ("tilt_series", "maps", "scores") or max(len(was), len(now)) > 60:
        return f"{key.replace('_', ' ')} changed" if old and new else f"{key} differs"
    return f"{key} was {was}, now {now}"
