"""Keys are put in order as numpy would, and equal ones keep theirs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.baseline.sorting import order_of

keys = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1)), max_size=60)


@given(keys)
def test_it_is_the_order_of_a_stable_sort(found):
    """None, one, many, equal ones, the largest there are."""
    values = np.array(found, np.uint64)

    assert order_of(values).tolist() == np.argsort(values, kind="stable").tolist()


@pytest.mark.parametrize("bits", [1, 11, 12, 22, 40, 64])
def test_many_keys_of_any_width(bits):
    """A few digits, and all of them."""
    values = np.random.default_rng(bits).integers(0, 2**bits, 5000, np.uint64, endpoint=False)

    assert np.array_equal(order_of(values), np.argsort(values, kind="stable"))


def test_the_keys_stay_as_they_are():
    """Only places are told."""
    values = np.array([3, 1, 2], np.uint64)

    assert order_of(values).tolist() == [1, 2, 0]
    assert values.tolist() == [3, 1, 2]
