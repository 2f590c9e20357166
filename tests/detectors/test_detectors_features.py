"""What a detector sees of a session, and how its scores become levels."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.baseline.layout import STATISTICS, TOTALS
from astray.detectors import levels, telling
from astray.detectors.features import FEATURES, features_of
from astray.detectors.levels import LEVELS, MISSING, level_of
from made import ended_rows

amounts = st.floats(0, 2**53)


def seen(**values):
    """Return what is seen of one session."""
    (session,) = features_of(ended_rows([0.0], **values), list(FEATURES))
    return session


def test_totals_are_seen_by_their_magnitude():
    """A thousand events are half-way to a million of them, and whatever is more is 1."""
    of = {name: place for place, name in enumerate(TOTALS)}
    totals = np.zeros(len(TOTALS))
    totals[[of["events"], of["bytes"], of["failures"], of["denials"]]] = 999, 2.0**50, 333, 333

    session = seen(total=totals, ts_us=3_600_000_000, start_us=0)

    assert session["events"] == pytest.approx(3 / 5, abs=1e-3)
    assert session["bytes"] == 1.0
    assert session["failed_share"] == pytest.approx(2 / 3)
    assert session["seconds"] == pytest.approx(math.log(3601) / math.log(7 * 86_400 + 1))


@given(
    st.lists(amounts, min_size=len(TOTALS), max_size=len(TOTALS)),
    st.lists(st.floats(0, 500, width=32), min_size=len(STATISTICS), max_size=len(STATISTICS)),
)
def test_whatever_a_session_is_every_feature_lies_between_0_and_1(totals, statistics):
    """That is what half-space trees ask for."""
    session = seen(total=totals, statistic=statistics)

    assert all(0.0 <= value <= 1.0 for value in session.values())


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_a_higher_score_never_has_a_lower_level(one, other):
    """Whatever the range of a model's scores."""
    low, high = sorted((one, other))

    assert 0 <= level_of(low) <= level_of(high) < LEVELS
    assert MISSING >= LEVELS


def test_levels_tell_scores_of_half_space_trees_apart():
    """Their scores crowd below 1: a thousandth makes a difference."""
    assert len({level_of(0.9 + place / 1000) for place in range(100)}) == 100


@pytest.mark.parametrize("module", [levels, telling], ids=["levels", "telling"])
def test_the_examples_of_detectors_are_true(module):
    """What docstrings show is what is returned."""
    failed, tried = doctest.testmod(module)

    assert failed == 0
    assert tried > 0
