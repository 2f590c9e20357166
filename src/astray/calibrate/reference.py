"""The reference: past sessions against which a tenant's sessions are ranked.

Per age class of the agent, the statistics of the latest sessions are kept as they ended.
A session's statistic is ranked among them, the ranks are fused, and the fused number is
ranked among the fused numbers of the same sessions, computed anew from the same tables.
So "1 in N" is a count: whatever fusion does, at most 1 in N sessions reach it, as long as
normal sessions of an age class are exchangeable (conformal prediction; Vovk et al., 2005).
Every session that is not confirmed malicious belongs in the reference, odd ones above all.

For that to hold the newcomer and the n past sessions must be ranked alike, each among all
n + 1 of them. The newcomer is, and a past session gets at least the bits it would have then:
the newcomer, which may or may not reach its level, is taken not to. Ranking the past with
the newcomer's formula instead lets up to twice as many sessions reach the rarest levels.

The tables stay as they are while an event-time window lasts.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray import blob
from astray.baseline.fusion import fuse
from astray.baseline.layout import AGE_CLASSES, STATISTICS
from astray.compiled import compiled

_LEVELS = 4096
_LEVELS_PER_UNIT = 64.0
"""Statistics are kept in steps of a 64th, up to 64."""

_STEPS = 20
"""The tables are renewed when a 20th part of the sessions is new."""

_TAIL = 20
"""Sessions beyond which the tail is extrapolated from: an exponential fitted to their excess."""

_EXCESS_MIN = 1e-3
_BEYOND_MAX = 10.0
"""An extrapolated n is at most so many times what the reference could certify."""

_DAY_US = 86_400_000_000
_MIX, _MIX_SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)
_KIND = "reference"

Quantised = NDArray[np.uint16]
Bits = NDArray[np.float32]
Counts = NDArray[np.float64]

PENDING = np.dtype(
    [
        ("session", np.uint64),
        ("start_us", np.int64),
        ("age", np.int32),
        ("spare", np.int32),
        ("statistic", np.uint16, len(STATISTICS)),
    ]
)
"""An ended session that is not in the tables yet."""


def quantised(statistics: NDArray[np.float32]) -> Quantised:
    """Return statistics as the reference keeps them."""
    return np.minimum(statistics * _LEVELS_PER_UNIT, _LEVELS - 1).astype(np.uint16)


@compiled
def _rank_levels(past: Quantised, more: int, bits: Bits, counts: NDArray[np.int64]) -> None:
    """Fill `bits` (statistics x levels) with the bits of reaching each level.

    `more` sessions reach every level besides those of the past: the newcomer, if it is one
    that is to be ranked. Without a past every level has none.
    """
    sessions = len(past)
    if sessions == 0:
        return
    for statistic in range(bits.shape[0]):
        counts[:] = 0
        for row in range(sessions):
            counts[past[row, statistic]] += 1
        reaching = sessions
        for level in range(bits.shape[1]):
            bits[statistic, level] = math.log2((sessions + 1.0) / max(reaching + more, 1))
            reaching -= counts[level]


@compiled
def _rank_and_fuse(
    sessions: Quantised, bits: Bits, ranked: Bits, fused: NDArray[np.float64]
) -> None:
    for row in range(len(sessions)):
        for statistic in range(bits.shape[0]):
            ranked[row, statistic] = bits[statistic, sessions[row, statistic]]
        fused[row] = fuse(ranked[row])


class AgeReference:
    """The reference of one age class; `past_us` are when its sessions began."""

    def __init__(self, past: Quantised, past_us: NDArray[np.int64]) -> None:
        self.past = past
        self.past_us = past_us
        self._bits = np.zeros((len(STATISTICS), _LEVELS), np.float32)
        counts = np.zeros(_LEVELS, np.int64)
        _rank_levels(past, 0, self._bits, counts)
        _, fused = self._fused(past)
        self._fused_past = np.sort(fused)
        _rank_levels(past, 1, self._bits, counts)
        tail = self._fused_past[-_TAIL:]
        self._excess = max(float(np.mean(tail - tail[0])), _EXCESS_MIN) if len(tail) else 1.0
        span_us = int(past_us.max() - past_us.min()) if len(past_us) else 0
        self._beyond_max = _BEYOND_MAX if span_us >= _DAY_US else 1.0

    def _fused(self, sessions: Quantised) -> tuple[Bits, NDArray[np.float64]]:
        ranked = np.zeros(sessions.shape, np.float32)
        fused = np.zeros(len(sessions), np.float64)
        _rank_and_fuse(sessions, self._bits, ranked, fused)
        return ranked, fused

    def rank(self, sessions: Quantised) -> tuple[Counts, Counts, Bits]:
        """Return n (1 in n sessions reach this), what of it is certified, and the bits.

        Certified is what has been counted: at most the number of past sessions and 1. Beyond
        the most extreme of them n goes on growing exponentially with the fused number, as its
        tail does, for one power of ten. A reference that has not seen a whole day says nothing
        of what lies beyond it.
        """
        bits, fused = self._fused(sessions)
        count = len(self._fused_past)
        below = np.searchsorted(self._fused_past, fused)
        counted = np.asarray((count + 1.0) / (count - below + 1.0), np.float64)
        most = self._fused_past[-1] if count else 0.0
        beyond = np.maximum(fused - most, 0.0) / self._excess
        growth = np.exp(np.minimum(beyond, _BEYOND_MAX))
        return counted * np.minimum(growth, self._beyond_max), counted, bits


class Reference:
    """The reference of a tenant."""

    def __init__(self, sessions_max: int) -> None:
        self.sessions_max = sessions_max
        self._ages = [AgeReference(_none(), np.zeros(0, np.int64)) for _ in range(AGE_CLASSES)]
        self._pending: list[NDArray[Any]] = []
        self._pending_count = 0

    def sessions(self, age: int) -> int:
        """Return the number of sessions in the tables of an age class."""
        return len(self._ages[age].past)

    def add(self, ended: NDArray[Any]) -> None:
        """Take ended sessions (rows of `buffers.RECORD`); they count from a later window on."""
        if not len(ended):
            return
        pending = np.zeros(len(ended), PENDING)
        for name in ("session", "start_us", "age"):
            pending[name] = ended[name]
        pending["statistic"] = quantised(ended["statistic"])
        self._pending.append(pending)
        self._pending_count += len(pending)
        if self._pending_count > 2 * self.sessions_max:
            self._gather()

    def _gather(self) -> NDArray[Any]:
        """Return what is pending in an order of its own, and no more of it than can be kept.

        What is kept of too much is its first part in that order, however often and after
        whichever sessions it was cut: it depends on the sessions alone.
        """
        pending = _sorted(self._pending)[: self.sessions_max]
        self._pending, self._pending_count = [pending], len(pending)
        return pending

    def turn(self) -> None:
        """Enter another window: renew the tables if enough sessions have ended."""
        total = sum(len(age.past) for age in self._ages)
        if not self._pending_count or self._pending_count * _STEPS < total:
            return
        pending = self._gather()
        self._pending, self._pending_count = [], 0
        for age in range(AGE_CLASSES):
            old, new = self._ages[age], pending[pending["age"] == age]
            if len(new):
                past = np.concatenate((old.past, new["statistic"]))[-self.sessions_max :]
                past_us = np.concatenate((old.past_us, new["start_us"]))[-self.sessions_max :]
                self._ages[age] = AgeReference(past, past_us)

    def rank(self, records: NDArray[Any]) -> tuple[Counts, Counts, Bits]:
        """Rank sessions (rows of `buffers.RECORD`); see `AgeReference.rank`."""
        n, certified = np.ones(len(records)), np.ones(len(records))
        bits = np.zeros((len(records), len(STATISTICS)), np.float32)
        levels = quantised(records["statistic"])
        for age in range(AGE_CLASSES):
            rows = np.flatnonzero(records["age"] == age)
            if len(rows):
                n[rows], certified[rows], bits[rows] = self._ages[age].rank(levels[rows])
        return n, certified, bits

    def dump(self) -> bytes:
        """Return the reference as bytes."""
        arrays: dict[str, NDArray[Any]] = {}
        for age, reference in enumerate(self._ages):
            arrays[f"past{age}"], arrays[f"past_us{age}"] = reference.past, reference.past_us
        arrays["pending"] = self._gather()
        return blob.pack(_KIND, {"sessions_max": self.sessions_max}, arrays)

    @classmethod
    def load(cls, data: bytes, sessions_max: int) -> "Reference":
        """Return the reference of a dump; raises `StateError` where the bytes are not one."""
        _, arrays = blob.unpack(data, _KIND)
        reference = cls(sessions_max)
        reference._ages = [
            AgeReference(*(arrays[f"{name}{age}"][-sessions_max:] for name in ("past", "past_us")))
            for age in range(AGE_CLASSES)
        ]
        reference._pending = [arrays["pending"]]
        reference._pending_count = len(arrays["pending"])
        return reference


def _none() -> Quantised:
    return np.zeros((0, len(STATISTICS)), np.uint16)


def _sorted(pending: list[NDArray[Any]]) -> NDArray[Any]:
    """Return ended sessions in an order of their own, which is as good as random.

    All unnamed sessions of an agent have one id, so it is mixed with when they began.
    """
    ended = np.concatenate(pending) if pending else np.zeros(0, PENDING)
    mixed = ended["session"] * _MIX + ended["start_us"].astype(np.uint64)
    mixed = (mixed ^ (mixed >> _MIX_SHIFT)) * _MIX
    return ended[np.lexsort((*ended["statistic"].T, ended["age"], mixed))]
