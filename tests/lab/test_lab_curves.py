"""Curves of weighted rankings, against the measures they must agree with."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.lab.curves import Ranking, interval, share
from astray.lab.metrics import pr_auc, roc_auc

# Few distinct scores, so that there are ties; weights are whole, so that they can be repeated.
scored = st.lists(
    st.tuples(st.integers(0, 6).map(float), st.booleans(), st.integers(0, 3)), max_size=30
)


def columns(rows):
    """Return scores, flags and weights as arrays."""
    return (
        np.array([score for score, _, _ in rows], float),
        np.array([bad for _, bad, _ in rows], np.bool_),
        np.array([weight for _, _, weight in rows], float),
    )


def same(found: float, expected: float) -> bool:
    """Return whether two measures are the same, both perhaps undefined."""
    return (math.isnan(found) and math.isnan(expected)) or found == pytest.approx(expected)


@given(scored)
def test_the_areas_are_those_of_the_plain_measures(rows):
    """Without weights a curve has the areas that the measures of a replay have."""
    scores, bad, _ = columns(rows)

    curve = Ranking(scores, bad).curve()

    assert same(curve.roc_auc, roc_auc(scores, bad))
    assert same(curve.pr_auc, pr_auc(scores, bad))


@given(scored)
def test_a_weight_is_so_many_of_the_same(rows):
    """A session of weight 3 counts as three such sessions, one of weight 0 as none."""
    scores, bad, weights = columns(rows)
    times = weights.astype(int)

    curve = Ranking(scores, bad).curve(weights)

    assert same(curve.roc_auc, roc_auc(np.repeat(scores, times), np.repeat(bad, times)))
    assert same(curve.pr_auc, pr_auc(np.repeat(scores, times), np.repeat(bad, times)))
    assert same(
        share(bad, scores > 2, weights), share(np.repeat(bad, times), np.repeat(scores > 2, times))
    )


def test_a_curve_worked_out_by_hand():
    """From the highest score down: a hit, a tie of a hit and a false one, a false one."""
    curve = Ranking(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True])).curve()

    assert curve.thresholds.tolist() == [3.0, 2.0, 1.0]
    assert curve.recall.tolist() == [0.5, 1.0, 1.0]
    assert curve.false_rate.tolist() == [0.0, 0.5, 1.0]
    assert curve.precision.tolist() == pytest.approx([1.0, 2 / 3, 0.5])


def test_whole_agents_are_drawn():
    """A hundred sessions of two agents are two draws: the interval is as wide as it gets."""
    agents = np.repeat([0, 1], 50)
    caught = agents == 0

    low, high = interval(lambda weights: share(caught, caught | True, weights), agents)

    assert (low, high) == (0.0, 1.0)


def test_more_agents_make_an_interval_narrower():
    """With a hundred agents half of which are caught, the share is sure to about a tenth."""
    agents = np.arange(100)
    caught = agents % 2 == 0

    low, high = interval(lambda weights: share(caught, caught | True, weights), agents)

    assert 0.35 < low < 0.46
    assert 0.54 < high < 0.65


def test_intervals_are_the_same_every_time():
    """The draws are fixed, so that what differs between two models is the models."""
    agents = np.arange(20)
    sizes = np.sqrt(np.arange(20.0))  # so that hardly two draws have the same mean

    first, second = (interval(lambda weights: float(weights @ sizes), agents) for _ in range(2))

    assert first == second


@pytest.mark.parametrize(
    ("agents", "measure"),
    [
        pytest.param(np.zeros(0, np.int64), lambda weights: float(weights.sum()), id="no agents"),
        pytest.param(np.arange(3), lambda weights: math.nan, id="never defined"),
    ],
)
def test_what_cannot_be_measured_has_no_interval(agents, measure):
    """Without agents, or a measure that is ever defined, the bounds are undefined."""
    assert all(map(math.isnan, interval(measure, agents)))
