"""State that an older astray has written, read as if this one had.

Rows are found by the names of their fields, so what an older layout did not have is 0 unless it
is said here what else it is. Before version 9 there were no totals of delegation: nothing is
known of them, so nothing about them is odd until there is. Before version 10 a note had 16 bits.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.kept import KEPT
from astray.baseline.layout import (
    CALLEES,
    DONOR,
    FIRST_TOTAL,
    OWNER,
    SCRIPT,
    SESSION,
    STATISTICS,
    TAUGHT,
    TOTALS,
)
from astray.baseline.pages import NOTE_MAX, PAGE, Pages

_ADDED = len(TOTALS) - CALLEES
ADDED_STATISTICS = slice(FIRST_TOTAL + CALLEES, FIRST_TOTAL + CALLEES + _ADDED)
"""Statistics that the version before did not have."""

_ADDED_TOTALS = slice(CALLEES, CALLEES + _ADDED)
_UNKNOWN_VARIANCE = 1.0
_FIXED = 65536.0
_ROWS = {
    "agents": OWNER,
    "groups": OWNER,
    "sessions": SESSION,
    "scripts": SCRIPT,
    "taught": TAUGHT,
    "donors": DONOR,
    "recent_donors": DONOR,
    "kept": KEPT,
}

Arrays = dict[str, NDArray[Any]]


def upgraded(rows: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return rows with today's fields; those of today are returned as they are."""
    if rows.dtype == dtype:
        return rows
    new = np.zeros(rows.shape, dtype)
    _take(rows, new)
    return new


def upgraded_shard(arrays: Arrays) -> Arrays:
    """Return the arrays of a shard's dump with today's layout."""
    arrays = arrays | {"pages": _with_short_notes(arrays["pages"])}
    if len(arrays["tally"][0]) == len(STATISTICS) + 1:
        return arrays
    new = arrays | {name: upgraded(arrays[name], _ROWS[name]) for name in _ROWS if name in arrays}
    for name in ("tally", "recent"):
        new[name] = np.insert(arrays[name], [ADDED_STATISTICS.start] * _ADDED, 0, axis=1)
    for name in ("agents", "groups"):
        new[name]["square"][:, _ADDED_TOTALS] = _UNKNOWN_VARIANCE * new[name]["totals"][:, None]
    units = _UNKNOWN_VARIANCE * _FIXED * new["taught"]["totals"][:, None]
    new["taught"]["square"][:, _ADDED_TOTALS] = units
    new["sessions"]["rated"][:, _ADDED_TOTALS] = math.inf  # those open now are never rated
    for name in ("sessions", "kept"):
        if name in new:
            new[name]["spread"][:, _ADDED_TOTALS] = math.sqrt(_UNKNOWN_VARIANCE)
    return new


def _with_short_notes(pages: Pages) -> Pages:
    """Return pages with notes of 8 bits; only days do not fit, and of them none is today."""
    if pages.dtype == PAGE:
        return pages
    new = np.zeros(pages.shape, PAGE)
    new["item"], new["weight"] = pages["item"], pages["weight"]
    new["note"] = np.where(pages["note"] <= NOTE_MAX, pages["note"], 0)
    return new


def _take(old: NDArray[Any], new: NDArray[Any]) -> None:
    if new.dtype.names:
        for name in set(old.dtype.names or ()) & set(new.dtype.names):
            _take(old[name], new[name])
    elif old.shape == new.shape:
        new[...] = old
    else:  # along the last axis there were no totals of delegation
        at = CALLEES if new.shape[-1] == len(TOTALS) else ADDED_STATISTICS.start
        new[..., :at] = old[..., :at]
        new[..., at + _ADDED :] = old[..., at:]
