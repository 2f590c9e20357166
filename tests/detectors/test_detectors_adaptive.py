"""Whether a series has two levels, as river's ADWIN sees it."""

import numpy as np
import pytest

from astray.detectors.adaptive import has_changed


def series(*parts):
    """Return numbers by chance around a level, so many of each."""
    generator = np.random.default_rng(4)
    return np.concatenate([level + generator.exponential(1.4, count) for level, count in parts])


@pytest.mark.parametrize(
    ("parts", "changed"),
    [([(0, 64)], False), ([(0, 54), (10, 10)], True), ([(10, 10)], False), ([], False)],
    ids=["one level", "two levels", "another level", "nothing"],
)
def test_two_levels_are_a_change(parts, changed):
    """However high it is, one level is none."""
    found = has_changed(series(*parts).tolist() if parts else [])

    assert found is changed


def test_a_change_stays_one_whatever_follows():
    """ADWIN forgets what it has found with the next number; this does not."""
    assert has_changed([0.0] * 40 + [9.0] * 30)


def test_nothing_is_remembered():
    """A series is judged by itself, not by what was asked before."""
    has_changed([0.0] * 60)

    assert not has_changed([9.0] * 60)
