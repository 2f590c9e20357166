"""Donors of rehearsed attacks: past sessions, which are nobody's baseline.

Every new shard gets the same ones, a sample of all; candidates of the window that is not
over go where the counts of their shard go.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray import large
from astray.baseline.buffers import DONORS_NEXT, DONORS_USED, RECENT_DONORS_USED
from astray.baseline.layout import DONOR
from astray.baseline.memory import DONORS, RECENT_DONORS, Memory


def gathered_donors(
    memories: Iterable[Memory], own: Iterable[Memory], counters: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Return the donors of a new shard, and set its counters.

    `own` are the old shards whose counts it takes over.
    """
    donors = _chosen([m.donors[: m.counters[DONORS_USED]] for m in memories], DONORS)
    recent = _chosen(
        [m.recent_donors[: m.counters[RECENT_DONORS_USED]] for m in own], RECENT_DONORS
    )
    counters[DONORS_USED] = len(donors)
    counters[DONORS_NEXT] = len(donors) % DONORS
    counters[RECENT_DONORS_USED] = len(recent)
    return {
        "donors": large.longer(donors, DONORS),
        "recent_donors": large.longer(recent, RECENT_DONORS),
    }


def _chosen(donors: list[NDArray[Any]], most: int) -> NDArray[Any]:
    """Return those of the lowest order, which is as good as random."""
    found = np.concatenate(donors) if donors else np.zeros(0, DONOR)
    return found[np.argsort(found["order"], kind="stable")[:most]]
