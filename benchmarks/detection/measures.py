"""How good a ranking of sessions is, with intervals over agents.

Agents, not sessions, are drawn anew: sessions of one agent are alike. Every measure is one
pass over the ranking with a weight per session, so a thousand draws are cheap.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FALSE_RATES = (0.05, 0.01, 0.001)
DRAWS = 200
_SEED = 5
_INTERVAL = (0.05, 0.95)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Ranking:
    """Sessions by a score: who is bad, and whose they are."""

    scores: Floats
    bad: Flags
    agents: NDArray[np.int64]


class _Weighed:
    """A ranking cut at its distinct scores, from the highest down."""

    def __init__(self, ranking: Ranking) -> None:
        self._order = np.argsort(-ranking.scores, kind="stable")
        scores = ranking.scores[self._order]
        self._starts = np.flatnonzero(np.diff(scores, prepend=np.inf))
        self._bad = ranking.bad[self._order]
        self._scores = scores

    def measures(self, weights: Floats) -> dict[str, float]:
        """Return all measures where each session counts so often."""
        weights = weights[self._order]
        hits, misses = weights * self._bad, weights * ~self._bad
        if not len(weights):
            return {}
        bad, benign = (np.add.reduceat(part, self._starts) for part in (hits, misses))
        all_bad, all_benign = float(bad.sum()), float(benign.sum())
        caught, false = np.cumsum(bad), np.cumsum(benign)
        found: dict[str, float] = {}
        if all_bad and all_benign:
            below = all_benign - false + benign / 2
            found["roc_auc"] = float(np.sum(bad * below) / (all_bad * all_benign))
            seen = np.maximum(caught + false, np.finfo(float).tiny)
            found["pr_auc"] = float(np.sum(bad * caught / seen) / all_bad)
            for rate in FALSE_RATES:
                allowed = false <= int(rate * all_benign)
                found[f"recall_at_{rate}"] = float(caught[allowed].max(initial=0.0) / all_bad)
        if all_benign:
            for rate in FALSE_RATES:
                reached = float(misses[self._scores >= 1 / rate].sum() / all_benign)
                found[f"realised_{rate}"] = reached / rate
        return found


def measured(ranking: Ranking) -> dict[str, float]:
    """Return ROC-AUC, PR-AUC, recall and realised/nominal at the false rates.

    What there is nothing to measure on is left out.

    >>> ranking = Ranking(np.array([9.0, 5.0, 1.0]), np.array([True, False, False]), np.arange(3))
    >>> measured(ranking)["roc_auc"]
    1.0
    """
    return _Weighed(ranking).measures(np.ones(len(ranking.scores)))


def intervals(ranking: Ranking, draws: int = DRAWS) -> dict[str, list[float]]:
    """Return, for each measure, the middle 90 % of what other draws of agents give."""
    weighed = _Weighed(ranking)
    names, place = np.unique(ranking.agents, return_inverse=True)
    generator = np.random.default_rng(_SEED)
    found: dict[str, list[float]] = {}
    for _ in range(draws):
        drawn = np.bincount(generator.integers(len(names), size=len(names)), minlength=len(names))
        for name, value in weighed.measures(drawn[place].astype(float)).items():
            found.setdefault(name, []).append(value)
    return {name: np.quantile(values, _INTERVAL).tolist() for name, values in found.items()}


def flags_at(ranking: Ranking, false_rate: float) -> Flags:
    """Return which sessions lie above the score that this share of benign ones exceeds."""
    benign = np.sort(ranking.scores[~ranking.bad])[::-1]
    if not len(benign):
        return np.ones(len(ranking.scores), np.bool_)
    threshold = benign[min(int(false_rate * len(benign)), len(benign) - 1)]
    return np.asarray(ranking.scores > threshold)
