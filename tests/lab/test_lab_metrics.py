"""The measures of detection quality, against their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.lab.metrics import pr_auc, roc_auc, threshold_at

# Few distinct scores, so that there are ties.
scored = st.lists(st.tuples(st.integers(0, 6).map(float), st.booleans()), max_size=30)


def split(pairs):
    """Return scores and flags as arrays."""
    return np.array([score for score, _ in pairs]), np.array([bad for _, bad in pairs], np.bool_)


def same(found: float, expected: float) -> bool:
    """Return whether two measures are the same, both perhaps undefined."""
    return (math.isnan(found) and math.isnan(expected)) or found == pytest.approx(expected)


def roc_by_definition(scores, bad) -> float:
    """Count all pairs of a bad and a benign session."""
    pairs = [(s > t) + (s == t) / 2 for s in scores[bad] for t in scores[~bad]]
    return sum(pairs) / len(pairs) if pairs else math.nan


def pr_by_definition(scores, bad) -> float:
    """Go through all thresholds, from the highest down."""
    if not bad.any():
        return math.nan
    area, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        chosen = scores >= threshold
        recall = bad[chosen].sum() / bad.sum()
        area += (recall - before) * bad[chosen].mean()
        before = recall
    return area


@given(scored)
def test_roc_auc_is_the_share_of_pairs_in_the_right_order(pairs):
    """ROC AUC is the chance that a bad session ranks above a benign one; ties count half."""
    scores, bad = split(pairs)

    assert same(roc_auc(scores, bad), roc_by_definition(scores, bad))


@given(scored)
def test_pr_auc_is_the_average_precision(pairs):
    """PR AUC is the precision at every threshold, weighted by the recall that it adds."""
    scores, bad = split(pairs)

    assert same(pr_auc(scores, bad), pr_by_definition(scores, bad))


@given(scored, st.integers(1, 5))
def test_only_the_order_of_scores_counts(pairs, factor):
    """Any rising change of the scores leaves both measures as they are."""
    scores, bad = split(pairs)
    changed = np.exp(scores) * factor

    assert same(roc_auc(changed, bad), roc_auc(scores, bad))
    assert same(pr_auc(changed, bad), pr_auc(scores, bad))


@pytest.mark.parametrize(
    ("scores", "bad", "roc", "pr"),
    [
        pytest.param([1, 2, 3], [0, 0, 1], 1.0, 1.0, id="perfect"),
        pytest.param([1, 2, 3], [1, 0, 0], 0.0, 1 / 3, id="reversed"),
        pytest.param([5, 5, 5, 5], [1, 0, 0, 0], 0.5, 0.25, id="all tied"),
        pytest.param([1, 2, 3, 4], [0, 1, 0, 1], 0.75, 5 / 6, id="one in between"),
        pytest.param([1, 2], [1, 1], math.nan, 1.0, id="nothing benign"),
        pytest.param([1, 2], [0, 0], math.nan, math.nan, id="nothing bad"),
        pytest.param([], [], math.nan, math.nan, id="nothing at all"),
    ],
)
def test_measures_worked_out_by_hand(scores, bad, roc, pr):
    """Small rankings have the values one gets on paper."""
    arrays = np.array(scores, float), np.array(bad, np.bool_)

    assert same(roc_auc(*arrays), roc)
    assert same(pr_auc(*arrays), pr)


@given(
    st.lists(st.integers(0, 9).map(float), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.3, 1.0]),
)
def test_at_most_the_accepted_share_lies_above_the_threshold(benign, rate):
    """Above the threshold lies at most the share asked for, and below it no threshold would do."""
    scores = np.array(benign)

    threshold = threshold_at(scores, rate)

    assert np.mean(scores > threshold) <= rate
    lower = scores[scores < threshold]
    assert not len(lower) or np.mean(scores > lower.max()) > rate - 1 / len(scores)


def test_without_benign_sessions_everything_lies_above():
    """Where nothing benign was seen no threshold is needed."""
    assert threshold_at(np.zeros(0), 0.01) == -math.inf
