"""A dumped reference as it would be today: its layout, its columns, its experts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.layout import AGE_CLASSES, STATISTICS
from astray.baseline.upgrading import ADDED_STATISTICS, upgraded
from astray.calibrate.ended import ended_type
from astray.calibrate.fusing import Experts
from astray.detectors.levels import MISSING
from astray.detectors.panel import moved

Arrays = dict[str, NDArray[Any]]


def upgrade(arrays: Arrays, columns: int) -> None:
    """Give sessions of an older layout today's statistics: what is added is missing of them.

    Experts that do not know all of today's are forgotten: the past teaches new ones at once.
    """
    today = ended_type(columns)
    for name in [name for name in arrays if arrays[name].dtype.names]:
        if arrays[name].dtype != today:
            arrays[name] = upgraded(arrays[name], today)
            arrays[name]["statistic"][:, ADDED_STATISTICS] = MISSING
    known = Experts.none(len(STATISTICS) + columns).slopes.shape
    for age in range(AGE_CLASSES):
        if f"slopes{age}" in arrays and arrays[f"slopes{age}"].shape != known:
            for name in Experts._fields:
                del arrays[f"{name}{age}"]


def move_columns(arrays: Arrays, before: Sequence[str], now: Sequence[str]) -> None:
    """Give dumped sessions the columns there are now; experts knew only those there were."""
    if tuple(before) == tuple(now):
        return
    for name in [
        name for name in arrays if name.startswith(("past", "attacks", "pending", "struck"))
    ]:
        old = arrays[name]
        new = arrays[name] = np.zeros(len(old), ended_type(len(now)))
        for field in ("session", "start_us", "age", "kind"):
            new[field] = old[field]
        first, rest = np.split(old["statistic"], [len(STATISTICS)], axis=1)
        new["statistic"] = np.concatenate((first, moved(rest, before, now, MISSING)), axis=1)
    for name in [name for name in arrays if name.startswith(Experts._fields)]:
        del arrays[name]


def experts_in(arrays: Mapping[str, NDArray[Any]], age: int) -> Experts:
    """Return the experts of an age class; where there are none, those that know nothing."""
    names = [f"{name}{age}" for name in Experts._fields]
    return Experts(*(arrays[name] for name in names)) if names[0] in arrays else Experts.none()
