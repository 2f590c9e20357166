"""Ended sessions that somebody may still be asked about: what they taught, or would have taught.

A session that was suspicious, or that may have been reported while it ran, is kept when it
ends, with all that a verdict about it needs. Its table of items becomes the kept row's, where
an item's weight is what the session has taught of it: that can be taken back to the ulp, as
weights are forward-decayed and therefore add up.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.buffers import KEPT_USED, N_UNKEPT, UNITS
from astray.baseline.layout import NOVELTY_CHANNELS, TOTALS
from astray.baseline.pages import WAYS, Pages, release, set_weight
from astray.compiled import inner, int64

KEPT_MAX = 1 << 14
"""Sessions that a shard keeps. Beyond them the oldest go, and they are counted."""

KEPT_OF_AGENT_MAX = 16
"""Sessions that are kept of one agent: first those that were judged, then those in quarantine."""

KEPT_MARGIN = 4
"""Sessions that may end between two looks at how many are kept."""

KEPT_ROWS_MIN = 64

HELD, EXCUSED, PEERS_EXCUSED, CONFIRMED, SUSPECT, RELEASED = range(6)
"""What is known of a kept session: nothing but what the gate made of it; it is a false
positive, for its agent or for all its peers; it is a true positive; it came after one;
it was in quarantine and has been let out."""

KEPT = np.dtype(
    [
        ("key", np.uint64),
        ("run", np.int32),  # its items; their weights are what the agent has learnt from it
        ("run_bits", np.int32),
        ("agent", np.uint64),
        ("tenant", np.uint64),
        ("verdict", np.uint64),  # the verdict that is in force; 0: none
        ("start_us", np.int64),
        ("last_us", np.int64),
        ("until_us", np.int64),  # the end of that verdict
        ("held_us", np.int64),  # when what is excused was last made as good as new
        ("before", np.float64),  # what it had taught, and was, before it was judged
        ("state_before", np.int32),
        ("state", np.int32),
        ("taught", np.float64),  # what the session weighs in the agent's rates and masses ...
        ("totals_taught", np.float64),  # ... and in its totals
        ("units", np.int32),  # what the gate let it teach
        ("unusual", np.int32),  # 1: its totals have been taught as they were, not clipped
        ("items", np.int32, NOVELTY_CHANNELS),
        ("items_new", np.int32, NOVELTY_CHANNELS),
        ("total", np.float64, len(TOTALS)),
        ("expected", np.float32, len(TOTALS)),
        ("spread", np.float32, len(TOTALS)),
    ]
)
"""A session that is kept."""


@inner
def _note_what_was_taught(pages: Pages, table: Any, weight: float) -> None:
    first = int64(table["run"]) * WAYS
    for leaf in range(first, first + (WAYS << int64(table["run_bits"]))):
        set_weight(pages, leaf, weight)


@inner
def keep(
    kept: NDArray[Any],
    counters: NDArray[np.int64],
    pages: Pages,
    session: Any,
    agent: Any,
    units: int,
    weight: float,
) -> None:
    """Keep a session that has just been learnt; its table is the kept row's from now on."""
    place = counters[KEPT_USED]
    if place == len(kept):
        counters[N_UNKEPT] += 1
        release(pages, session)
        return
    counters[KEPT_USED] = place + 1
    row = kept[place]
    taught = weight * units / UNITS
    row["key"] = session["key"]
    row["run"] = session["run"]
    row["run_bits"] = session["run_bits"]
    row["agent"] = agent["key"]
    row["tenant"] = session["tenant"]
    row["verdict"] = np.uint64(0)
    row["start_us"] = session["start_us"]
    row["last_us"] = session["last_us"]
    row["until_us"] = 0
    row["held_us"] = 0
    row["before"] = 0.0
    row["state_before"] = HELD
    row["taught"] = taught
    row["totals_taught"] = taught
    row["units"] = units
    row["state"] = HELD
    row["unusual"] = 0
    for channel in range(NOVELTY_CHANNELS):
        row["items"][channel] = session["items"][channel]
        row["items_new"][channel] = session["items_new"][channel]
    for total in range(len(TOTALS)):
        row["total"][total] = session["total"][total]
        row["expected"][total] = session["expected"][total]
        row["spread"][total] = session["spread"][total]
    _note_what_was_taught(pages, session, taught)
    session["run"] = 0
    session["run_bits"] = 0
