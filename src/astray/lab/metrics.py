"""How good a ranking is: the measures of detection quality, at session level.

Never point-adjusted F1: it makes random scores look good (Kim et al., AAAI 2022).
"""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]


def roc_auc(scores: Scores, bad: Flags) -> float:
    """Return the chance that a bad session scores higher than a benign one; ties count half.

    >>> roc_auc(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True]))
    0.875
    """
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    positives = int(bad.sum())
    negatives = len(bad) - positives
    if not positives or not negatives:
        return float("nan")
    return float((ranks[bad].sum() - positives * (positives + 1) / 2) / positives / negatives)


def pr_auc(scores: Scores, bad: Flags) -> float:
    """Return the average precision: precision at each score, weighted by the recall it adds.

    >>> pr_auc(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True]))
    0.8333333333333333
    """
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    hits = np.cumsum(bad[order])[last]
    if not len(hits) or not hits[-1]:
        return float("nan")
    return float(np.sum(np.diff(hits, prepend=0) * hits / (last + 1)) / hits[-1])


def threshold_at(benign: Scores, false_rate: float) -> float:
    """Return the score above which at most this share of benign sessions lies.

    >>> threshold_at(np.arange(100.0), 0.05)
    94.0
    """
    if not len(benign):
        return float("-inf")
    return float(np.sort(benign)[::-1][min(int(false_rate * len(benign)), len(benign) - 1)])
