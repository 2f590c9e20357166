"""What makes one number of a session's bits: a norm, or what self-made attacks have taught.

An expert per kind of rehearsed attack tells such sessions from real ones (`trees`); the fused
number is the soft maximum of their log odds and a little of their sum: strong where one kind
is very likely, and where several are. It is learnt without a label, from the tenant's own
stream, and says which kind a session looks like. Until there are enough sessions of both
sorts it is the Euclidean norm of the bits.

The sessions that an expert has learnt from look tamer to it than new ones do, and the rank
among them would promise too much. So there are two sets of experts, each taught by one half
of the past, and every session is judged by the one that does not know its half
(cross-fitting; Barber et al., 2021).
"""

import math
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from astray.baseline.fusion import WEIGHT, fuse
from astray.baseline.layout import STATISTICS
from astray.baseline.rehearsal import KINDS
from astray.calibrate.trees import LEAVES, NODES, TREES, Binned, binned, explain, grown, odds_of
from astray.compiled import compiled, inner, int64

FOLDS = 2
REAL_MIN = 48
"""Real sessions of a half from which experts are taught; below, the norm has to do."""

FOREIGN_MIN = 48
"""Rehearsals of a kind; one with fewer has no expert."""

_MORE = 0.25
_ANEW_MAX = 5000
"""Experts are taught anew when there are a quarter more sessions, or so many more."""

_REAL_MAX = 3000
_FOREIGN_MAX = 600
_SUM_SHARE = 0.1
_NORM_SHARE = 0.01

Bits = NDArray[np.float32]
Folds = NDArray[np.uint8]


class Experts(NamedTuple):
    """Trees by half, kind of attack and place; `taught_at` is 0 where there are none yet.

    It is the number of sessions that there had been when they were taught.
    """

    taught_at: NDArray[np.int64]
    splits: NDArray[np.int32]
    values: NDArray[np.float64]

    @classmethod
    def none(cls) -> Self:
        """Return experts that know nothing."""
        return cls(
            np.zeros(1, np.int64),
            np.full((FOLDS, len(KINDS), TREES, NODES), -1, np.int32),
            np.zeros((FOLDS, len(KINDS), TREES, NODES + LEAVES)),
        )

    @property
    def are_taught(self) -> bool:
        """Return whether they have an opinion."""
        return bool(self.taught_at[0])


def is_time(sessions: int, experts: Experts) -> bool:
    """Return whether there is much that experts have not seen."""
    before = int(experts.taught_at[0])
    return sessions - before >= max(min(_MORE * before, _ANEW_MAX), FOLDS * REAL_MIN)


def teach(
    real: Bits, folds: Folds, foreign: Bits, kinds: NDArray[np.int32], sessions: int
) -> Experts:
    """Return experts taught by real sessions and self-made attacks, the latest of each.

    `folds` tells the half of every real session, `kinds` the kind of every attack, `sessions`
    how many there have ever been.
    """
    experts = Experts.none()
    seen, seen_foreign = binned(real), binned(foreign)
    for fold in range(FOLDS):
        others = seen[folds != fold][-_REAL_MAX:]
        if len(others) < REAL_MIN:
            return Experts.none()
        for kind in range(len(KINDS)):
            attacks = seen_foreign[kinds == kind][-_FOREIGN_MAX:]
            if len(attacks) >= FOREIGN_MIN:
                both = np.ascontiguousarray(np.concatenate((attacks, others)))
                splits, values = grown(both, len(attacks))
                experts.splits[fold, kind], experts.values[fold, kind] = splits, values
                experts.taught_at[0] = sessions
    return experts


@inner
def _odds(experts: Experts, fold: int, session: Binned, odds: NDArray[np.float64]) -> None:
    for kind in range(len(odds)):
        odds[kind] = odds_of(session, experts.splits[fold, kind], experts.values[fold, kind])


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
    bits: Bits,
    seen: Binned,
    folds: Folds,
    experts: Experts,
    odds: NDArray[np.float64],
    fused: NDArray[np.float64],
) -> None:
    """Fill `fused` for sessions with these bits, of which `seen` is what trees look at."""
    for row in range(len(bits)):
        norm = fuse(bits[row])
        fused[row] = norm
        if experts.taught_at[0] > 0:
            _odds(experts, int64(folds[row]), seen[row], odds)
            total = 0.0
            for kind in range(len(odds)):
                total += odds[kind]
            fused[row] = _soft_maximum(odds) + _SUM_SHARE * total + _NORM_SHARE * norm


def fused_of(bits: Bits, folds: Folds, experts: Experts) -> NDArray[np.float64]:
    """Return the fused numbers of sessions."""
    fused = np.zeros(len(bits))
    fuse_all(bits, binned(bits), folds, experts, np.zeros(len(KINDS)), fused)
    return fused


def shares_of(bits: Bits, fold: int, experts: Experts) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return each statistic's share in one session's number, and each kind's in what it is like.

    Shares are not negative and add up to 1, unless there is nothing odd at all. Without
    experts no kind has a share.
    """
    likeness = np.zeros(len(KINDS))
    parts = WEIGHT * np.square(bits.astype(np.float64))
    if experts.are_taught:
        seen = binned(bits)
        odds = np.zeros(len(KINDS))
        _tell(seen, experts, fold, odds)
        likeness = np.exp(odds - odds.max())
        likeness /= likeness.sum()
        told = np.zeros(len(STATISTICS))
        for kind in range(len(KINDS)):
            of_kind = np.zeros(len(STATISTICS))
            explain(seen, experts.splits[fold, kind], experts.values[fold, kind], of_kind)
            told += (likeness[kind] + _SUM_SHARE) * of_kind
        told = np.maximum(told, 0.0)
        parts = told if told.sum() > 0.0 else parts
    total = parts.sum()
    return (parts / total if total > 0.0 else parts), likeness


@compiled
def _tell(seen: Binned, experts: Experts, fold: int, odds: NDArray[np.float64]) -> None:
    _odds(experts, fold, seen, odds)
