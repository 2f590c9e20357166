"""The reference: past sessions against which a tenant's sessions are ranked.

Per age class of the agent, the statistics of the latest sessions are kept as they ended.
A session's statistic is ranked among them, the ranks are fused, and the fused number is
ranked among the fused numbers of the same sessions, computed anew from the same tables.
So "1 in N" is a count: whatever fusion does, at most 1 in N sessions reach it, as long as
normal sessions of an age class are exchangeable (conformal prediction; Vovk et al., 2005).
Every session that is not confirmed malicious belongs in the reference, odd ones above all.

Detectors (`astray.detectors`) add a column each. A detector that has just begun has no opinion
of past sessions; its column says nothing until it has one of four in five of an age class, and
then whoever it has an opinion of is ranked as if only those were there that it knows, too.

For that to hold the newcomer and the n past sessions must be ranked alike, each among all
n + 1 of them. The newcomer is, and a past session gets at least the bits it would have then:
the newcomer, which may or may not reach its level, is taken not to. Ranking the past with
the newcomer's formula instead lets up to twice as many sessions reach the rarest levels.

The tables stay as they are while an event-time window lasts.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray import blob
from astray.baseline.layout import AGE_CLASSES, STATISTICS
from astray.baseline.ranking import is_settled
from astray.baseline.rehearsal import FIRST_ROW, KINDS, STRUCK_ROW
from astray.calibrate.dumped import experts_in, move_columns, upgrade
from astray.calibrate.ended import (
    Folds,
    Quantised,
    ended_type,
    folds_of,
    mixed_ids,
    ordered,
    parted,
)
from astray.calibrate.fusing import Bits, Experts, Fusion, is_time, teach
from astray.compiled import compiled
from astray.detectors.levels import LEVELS, MISSING
from astray.detectors.panel import Levels

_LEVELS_PER_UNIT = 64.0
"""Statistics are kept in steps of a 64th, up to 64."""

_STEPS, _STEPS_LATER = 20, 5
_MANY = 10_000
"""The tables are renewed when a 20th part of the sessions is new; of many, a fifth."""

_TAIL = 20
"""Sessions beyond which the tail is extrapolated from: an exponential fitted to their excess."""

_EXCESS_MIN = 1e-3
_BEYOND_MAX = 10.0
"""An extrapolated n is at most so many times what the reference could certify."""

_ATTACKS_MAX = 585 * len(KINDS)
_STRUCK_MAX = 4096
"""Confirmed sessions that are kept for the case that somebody takes the verdict back."""

_DAY_US = 86_400_000_000
_KIND = "reference"

_KNOWN_MIN = 0.8
"""A column counts where it is known of so many of an age class."""

Counts = NDArray[np.float64]


def quantised(statistics: NDArray[np.float32]) -> Quantised:
    """Return statistics as the reference keeps them."""
    return np.minimum(statistics * _LEVELS_PER_UNIT, LEVELS - 1).astype(np.uint16)


@compiled
def _rank_levels(past: Quantised, own: Bits, bits: Bits, counts: NDArray[np.int64]) -> None:
    """Fill `own` and `bits` (statistics x levels) with the bits of reaching each level.

    `own` is for those of the past, `bits` for the newcomer, which reaches every level besides
    them. Without a past every level has none, and so has the last one, which is that of what
    is missing, and a column of which too much is.
    """
    for statistic in range(bits.shape[0]):
        counts[:] = 0
        for row in range(len(past)):
            counts[past[row, statistic]] += 1
        sessions = len(past) - counts[len(counts) - 1]
        if sessions == 0 or sessions < _KNOWN_MIN * len(past):
            continue
        reaching = sessions
        for level in range(bits.shape[1] - 1):
            if level == 0 or counts[level - 1] > 0:
                among = sessions + 1.0
                own[statistic, level] = math.log2(among / max(reaching, 1))
                bits[statistic, level] = math.log2(among / (reaching + 1))
            else:
                own[statistic, level] = own[statistic, level - 1]
                bits[statistic, level] = bits[statistic, level - 1]
            reaching -= counts[level]


@cache
def _no_bits(columns: int) -> Bits:
    """Return the table of who has no past, one for all of them; nobody may write to it.

    It is not marked as such: for compiled code a table that cannot be written is another type.
    """
    return np.zeros((columns, LEVELS + 1), np.float32)


class AgeReference:
    """The reference of one age class; `past` are rows of `ENDED`, the oldest first.

    `ever` counts all that were ever in it. `attacks` are self-made ones, from which experts
    are taught anew when there is much more to learn from.
    """

    def __init__(
        self, past: NDArray[Any], attacks: NDArray[Any], fusion: Fusion, ever: int
    ) -> None:
        self.past, self.attacks, self.fusion, self.ever = past, attacks, fusion, ever
        levels, folds = np.ascontiguousarray(past["statistic"]), folds_of(past)
        self._columns = np.arange(levels.shape[1])
        self._bits = own = _no_bits(levels.shape[1])
        if len(past):
            self._bits, own = np.zeros_like(own), np.zeros_like(own)
            _rank_levels(levels, own, self._bits, np.zeros(LEVELS + 1, np.int64))
        if is_time(ever, fusion.experts):
            bits = self._ranked(levels, own)
            of_attacks = self._ranked(attacks["statistic"], self._bits)
            kinds, before = attacks["kind"], fusion.experts
            experts = teach(bits, folds, of_attacks, kinds, ever, before)
            self.fusion = Fusion(experts, levels.shape[1])
        self._fused_past = np.sort(self.fusion.of(levels, own, folds))
        tail = self._fused_past[-_TAIL:]
        self._excess = max(float(np.mean(tail - tail[0])), _EXCESS_MIN) if len(tail) else 1.0
        self._counting = len(STATISTICS) + _counting(levels[:, len(STATISTICS) :])
        self._known_share = _known_share(levels[:, self._counting])
        past_us = past["start_us"]
        span_us = int(past_us.max() - past_us.min()) if len(past_us) else 0
        self._beyond_max = _BEYOND_MAX if span_us >= _DAY_US else 1.0

    @property
    def tables(self) -> tuple[NDArray[Any], ...]:
        """All that it remembers."""
        own = (self._bits, self._fused_past) if len(self.past) else ()
        return (self.past, self.attacks, *self.fusion.experts, *own)

    def _ranked(self, levels: Quantised, table: Bits) -> Bits:
        return table[self._columns, levels]

    def rank(self, sessions: Quantised, folds: Folds) -> tuple[Counts, Counts, Bits]:
        """Return n (1 in n sessions reach this), what of it is certified, and the bits.

        Certified is what has been counted: at most the number of past sessions and 1. Beyond
        the most extreme of them n goes on growing exponentially with the fused number, as its
        tail does, for one power of ten. A reference that has not seen a whole day says nothing
        of what lies beyond it.
        """
        bits = self._ranked(sessions, self._bits)
        fused = self.fusion.of(sessions, self._bits, folds)
        count = len(self._fused_past)
        below = np.searchsorted(self._fused_past, fused)
        counted = np.asarray((count + 1.0) / (count - below + 1.0), np.float64)
        most = self._fused_past[-1] if count else 0.0
        beyond = np.maximum(fused - most, 0.0) / self._excess
        growth = np.exp(np.minimum(beyond, _BEYOND_MAX))
        if self._known_share < 1.0:
            told = (sessions[:, self._counting] != MISSING).any(axis=1)
            counted = np.where(told, np.maximum(counted * self._known_share, 1.0), counted)
        return counted * np.minimum(growth, self._beyond_max), counted, bits


class Reference:
    """The reference of a tenant; `columns` names those of detectors, besides the statistics."""

    def __init__(self, sessions_max: int, columns: Sequence[str] = ()) -> None:
        self.sessions_max = sessions_max
        self.columns = tuple(columns)
        self._pending_type = ended_type(len(self.columns))
        nobody = np.zeros(0, self._pending_type)
        norm = Fusion(Experts.none(), len(STATISTICS) + len(self.columns))
        self._ages = [AgeReference(nobody, nobody, norm, 0) for _ in range(AGE_CLASSES)]
        self._pending: list[NDArray[Any]] = []
        self._pending_count = 0
        self._new = 0  # real ones among those pending
        self._struck = nobody
        self._heard: dict[int, bool] = {}
        self._open = [0] * AGE_CLASSES

    @property
    def size_bytes(self) -> int:
        """The memory that its tables take; any thread may ask."""
        tables = (*(each for age in list(self._ages) for each in age.tables), *list(self._pending))
        return sum(int(table.nbytes) for table in tables)

    def sessions(self, age: int) -> int:
        """Return the number of sessions in the tables of an age class."""
        return len(self._ages[age].past)

    def add(self, ended: NDArray[Any], detected: Levels | None = None) -> None:
        """Take ended sessions (rows of `buffers.RECORD`); they count from a later window on.

        `detected` is what detectors say of each; they have no opinion where it is not given.
        """
        if not len(ended):
            return
        pending = np.zeros(len(ended), self._pending_type)
        for name in ("session", "start_us", "age"):
            pending[name] = ended[name]
        pending["kind"] = np.maximum(FIRST_ROW - ended["row"], -1)
        pending["statistic"] = self._levels(ended, detected)
        self._pending.append(pending)
        self._pending_count += len(pending)
        self._new += int(np.count_nonzero(pending["kind"] < 0))
        if self._pending_count > 2 * self.sessions_max:
            self._gather()

    def hear(self, told: NDArray[Any]) -> None:
        """Hear which sessions are confirmed to be malicious, or are so no more.

        From the next window on the former are not ranked against, and the latter are again.
        """
        for key, row in zip(mixed_ids(told).tolist(), told["row"].tolist(), strict=True):
            self._heard[key] = row == STRUCK_ROW

    def _heed(self) -> None:
        """Strike off, and restore, what has been heard of."""
        struck = np.array([key for key, is_out in self._heard.items() if is_out], np.uint64)
        restored = np.array([key for key, is_out in self._heard.items() if not is_out], np.uint64)
        self._heard.clear()
        pending, gone = parted(self._gather(), struck)
        kept, back = parted(self._struck, restored)
        for age, old in enumerate(self._ages):
            past, of_age = parted(old.past, struck)
            gone = np.concatenate((gone, of_age))
            if len(of_age):
                self._ages[age] = AgeReference(past, old.attacks, old.fusion, old.ever)
        self._struck = ordered([kept, gone], self._pending_type)[-_STRUCK_MAX:]
        self._pending = [pending, back]
        self._gather()

    def _levels(self, records: NDArray[Any], detected: Levels | None) -> Quantised:
        levels = quantised(records["statistic"])
        if not self.columns:
            return levels
        if detected is None:
            detected = np.full((len(records), len(self.columns)), MISSING, np.uint16)
        return np.concatenate((levels, detected), axis=1)

    def _gather(self) -> NDArray[Any]:
        """Return what is pending in an order of its own, and no more of it than can be kept.

        What is kept of too much is its first part in that order, however often and after
        whichever sessions it was cut: it depends on the sessions alone.
        """
        pending = ordered(self._pending, self._pending_type)[: self.sessions_max]
        self._pending, self._pending_count = [pending], len(pending)
        self._new = int(np.count_nonzero(pending["kind"] < 0))
        return pending

    def turn(self, open_sessions: Sequence[int] = ()) -> None:
        """Enter another window: renew the tables if enough sessions have ended.

        `open_sessions` is how many are open by age class; see `ranking.is_settled`.
        """
        self._open = [*open_sessions] or [0] * AGE_CLASSES
        if self._heard:
            self._heed()
        total = sum(len(age.past) for age in self._ages)
        steps = _STEPS if total < _MANY else _STEPS_LATER
        if not self._new or self._new * steps < total:
            return
        pending = self._gather()
        self._pending, self._pending_count, self._new = [], 0, 0
        for age in range(AGE_CLASSES):
            old, new = self._ages[age], pending[pending["age"] == age]
            is_real = new["kind"] < 0
            if is_real.any():
                past = np.concatenate((old.past, new[is_real]))[-self.sessions_max :]
                attacks = np.concatenate((old.attacks, new[~is_real]))[-_ATTACKS_MAX:]
                self._ages[age] = AgeReference(
                    past, attacks, old.fusion, old.ever + int(is_real.sum())
                )

    def rank(
        self, records: NDArray[Any], detected: Levels | None = None
    ) -> tuple[Counts, Counts, Bits]:
        """Rank sessions (rows of `buffers.RECORD`); see `AgeReference.rank`."""
        n, certified = np.ones(len(records)), np.ones(len(records))
        levels, folds = self._levels(records, detected), folds_of(records)
        bits = np.zeros(levels.shape, np.float32)
        for age in range(AGE_CLASSES):
            rows = np.flatnonzero(records["age"] == age)
            if len(rows) and is_settled(self._ages[age].ever, self._open[age]):
                n[rows], certified[rows], bits[rows] = self._ages[age].rank(
                    levels[rows], folds[rows]
                )
        return n, certified, bits

    def explain(self, record: NDArray[Any], bits: Bits) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return what of a session's score each statistic makes up, and what it looks like.

        `record` is one of `buffers.RECORD`, `bits` what `rank` has said; see `Fusion.shares`.
        """
        fold = int(folds_of(record.reshape(1))[0])
        return self._ages[int(record["age"])].fusion.shares(bits, fold)

    def dump(self) -> bytes:
        """Return the reference as bytes."""
        arrays: dict[str, NDArray[Any]] = {}
        for age, reference in enumerate(self._ages):
            arrays[f"past{age}"], arrays[f"attacks{age}"] = reference.past, reference.attacks
            experts = reference.fusion.experts
            if experts.are_taught:
                for name, array in experts._asdict().items():
                    arrays[f"{name}{age}"] = array
        arrays["pending"] = self._gather()
        arrays["struck"] = self._struck
        ever = [reference.ever for reference in self._ages]
        heard = sorted(self._heard.items())
        meta = {"sessions_max": self.sessions_max, "ever": ever, "heard": heard, "open": self._open}
        if self.columns:
            meta["columns"] = self.columns
        return blob.pack(_KIND, meta, arrays)

    @classmethod
    def load(cls, data: bytes, sessions_max: int, columns: Sequence[str] = ()) -> "Reference":
        """Return the reference of a dump; raises `StateError` where the bytes are not one.

        A detector that the dump does not know begins anew; what it knows of others is dropped.
        """
        meta, arrays = blob.unpack(data, _KIND)
        reference = cls(sessions_max, columns)
        before = meta.get("columns", ())
        upgrade(arrays, len(before))
        move_columns(arrays, before, reference.columns)
        reference._ages = [
            AgeReference(
                arrays[f"past{age}"][-sessions_max:],
                arrays[f"attacks{age}"],
                Fusion(experts_in(arrays, age), len(STATISTICS) + len(columns)),
                meta["ever"][age],
            )
            for age in range(AGE_CLASSES)
        ]
        reference._struck = arrays["struck"]
        reference._heard = dict(meta["heard"])
        reference._open = [*meta["open"]]
        reference._pending = [arrays["pending"]]
        reference._pending_count = len(arrays["pending"])
        reference._new = int(np.count_nonzero(arrays["pending"]["kind"] < 0))
        return reference


def _counting(levels: Quantised) -> NDArray[np.intp]:
    """Return which columns of detectors are known of enough sessions to count."""
    known = np.count_nonzero(levels != MISSING, axis=0)
    return np.flatnonzero(known >= max(_KNOWN_MIN * len(levels), 1))


def _known_share(levels: Quantised) -> float:
    """Return the share of sessions of which all of these columns are known."""
    known = np.count_nonzero((levels != MISSING).all(axis=1))
    return float((known + 1.0) / (len(levels) + 1.0))
