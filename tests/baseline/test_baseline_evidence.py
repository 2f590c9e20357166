"""The formulas, by hand and by their laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.baseline import evidence
from astray.baseline.fusion import WEIGHT, fuse
from astray.baseline.layout import STATISTICS
from astray.compiled import compiled

rates = st.floats(1e-4, 0.999)
weights = st.floats(0, 1e4)


@compiled
def _novelty_rate(news, draws, parent_rate):
    return evidence.novelty_rate(news, draws, parent_rate)


@compiled
def _novelty_bits(rate, already):
    return evidence.novelty_bits(rate, already)


@compiled
def _peer_bits(rate, child_rate, already):
    return evidence.peer_bits(rate, child_rate, already)


@compiled
def _likeness(agent, agent_mass, group, group_mass):
    return evidence.likeness_bits(agent, agent_mass, group, group_mass)


@compiled
def _hour(agent, agent_mass, group, group_mass):
    return evidence.hour_bits(agent, agent_mass, group, group_mass)


@compiled
def _predictive(weight, mean, square, group_mean, group_variance):
    return evidence.predictive(weight, mean, square, group_mean, group_variance)


@compiled
def _tail(value, location, scale, freedom):
    return evidence.tail_bits(value, location, scale, freedom)


@compiled
def _fuse(bits):
    return fuse(bits)


def test_the_first_novelty_of_a_session_costs_and_the_next_ones_cost_less():
    """A new job brings several new things at once."""
    assert [_novelty_bits(1 / 64, already) for already in range(4)] == [6.0, 3.0, 2.0, 1.5]


def test_a_new_agent_meets_novelty_as_often_as_its_peers_did():
    """Without draws of its own the parent's rate is all there is."""
    assert _novelty_rate(0.0, 0.0, 0.25) == 0.25
    assert _novelty_rate(0.0, 98.0, 0.5) == pytest.approx(0.01)


def test_what_is_new_to_peers_too_adds_what_is_rarer_for_them():
    """Peers that meet novelty as often as the agent add nothing."""
    assert _peer_bits(1 / 256, 1 / 64, 0) == 2.0
    assert _peer_bits(1 / 16, 1 / 64, 0) == 0.0


@given(rates, rates, st.integers(0, 1000))
def test_evidence_of_novelty_is_never_negative_and_rarer_is_never_less(rate, other, already):
    """Evidence cannot excuse, and a rarer thing is no smaller evidence."""
    low, high = sorted((rate, other))

    assert 0 <= _novelty_bits(high, already) <= _novelty_bits(low, already)
    assert 0 <= _peer_bits(high, 0.5, already) <= _peer_bits(low, 0.5, already)


@given(weights, weights, st.floats(0, 1))
def test_rates_stay_within_their_bounds(news, draws, parent_rate):
    """No history makes novelty impossible or certain."""
    assert evidence.RATE_MIN <= _novelty_rate(min(news, draws), draws, parent_rate) <= 0.999


def test_an_action_of_the_group_that_is_not_the_agents_looks_like_somebody_else():
    """Likeness is positive for what peers do and the agent does not, negative for its own."""
    assert _likeness(0.0, 100.0, 50.0, 100.0) > 3
    assert _likeness(50.0, 100.0, 1.0, 100.0) < -3
    assert abs(_likeness(50.0, 100.0, 50.0, 100.0)) < 0.6


def test_an_hour_the_agent_never_works_is_rare_and_its_usual_one_is_not():
    """The group's hours speak for an agent that has none."""
    assert _hour(0.0, 100.0, 0.0, 100.0) > 3
    assert _hour(40.0, 100.0, 0.0, 0.0) == 0.0
    assert _hour(0.0, 0.0, 50.0, 100.0) == 0.0


def test_a_new_agent_is_expected_to_do_what_its_group_does():
    """Two sessions' worth of the group's mean and variance come before any of its own."""
    location, scale, freedom = _predictive(0.0, 0.0, 0.0, 3.0, 4.0)

    assert (location, freedom) == (3.0, 4.0)
    assert scale == pytest.approx(math.sqrt(4.0 * 1.5))


def test_a_constant_total_does_not_divide_by_zero():
    """An agent that always does the same has a spread above zero."""
    _, scale, _ = _predictive(1000.0, 3.0, 0.0, 3.0, 0.0)

    assert scale > 0.005
    assert math.isfinite(_tail(4.0, 3.0, scale, 1004.0))


@pytest.mark.parametrize(
    ("deviations", "freedom", "bits"),
    [(1.0, 1e9, 2.656), (2.0, 1e9, 5.458), (3.0, 1e9, 9.533), (3.0, 5.0, 6.054)],
)
def test_the_tail_is_students(deviations, freedom, bits):
    """Against -log2 of the exact upper tail, within an eighth of a bit."""
    assert _tail(deviations, 0.0, 1.0, freedom) == pytest.approx(bits, abs=0.125)


@given(st.floats(0, 50), st.floats(0, 50), st.floats(0.01, 10), st.floats(4, 1e5))
def test_a_larger_total_is_never_less_surprising(one, other, scale, freedom):
    """More is never less surprising, and what is below the usual is no surprise."""
    low, high = sorted((one, other))

    assert 0 <= _tail(low, 1.0, scale, freedom) <= _tail(high, 1.0, scale, freedom)
    assert _tail(1.0, 1.0, scale, freedom) == 0.0


_BITS = st.floats(0, 40, width=32)


@given(
    st.lists(_BITS, min_size=len(STATISTICS), max_size=len(STATISTICS)),
    st.integers(0, len(STATISTICS) - 1),
)
def test_raising_one_statistic_never_lowers_the_fused_number(bits, place):
    """Fusion is monotone, between the largest statistic that counts and the sum of all."""
    before = np.array(bits, np.float32)
    after = before.copy()
    after[place] += 1

    assert _fuse(after) >= _fuse(before)
    assert (WEIGHT * before).max() * 0.999 <= _fuse(before) <= before.sum() * 1.001
