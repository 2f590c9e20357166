"""Times: every form an event may write, and the ones it may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.events import clock


@pytest.mark.parametrize(
    ("value", "expected_us"),
    [
        (1_795_312_800, 1_795_312_800_000_000),
        (1_795_312_800.25, 1_795_312_800_250_000),
        (1_795_312_800_123, 1_795_312_800_123_000),
        (1_795_312_800_123_456, 1_795_312_800_123_456),
        (1_795_312_800_123_456_789, 1_795_312_800_123_457),
        (0, 0),
    ],
    ids=["seconds", "fraction", "milliseconds", "microseconds", "nanoseconds", "1970"],
)
def test_the_magnitude_tells_the_unit(value, expected_us):
    """An epoch may be in seconds, milliseconds, microseconds or nanoseconds."""
    assert abs(clock.epoch_us(value) - expected_us) <= 1


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 10**20])
def test_numbers_that_are_no_time_are_none(value):
    """A negative, endless or absurd number is not a time."""
    assert clock.epoch_us(value) is None


def test_iso_times_of_any_zone_become_utc():
    """Zones are honoured, and no zone means UTC."""
    expected = 1_795_312_800_000_000

    assert clock.iso_us("2026-11-22T02:00:00Z") == expected
    assert clock.iso_us("2026-11-22T03:00:00+01:00") == expected
    assert clock.iso_us("2026-11-22 02:00:00") == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "1969-12-31T00:00:00Z"])
def test_texts_that_are_no_time_are_none(text):
    """Text that is no date, or one before 1970, is not a time."""
    assert clock.iso_us(text) is None


@given(st.integers(0, 4_000_000_000_000_000))
def test_writing_and_reading_a_time_gives_it_back(ts_us):
    """The exact form loses nothing."""
    assert clock.iso_us(clock.iso_exact(ts_us)) == ts_us
