"""Large arrays of zeros are zeros, can be written, and take no memory where they are not."""

import resource

import numpy as np
import pytest

from astray import large
from astray.baseline.pages import PAGE


@pytest.mark.parametrize("rows", [0, 1, 1000, large.PAGE_BYTES // PAGE.itemsize + 1, 100_000])
def test_there_are_as_many_zeros_as_were_asked_for(rows):
    """Of any type, on the boundary of a cache line, and to be written."""
    found = large.zeros(rows, PAGE)

    assert len(found) == rows
    assert found.dtype == PAGE
    assert not found["item"].any()
    found["weight"] = 1.0
    assert found["weight"].sum() == rows * 16


def test_what_lies_in_large_pages_begins_with_one():
    """So that all of it does."""
    assert large.zeros(2 * large.PAGE_BYTES, np.uint8).ctypes.data % large.PAGE_BYTES == 0


def test_what_is_never_written_takes_no_memory():
    """A gibibyte of zeros is a promise."""
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    found = large.zeros(1 << 30, np.uint8)
    found[:100] = 1

    after_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after_kb - before_kb < 100_000
