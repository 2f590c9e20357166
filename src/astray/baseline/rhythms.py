"""Rhythms: how long something usually shows no sign of life, measured in its own time.

An agent that works office hours is silent every night, and that says nothing. So pauses are
not measured in hours but in signs of life that were to be expected: every window adds the
share of such windows (same hour of the day, weekday or weekend) in which it used to show
itself. Nights and weekends add next to nothing; for a thing with no habits of the hour it is
the time as it is. By the time-rescaling theorem pauses are, in that time, near to exponential
whatever the habits, which is what `decide.silence` derives its limit from.

Only windows count in which the thing's source has given something at all: while a source is
silent nothing is known of what it would have told, and nobody's pause grows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.compiled import compiled, float64, inner, int64

CELLS = 48
"""Hours of a day (UTC), of weekdays and of weekends."""

BLOCK_US = 28 * 86_400_000_000
"""Pauses are remembered for one to two times so long."""

_SEEN_MAX = 20
"""A cell's share goes by about so many of its last windows: four weeks of weekdays."""

FINE, ALONE, IN_MASS, TOLD = range(4)
"""States: heard of; silent with a case of its own, in a common one, in none any more."""

RHYTHM = np.dtype(
    [
        ("key", np.uint64),
        ("tenant", np.uint64),
        ("source", np.uint64),  # the source that has told of it last
        ("kind", np.uint8),
        ("state", np.uint8),
        ("first_us", np.int64),
        ("last_us", np.int64),  # the latest window that it has shown itself in
        ("mark_us", np.int64),
        ("block_us", np.int64),  # when the present block of pauses began
        ("pauses", np.int32, 2),  # in the present block and in the one before
        ("largest", np.float64, 2),
        ("waited", np.float64),  # the present pause
        ("share", np.float32, CELLS),
        ("seen", np.uint8, CELLS),
    ]
)
"""How something shows itself: an agent, or an action of a tenant's agents."""

SEEN = np.dtype(
    [("key", np.uint64), ("tenant", np.uint64), ("source", np.uint64), ("kind", np.uint8)]
)
"""What has shown itself in a window."""


@inner
def _has(sorted_ids: NDArray[np.uint64], wanted: np.uint64) -> bool:
    low, high = int64(0), int64(len(sorted_ids))
    while low < high:
        middle = (low + high) // 2
        if sorted_ids[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low < len(sorted_ids) and sorted_ids[low] == wanted


@inner
def _end_pause(rhythm: Any, window_us: int) -> None:
    blocks = (window_us - rhythm["block_us"]) // BLOCK_US
    if blocks >= 1:
        rhythm["pauses"][1] = rhythm["pauses"][0] if blocks == 1 else 0
        rhythm["largest"][1] = rhythm["largest"][0] if blocks == 1 else 0.0
        rhythm["pauses"][0], rhythm["largest"][0] = 0, 0.0
        rhythm["block_us"] += blocks * BLOCK_US
    rhythm["pauses"][0] += 1
    rhythm["largest"][0] = max(rhythm["largest"][0], rhythm["waited"])
    rhythm["waited"] = 0.0
    rhythm["last_us"] = window_us


@compiled
def learn(
    table: NDArray[Any],
    rows: NDArray[np.int64],
    sources: NDArray[np.uint64],
    giving: NDArray[np.uint64],
    window_us: int,
    cell: int,
) -> None:
    """Let a window pass, in which these rows have shown themselves and these sources gave.

    A pause is learnt after it has ended, and its window's share after it has counted.
    """
    for place in range(len(rows)):
        rhythm = table[rows[place]]
        rhythm["mark_us"], rhythm["source"] = window_us, sources[place]
    for row in range(len(table)):
        rhythm = table[row]
        if not _has(giving, rhythm["source"]):
            continue
        share, seen = float64(rhythm["share"][cell]), int64(rhythm["seen"][cell])
        shows = rhythm["mark_us"] == window_us
        rhythm["waited"] += share
        rhythm["share"][cell] = share + ((1.0 if shows else 0.0) - share) / (seen + 2.0)
        rhythm["seen"][cell] = min(seen + 1, _SEEN_MAX)
        if shows and rhythm["last_us"] < window_us:
            _end_pause(rhythm, window_us)


@compiled
def overdue(
    table: NDArray[Any],
    giving: NDArray[np.uint64],
    learn_us: int,
    pauses_min: int,
    out: NDArray[np.int64],
) -> int:
    """Find what is known well enough and pauses for longer than ever; return how many.

    What its source is silent about is left alone, and so is what a case speaks of already.
    """
    found = 0
    for row in range(len(table)):
        rhythm = table[row]
        largest = max(rhythm["largest"][0], rhythm["largest"][1])
        pauses = int64(rhythm["pauses"][0]) + int64(rhythm["pauses"][1])
        is_known = pauses >= pauses_min and rhythm["last_us"] - rhythm["first_us"] >= learn_us
        is_late = rhythm["state"] == FINE and rhythm["waited"] > largest
        if is_known and is_late and _has(giving, rhythm["source"]):
            out[found] = row
            found += 1
    return int64(found)
