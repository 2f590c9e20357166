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


def test_what_grows_keeps_what_it_has_and_gets_zeros():
    """From small to beyond the room there is, whatever was written on the way."""
    rows = np.ones(10, np.int64)
    for length in [100, 1 << 18, 1 << 19, 1 << 19, (1 << 19) + 1, 1 << 25, 1 << 26]:
        before = len(rows)

        rows = large.longer(rows, length)

        assert len(rows) == length
        assert (rows[:before] == 1).all()
        assert not rows[before:].any()
        rows[before:] = 1


def test_what_grows_stays_where_it_is():
    """Nothing is copied into new pages while there is room."""
    rows = large.zeros(large.PAGE_BYTES, np.uint8)

    longer = large.longer(rows, 8 * large.PAGE_BYTES)

    assert longer.ctypes.data == rows.ctypes.data


def test_room_is_promised_once():
    """What grows from a part of an array, or from one that has grown, gets zeros of its own."""
    rows = large.zeros(large.PAGE_BYTES, np.uint8)
    large.longer(rows, 2 * large.PAGE_BYTES)[:] = 7

    again, part = large.longer(rows, 2 * large.PAGE_BYTES), large.longer(rows[1:], len(rows) + 1)

    assert not again[len(rows) :].any()
    assert not part[-1:].any()
    part[:] = 8
    assert (again[: len(rows)] == 7).all()


def test_where_no_more_is_given_there_is_no_room(monkeypatch):
    """A machine that promises no more than it has still gives what is asked for."""
    given = large._Room

    def strict(number, size, flags):
        if size > 2 * large.PAGE_BYTES:
            raise OSError
        return given(number, size, flags=flags)

    monkeypatch.setattr(large, "_Room", strict)
    rows = large.zeros(large.PAGE_BYTES, np.uint8)
    monkeypatch.setattr(large, "_Room", given)
    rows[:] = 1

    assert large.longer(rows, 2 * large.PAGE_BYTES).sum() == large.PAGE_BYTES
