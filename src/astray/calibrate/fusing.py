"""What makes one number of a session's bits: a norm, or what self-made attacks have taught.

An expert per kind of rehearsed attack tells such sessions from real ones: the mean of the log
odds of trees, which say "either" and "and" but know nothing beyond what they were taught
(`trees`), and of slopes, which go on in the far tail (`slopes`). The fused number is the soft
maximum of the experts' log odds and a little of their sum: strong where one kind is very
likely, and where several are. A little of what the operator has named speaks for itself: no
rehearsal knows what matters to people. It is learnt without a label, from the tenant's own
stream, and says which kind a session looks like. Until there are enough sessions of both sorts
it is the Euclidean norm of the bits.

The sessions that an expert has learnt from look tamer to it than new ones do, and the rank
among them would promise too much. So there are two sets of experts, each taught by one half
of the past, and every session is judged by the one that does not know its half
(cross-fitting; Barber et al., 2021).
"""

import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from astray.baseline.fusion import NAMED, WEIGHT, fuse
from astray.baseline.layout import STATISTICS
from astray.baseline.rehearsal import DELEGATION, KINDS
from astray.calibrate.ended import Folds, Quantised
from astray.calibrate.slopes import SIDES, add_odds, by_kind, fitted, shares_on
from astray.calibrate.trees import (
    LEAVES,
    NODES,
    TREES,
    Binned,
    bin_of,
    binned,
    explain,
    grown,
    masks_of,
    odds_in,
    sieve,
)
from astray.compiled import compiled, float64, inner, int64

FOLDS = 2
REAL_MIN = 48
"""Real sessions of a half from which experts are taught; below, the norm has to do."""

FOREIGN_MIN = 48
"""Rehearsals of a kind; one with fewer has no expert."""

_MORE, _MORE_LATER = 0.5, 1.0
_MANY = 2000
_ANEW_MAX = 50_000
"""Experts are taught anew when there are half as many again; of many sessions when there are
twice as many, or so many more."""

_REAL_MAX = 3000
_FOREIGN_MAX = 600
_SUM_SHARE = 0.1
_SUMMED = DELEGATION
"""Kinds before it have a share in the sum; what spreads to others looks like no other kind."""

_NAMED_SHARE = 0.1

Bits = NDArray[np.float32]


class Experts(NamedTuple):
    """Trees and slopes by half, kind of attack and place.

    `taught_at` is the number of sessions that there had been when they were taught; 0: never.
    """

    taught_at: NDArray[np.int64]
    splits: NDArray[np.int32]
    values: NDArray[np.float64]
    slopes: NDArray[np.float64]

    @classmethod
    def none(cls, statistics: int = 0) -> Self:
        """Return experts that know nothing, with room for so many statistics."""
        return cls(
            np.zeros(1, np.int64),
            np.full((FOLDS, len(KINDS), TREES, NODES), -1, np.int32),
            np.zeros((FOLDS, len(KINDS), TREES, NODES + LEAVES)),
            np.zeros((FOLDS, len(KINDS), statistics + 1, SIDES)),
        )

    @property
    def are_taught(self) -> bool:
        """Return whether they have an opinion."""
        return bool(self.taught_at[0])


def is_time(sessions: int, experts: Experts) -> bool:
    """Return whether there is much that experts have not seen."""
    before = int(experts.taught_at[0])
    more = _MORE if before < _MANY else _MORE_LATER
    return sessions - before >= max(min(more * before, _ANEW_MAX), FOLDS * REAL_MIN)


def teach(
    real: Bits,
    folds: Folds,
    foreign: Bits,
    kinds: NDArray[np.int32],
    sessions: int,
    before: Experts | None = None,
) -> Experts:
    """Return experts taught by real sessions and self-made attacks, the latest of each.

    `folds` tells the half of every real session, `kinds` the kind of every attack, `sessions`
    how many there have ever been. From the slopes of the experts `before` the new ones are
    sooner found.
    """
    experts = Experts.none(real.shape[1])
    first = before.slopes if before is not None and before.are_taught else experts.slopes
    seen, seen_foreign = binned(real), binned(foreign)
    for fold in range(FOLDS):
        others = np.flatnonzero(folds != fold)[-_REAL_MAX:]
        if len(others) < REAL_MIN:
            return Experts.none()
        for kind in range(len(KINDS)):
            attacks = np.flatnonzero(kinds == kind)[-_FOREIGN_MAX:]
            if len(attacks) >= FOREIGN_MIN:
                both = np.concatenate((seen_foreign[attacks], seen[others]))
                splits, values = grown(both, len(attacks))
                experts.splits[fold, kind], experts.values[fold, kind] = splits, values
                told = np.concatenate((foreign[attacks], real[others]))
                experts.slopes[fold, kind] = fitted(told, len(attacks), first[fold, kind])
                experts.taught_at[0] = sessions
    return experts


@inner
def _soft_maximum(odds: NDArray[np.float64]) -> float:
    most = odds[0]
    for kind in range(len(odds)):
        most = max(most, odds[kind])
    total = 0.0
    for kind in range(len(odds)):
        total += math.exp(odds[kind] - most)
    return most + math.log(total)


