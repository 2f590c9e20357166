"""Slopes: none of them negative, they find what differs, in the far tail too, as others would."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astray.calibrate.slopes import KNEE, add_odds, by_kind, fitted, shares_on
from astray.compiled import compiled

WIDTH, FOREIGN = 6, 150
NOVEL, LARGE, TAME = 0, 3, 5


def bits_of(count, seed):
    """Return the bits of ordinary sessions: half of them are zero."""
    rng = np.random.default_rng(seed)
    bits = rng.exponential(1.4, (count, WIDTH)) * (rng.random((count, WIDTH)) < 0.5)
    return bits.astype(np.float32)


def sessions(seed=1):
    """Return attacks that stand out in one statistic or far out in another, then real ones."""
    attacks = bits_of(FOREIGN, seed)
    attacks[:75, NOVEL] += 3.0
    attacks[75:, LARGE] += 9.0
    attacks[:, TAME] = 0.0
    return np.concatenate((attacks, bits_of(600, seed + 1)))


@pytest.fixture(scope="module")
def slopes():
    """Teach slopes to tell these attacks from real sessions."""
    return fitted(sessions(), FOREIGN)


@compiled
def _odds(bits, slopes, odds):
    for row in range(len(bits)):
        add_odds(bits[row], slopes, odds[row])


def odds_of(bits, slopes):
    """Return the log odds of sessions, which other kinds beside do not change."""
    odds = np.full((len(bits), 3), np.nan)
    _odds(bits, by_kind(np.stack((slopes / 2.0, slopes, slopes * 2.0))), odds)
    np.testing.assert_allclose(odds[:, 2], 4.0 * odds[:, 0], rtol=1e-9, atol=1e-9)
    return odds[:, 1]


def loss(slopes, bits, foreign):
    """Return what is fitted: the logistic loss, both kinds weighing the same, and the ridge."""
    odds = odds_of(bits, slopes)
    is_foreign = np.arange(len(bits)) < foreign
    weight = len(bits) / (2.0 * np.where(is_foreign, foreign, len(bits) - foreign))
    each = np.logaddexp(0.0, np.where(is_foreign, -odds, odds))
    return float(np.sum(weight * each) + 5.0 * np.sum(slopes[:-1] ** 2))


def test_slopes_tell_what_differs(slopes):
    """Sessions they have not seen are told apart, by what is odd and not by what is tame."""
    found = odds_of(sessions(7), slopes)

    assert np.mean(found[:FOREIGN] > 0) > 0.85
    assert np.mean(found[FOREIGN:] < 0) > 0.85
    assert slopes[TAME].tolist() == [0.0, 0.0]


def test_no_slope_is_negative_and_there_is_no_better_fit(slopes):
    """Whichever slope is changed a little, as far as it may be, the fit gets no better."""
    bits = sessions()
    best = loss(slopes, bits, FOREIGN)

    assert (slopes[:-1] >= 0.0).all()
    for place in np.ndindex(*slopes[:-1].shape):
        for step in (-1e-3, 1e-3):
            other = slopes.copy()
            other[place] = max(other[place] + step, 0.0)
            assert loss(other, bits, FOREIGN) >= best - 1e-9


def test_the_far_tail_has_a_slope_of_its_own():
    """Where attacks begin beyond the knee, it is there that a bit says more."""
    bits = bits_of(750, 3)
    bits[:, NOVEL] = np.minimum(bits[:, NOVEL], KNEE)
    bits[:FOREIGN, NOVEL] = KNEE + np.linspace(0.1, 6.0, FOREIGN)
    bits[FOREIGN::8, NOVEL] = KNEE

    below, beyond = fitted(bits, FOREIGN)[NOVEL]

    assert beyond > below


@settings(max_examples=60)
@given(
    st.lists(st.floats(0, 20), min_size=WIDTH, max_size=WIDTH),
    st.integers(0, WIDTH - 1),
    st.floats(0, 20),
)
def test_more_odd_is_never_less_like_an_attack(slopes, bits, statistic, more):
    """Raising any statistic does not lower the odds."""
    pair = np.array([bits, bits], np.float32)
    pair[1, statistic] += more

    low, high = odds_of(pair, slopes)

    assert low <= high


def test_what_statistics_add_is_all_there_is(slopes):
    """Shares are the log odds, besides where they begin."""
    for row, found in zip(sessions(5), odds_of(sessions(5), slopes), strict=True):
        assert shares_on(row, slopes).sum() + slopes[-1, 0] == pytest.approx(found, abs=1e-5)


def test_the_same_sessions_make_the_same_slopes(slopes):
    """Nothing is drawn: slopes are a function of the sessions."""
    assert np.array_equal(fitted(sessions(), FOREIGN), slopes)


@pytest.mark.parametrize("seed", [1, 11, 21])
def test_wherever_the_search_begins_it_ends_at_the_same_slopes(slopes, seed):
    """From those of other sessions, of none, or of nothing like these, the best fit is found."""
    bits = sessions(seed)
    cold = fitted(bits, FOREIGN)
    far = np.full_like(slopes, 40.0)
    far[-1] = -200.0, 0.0

    np.testing.assert_allclose(fitted(bits, FOREIGN, slopes), cold, atol=1e-6)
    np.testing.assert_allclose(fitted(bits, FOREIGN, far), cold, atol=1e-6)
    np.testing.assert_allclose(fitted(bits, FOREIGN, cold), cold, atol=1e-6)


def test_slopes_that_begin_the_search_stay_as_they_are(slopes):
    """The experts before go on judging while others are taught."""
    before = slopes.copy()

    fitted(sessions(3), FOREIGN, slopes)

    assert np.array_equal(slopes, before)
