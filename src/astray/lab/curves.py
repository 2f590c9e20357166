"""Rankings of weighted sessions: curves, the areas under them, and how sure they are."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astray.lab.metrics import Flags, Scores

Weights = NDArray[np.float64]

RESAMPLES = 400
_TAIL = 0.025
_SEED = 20_260_105


@dataclass(frozen=True, slots=True)
class Curve:
    """How many bad and how many benign sessions lie at or above each score, from the highest down.

    Equal scores are one step: no threshold tells them apart.
    """

    thresholds: Scores
    hits: Weights
    false: Weights

    @property
    def recall(self) -> Scores:
        """The share of the bad sessions at or above each score."""
        return _shares(self.hits)

    @property
    def false_rate(self) -> Scores:
        """The share of the benign sessions at or above each score."""
        return _shares(self.false)

    @property
    def precision(self) -> Scores:
        """The share of bad ones among the sessions at or above each score."""
        return self.hits / np.maximum(self.hits + self.false, np.finfo(float).tiny)

    @property
    def roc_auc(self) -> float:
        """The chance that a bad session scores higher than a benign one; ties count half."""
        if not len(self.hits):
            return float("nan")
        recall, rate = np.append(0.0, self.recall), np.append(0.0, self.false_rate)
        return float(np.sum(np.diff(rate) * (recall[1:] + recall[:-1]) / 2))

    @property
    def pr_auc(self) -> float:
        """The average precision: precision at each score, weighted by the recall it adds."""
        if not len(self.hits):
            return float("nan")
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))


def _shares(counts: Weights) -> Scores:
    """Return counts as shares of the last; NaN where there is nothing to count."""
    if not len(counts) or counts[-1] == 0.0:
        return np.full(len(counts), np.nan)
    return counts / counts[-1]


class Ranking:
    """Sessions in falling order of their scores, ready for any weights.

    >>> scores, bad = np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True])
    >>> Ranking(scores, bad).curve().roc_auc
    0.875
    """

    def __init__(self, scores: Scores, bad: Flags) -> None:
        self._order = np.argsort(-scores, kind="stable")
        self._bad = bad[self._order]
        falling = scores[self._order]
        self._last = np.flatnonzero(np.diff(falling, append=-np.inf))
        self._thresholds = falling[self._last]

    def curve(self, weights: Weights | None = None) -> Curve:
        """Return the curve; a session counts as often as its weight says, without weights once."""
        each = np.ones(len(self._bad)) if weights is None else weights[self._order]
        hits = np.cumsum(np.where(self._bad, each, 0.0))[self._last]
        false = np.cumsum(np.where(self._bad, 0.0, each))[self._last]
        return Curve(self._thresholds, hits, false)


def share(flags: Flags, among: Flags, weights: Weights | None = None) -> float:
    """Return the share of some sessions among others; NaN where there are no others.

    >>> share(np.array([True, False, True]), np.array([True, True, False]))
    0.5
    """
    each = np.ones(len(among)) if weights is None else weights
    total = float(each[among].sum())
    return float(each[among & flags].sum()) / total if total else float("nan")


def interval(
    measure: Callable[[Weights], float], agents: NDArray[np.int64], resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Return between what 95 of 100 values of a measure lie when agents are drawn anew.

    Whole agents are drawn, with replacement: sessions of one agent are alike, and drawing
    single sessions would make everything look surer than it is. The draws are the same every
    time, so that two models are compared on the same ones.

    >>> agents = np.array([0, 0, 1, 1])
    >>> interval(lambda weights: float(weights.sum()), agents)
    (4.0, 4.0)
    """
    count = int(agents.max()) + 1 if len(agents) else 0
    if not count:
        return float("nan"), float("nan")
    generator = np.random.default_rng(_SEED)
    drawn = generator.multinomial(count, np.full(count, 1.0 / count), resamples).astype(float)
    values = np.array([measure(weights[agents]) for weights in drawn])
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, (_TAIL, 1.0 - _TAIL))
    return float(low), float(high)
