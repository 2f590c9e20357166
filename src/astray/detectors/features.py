"""What a detector sees of a session: its totals and statistics as numbers from 0 to 1.

Totals differ by orders of magnitude, so their logarithms are taken. Half-space trees ask for
numbers from 0 to 1, and no other model minds them. Whose a session is, and when, are numbers of
another kind: they are for models that count by them, and nobody sees them unasked.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.layout import FIRST_TOTAL, RHYTHM, STATISTICS, TOTALS

_COUNT_MOST = 1e5
_BYTES_MOST = 2.0**40
_SECONDS_MOST = 7 * 86_400.0
_BITS_MOST = 64.0
_US_PER_S = 1e6
_US_PER_HOUR = 3_600_000_000
_EXACT = np.uint64(11)
"""So many bits of an id are left out, and the rest is exact as a float."""

Column = NDArray[np.float64]


def _total(place: int, most: float) -> Callable[[NDArray[Any]], Column]:
    return lambda rows: _scaled(rows["total"][:, place], most)


def _statistic(place: int) -> Callable[[NDArray[Any]], Column]:
    return lambda rows: _scaled(rows["statistic"][:, place], _BITS_MOST)


def _seconds(rows: NDArray[Any]) -> Column:
    return _scaled((rows["ts_us"] - rows["start_us"]) / _US_PER_S, _SECONDS_MOST)


def _failed_share(rows: NDArray[Any]) -> Column:
    failed = rows["total"][:, TOTALS.index("failures")] + rows["total"][:, TOTALS.index("denials")]
    return np.minimum(failed / np.maximum(rows["total"][:, TOTALS.index("events")], 1.0), 1.0)


def _scaled(values: NDArray[Any], most: float) -> Column:
    """Return the logarithms of values, 1 for `most` and for whatever is more."""
    logs = np.log1p(np.maximum(values, 0.0, dtype=np.float64)) / np.log1p(most)
    return np.minimum(logs, 1.0)


def _id(name: str) -> Callable[[NDArray[Any]], Column]:
    return lambda rows: (rows[name] >> _EXACT).astype(np.float64)


def _hour(rows: NDArray[Any]) -> Column:
    return np.asarray(rows["ts_us"] // _US_PER_HOUR, np.float64)


_BYTES = ("bytes", "largest")
_OTHERS = (*range(FIRST_TOTAL), *range(RHYTHM, len(STATISTICS)))

FEATURES: dict[str, Callable[[NDArray[Any]], Column]] = {
    **{
        name: _total(place, _BYTES_MOST if name in _BYTES else _COUNT_MOST)
        for place, name in enumerate(TOTALS)
    },
    "seconds": _seconds,
    "failed_share": _failed_share,
    **{STATISTICS[place]: _statistic(place) for place in _OTHERS},
}
"""By name: what a session adds up to (`layout.TOTALS`), how long it has lasted, which part of
its events failed or was denied, and the other statistics."""

WHOSE: dict[str, Callable[[NDArray[Any]], Column]] = {
    "agent": _id("agent"),
    "group": _id("group"),
    "hour": _hour,
}
"""Ids that are as good as names, and the hour since 1970 that a session has come to."""

_EVERY = FEATURES | WHOSE

DEFAULT = (
    *TOTALS,
    "seconds",
    "novelty_sum",
    "novelty_peers",
    "impersonation_action",
    "impersonation_transition",
)
"""What a detector sees that does not say: totals, duration, how new and whose it looks."""


def unknown_features(names: Iterable[str]) -> list[str]:
    """Return those names that are of no feature."""
    return [name for name in names if name not in _EVERY]


def features_of(rows: NDArray[Any], names: Sequence[str]) -> list[dict[str, float]]:
    """Return what a detector sees of each session (rows of `buffers.RECORD`)."""
    columns = [_EVERY[name](rows).tolist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