@compiled
def fuse_all(
    levels: Quantised,
    table: Bits,
    folds: Folds,
    masks: NDArray[np.uint64],
    leaves: NDArray[np.float64],
    slopes: NDArray[np.float64],
    bits: NDArray[np.float32],
    seen: Binned,
    found: NDArray[np.uint64],
    by_tree: NDArray[np.uint8],
    odds: NDArray[np.float64],
    fused: NDArray[np.float64],
) -> None:
    """Fill `fused` for sessions of these levels; `table` has the bits of each, by statistic.

    `odds` gets the log odds by kind of the last one. Without masks there is the norm of the
    bits alone. `bits`, `seen` and `found`, of which `by_tree` is another view,
    are room to work in.
    """
    for row in range(len(levels)):
        for statistic in range(len(bits)):
            bits[statistic] = table[statistic, levels[row, statistic]]
            seen[statistic] = bin_of(bits[statistic])
        if len(masks) == 0:
            fused[row] = fuse(bits)
        else:
            fold = int64(folds[row])
            sieve(seen, masks[fold], found)
            add_odds(bits, slopes[fold], odds)
            total = 0.0
            for kind in range(len(odds)):
                of_kind = by_tree[kind * TREES : (kind + 1) * TREES]
                of_trees = odds_in(of_kind, leaves[fold, kind])
                odds[kind] = (of_trees + odds[kind]) / 2.0
                total += odds[kind] if kind < _SUMMED else 0.0
            fused[row] = _soft_maximum(odds) + _SUM_SHARE * total
            for statistic in NAMED:
                fused[row] += _NAMED_SHARE * float64(bits[statistic])


class Fusion:
    """Experts that have made ready to judge sessions of so many statistics."""

    def __init__(self, experts: Experts, statistics: int) -> None:
        self.experts = experts
        self._masks = np.zeros((0, 0, 0, 0), np.uint64)
        self._leaves = np.zeros((0, 0, 0, 0))
        self._slopes = np.stack([by_kind(of_fold) for of_fold in experts.slopes])
        if experts.are_taught:
            by_fold = experts.splits.reshape(FOLDS, -1, NODES)
            self._masks = np.stack([masks_of(splits, statistics) for splits in by_fold])
            self._leaves = np.ascontiguousarray(experts.values[..., NODES:])

    def of(self, levels: Quantised, table: Bits, folds: Folds) -> NDArray[np.float64]:
        """Return the fused numbers of sessions; `table` has the bits of levels by statistic."""
        return self._judged(levels, table, folds)[0]

    def _judged(
        self, levels: Quantised, table: Bits, folds: Folds
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        fused, odds = np.zeros(len(levels)), np.zeros(len(KINDS))
        width, found = levels.shape[1], np.empty(len(KINDS) * TREES, np.uint8)
        fuse_all(
            levels, table, folds, self._masks, self._leaves, self._slopes,
            np.empty(width, np.float32), np.empty(width, np.uint8),
            found.view(np.uint64), found, odds, fused,
        )  # fmt: skip
        return fused, odds

    def shares(self, bits: Bits, fold: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return each statistic's share in one session's number, and each kind's in its likeness.

        Shares are not negative and add up to 1, unless there is nothing odd at all. Without
        experts no kind has a share.
        """
        only = np.zeros((1, len(bits)), np.uint16)
        odds = self._judged(only, bits[:, None], np.array([fold], np.uint8))[1]
        return _shares(bits, fold, self.experts, odds)


def compile_experts() -> None:
    """Compile, or load, what teaching experts and asking them needs."""
    real = np.zeros((FOLDS * REAL_MIN, len(STATISTICS)), np.float32)
    folds = np.arange(len(real), dtype=np.uint8) % FOLDS
    kinds = np.zeros(FOREIGN_MIN, np.int32)
    experts = teach(real, folds, real[:FOREIGN_MIN], kinds, len(real))
    Fusion(experts, len(STATISTICS)).shares(real[0], 0)


def _shares(
    bits: Bits, fold: int, experts: Experts, odds: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    likeness = np.zeros(len(KINDS))
    parts = np.square(bits.astype(np.float64))
    parts[: len(WEIGHT)] *= WEIGHT
    if experts.are_taught:
        seen = binned(bits)
        likeness = np.exp(odds - odds.max())
        likeness /= likeness.sum()
        told = np.zeros(len(bits))
        for kind in range(len(KINDS)):
            of_kind = np.zeros(len(bits))
            explain(seen, experts.splits[fold, kind], experts.values[fold, kind], of_kind)
            of_kind += shares_on(bits, experts.slopes[fold, kind])
            told += (likeness[kind] + (_SUM_SHARE if kind < _SUMMED else 0.0)) * of_kind / 2.0
        told[list(NAMED)] += _NAMED_SHARE * bits[list(NAMED)]
        told = np.maximum(told, 0.0)
        parts = told if told.sum() > 0.0 else parts
    total = parts.sum()
    return (parts / total if total > 0.0 else parts), likeness
