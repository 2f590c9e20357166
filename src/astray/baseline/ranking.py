"""A shard's own, coarse ranking of sessions: it decides what is reported and what is learnt.

Histograms of past sessions' statistics, per age class of the agent, and of the fused number;
frozen while an event-time window lasts, so the order of sessions inside it does not matter.
What a person sees is ranked in `calibrate`, over the whole tenant.
"""

import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from astray.baseline.layout import AGE_CLASSES, FIRST_TOTAL, IMPERSONATION, STATISTICS
from astray.compiled import compiled, inner, int64

BINS = 256
FUSED_BINS = 512
_FUSED_RESOLUTION = 8.0
_SESSIONS_MAX = 20_000
"""Beyond so many sessions in an age class its counts are halved: old ones are forgotten."""

_STEPS = 32
"""The ranking is renewed when a 32nd part of its sessions is new: often enough, and rarely."""

_RESOLUTION = np.full(len(STATISTICS), 4.0)
_RESOLUTION[IMPERSONATION:FIRST_TOTAL] = 16.0

_ENDED_PER_OPEN = 2

AGES = np.array([5, 31])
"""An agent's age class by its number of past sessions: below 5, up to 30, more."""

Counts = TypeVar("Counts", int, NDArray[np.int64])
Tally = NDArray[np.int32]
Ranks = NDArray[np.float32]


def new_tally() -> Tally:
    """Return the counts of no session; the last row of an age class counts the fused number."""
    return np.zeros((AGE_CLASSES, len(STATISTICS) + 1, FUSED_BINS), np.int32)


@inner
def age_class(sessions: int) -> int:
    """Return the age class of an agent with so many past sessions."""
    return int64(sessions >= AGES[0]) + int64(sessions >= AGES[1])


@inner
def bin_of(statistic: int, value: float) -> int:
    """Return the bin of a statistic's value."""
    return min(int(value * _RESOLUTION[statistic]), BINS - 1)


@inner
def fused_bin(bits: float) -> int:
    """Return the bin of a fused number."""
    return min(int(bits * _FUSED_RESOLUTION), FUSED_BINS - 1)


@compiled
def rank_bins(tally: Tally, ranks: Ranks) -> None:
    """Fill `ranks` (shape of `tally`) with the bits of reaching each bin."""
    for age in range(tally.shape[0]):
        for row in range(tally.shape[1]):
            sessions = 0
            for place in range(tally.shape[2]):
                sessions += tally[age, row, place]
            reaching = sessions
            for place in range(tally.shape[2]):
                ranks[age, row, place] = math.log2((sessions + 1.0) / (reaching + 1.0))
                reaching -= tally[age, row, place]


def rank(tally: Tally, unsettled: NDArray[np.int64], ranks: Ranks) -> None:
    """Fill `ranks` with the bits of reaching each bin; in an unsettled age class nothing is odd."""
    rank_bins(tally, ranks)
    ranks[unsettled > 0] = 0.0


def is_settled(ended: Counts, still_open: Counts) -> Any:
    """Return whether enough sessions of an age class have ended for others to be ranked.

    Those that end first are the short ones. Until twice as many have ended as are open, these
    would be ranked against them, and be odd for being long.
    """
    return ended >= _ENDED_PER_OPEN * still_open


def counted(tally: Tally) -> NDArray[np.int64]:
    """Return how many sessions are counted, by age class."""
    return np.asarray(tally[:, -1].sum(axis=1), np.int64)


def fold(tally: Tally, recent: Tally) -> bool:
    """Move recent counts into `tally` if they are worth it, forgetting by halves."""
    new = int(recent[:, -1].sum())
    if new * _STEPS <= int(tally[:, -1].sum()):
        return False
    tally += recent
    recent[:] = 0
    full = counted(tally) > _SESSIONS_MAX
    tally[full] >>= 1
    return True
