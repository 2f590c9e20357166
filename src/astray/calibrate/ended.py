"""Ended sessions, as a reference keeps them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.layout import STATISTICS

_HALF_SHIFT = np.uint64(40)
_MIX, _MIX_SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)

Folds = NDArray[np.uint8]

Quantised = NDArray[np.uint16]
"""Statistics as a reference keeps them, session by session."""

ENDED = np.dtype(
    [
        ("session", np.uint64),
        ("start_us", np.int64),
        ("age", np.int32),
        ("kind", np.int32),  # of the self-made attack that it is; -1: none
        ("statistic", np.uint16, len(STATISTICS)),
    ]
)
"""An ended session of a reference."""


def ended_type(columns: int) -> np.dtype[Any]:
    """Return `ENDED` with so many detectors' columns after the statistics."""
    if not columns:
        return ENDED
    fields = [(name, ENDED[name]) for name in ENDED.names or () if name != "statistic"]
    return np.dtype([*fields, ("statistic", np.uint16, len(STATISTICS) + columns)])


def folds_of(sessions: NDArray[Any]) -> Folds:
    """Return the half of each session: as good as a coin, and whatever agents are called."""
    mixed = (sessions["start_us"].astype(np.uint64) * _MIX) >> _HALF_SHIFT
    return (mixed & np.uint64(1)).astype(np.uint8)


def parted(sessions: NDArray[Any], keys: NDArray[np.uint64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the sessions that stay, and the real ones that have these keys."""
    leaving = np.isin(mixed_ids(sessions), keys) & (sessions["kind"] < 0)
    return sessions[~leaving], sessions[leaving]


def ordered(pending: list[NDArray[Any]], pending_type: np.dtype[Any]) -> NDArray[Any]:
    """Return ended sessions in an order of their own, which is as good as random."""
    ended = np.concatenate(pending) if pending else np.zeros(0, pending_type)
    return ended[np.lexsort((*ended["statistic"].T, ended["kind"], ended["age"], mixed_ids(ended)))]


def mixed_ids(sessions: NDArray[Any]) -> NDArray[np.uint64]:
    """Return ids of sessions; all unnamed sessions of an agent have one name, but began apart."""
    mixed = sessions["session"] * _MIX + sessions["start_us"].astype(np.uint64)
    mixed = (mixed ^ (mixed >> _MIX_SHIFT)) * _MIX
    return np.asarray(mixed, np.uint64)
