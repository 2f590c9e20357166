"""Pauses in a thing's own time: what was to be expected of it."""

import numpy as np
import pytest

from astray.baseline.rhythms import (
    BLOCK_US,
    RHYTHM,
    learn,
    overdue,
)
from astray.baseline.session import hour_of
from made import HOUR_US

MONDAY_US = 1_795_392_000_000_000
"""2026-11-23T00:00:00Z."""

SOURCE = np.array([5], np.uint64)
NOBODY = np.zeros(0, np.uint64)


def new_table(count=1, first_us=MONDAY_US):
    """Return a table of things that have just been met."""
    table = np.zeros(count, RHYTHM)
    table["key"], table["source"] = np.arange(1, count + 1), SOURCE[0]
    for name in ("first_us", "last_us", "block_us"):
        table[name] = first_us
    return table


def passed(table, hours, shows, giving=SOURCE, first=1):
    """Let hours pass in which the first row shows itself where it does."""
    for hour in range(first, first + hours):
        window_us = MONDAY_US + hour * HOUR_US
        rows = np.array([0] if shows(hour) else [], np.int64)
        sources = np.full(len(rows), SOURCE[0])
        learn(table, rows, sources, giving, window_us, hour_of(window_us))


def office(hour):
    """Return whether it is between nine and five on a weekday."""
    return 9 <= hour % 24 < 17 and hour // 24 % 7 < 5


@pytest.mark.parametrize(
    ("hours", "cell"),
    [(0, 0), (9, 9), (4 * 24 + 23, 23), (5 * 24, 24), (6 * 24 + 23, 47), (7 * 24, 0)],
    ids=["monday", "nine o'clock", "friday night", "saturday", "sunday night", "monday again"],
)
def test_a_cell_is_an_hour_of_weekday_or_weekend(hours, cell):
    """Saturday and Sunday are apart from the others, in UTC."""
    assert hour_of(MONDAY_US + hours * HOUR_US) == cell


def test_an_hourly_job_waits_an_hour_at_a_time():
    """For what is always about, its own time is the time; one missed hour adds one."""
    table = new_table()
    passed(table, 24 * 28, lambda _: True)
    pauses, largest = int(table["pauses"][0].sum()), float(table["largest"][0].max())

    passed(table, 3, lambda _: False, first=24 * 28 + 1)

    assert pauses == 24 * 28
    assert largest == pytest.approx(0.95, abs=0.05)
    assert table["waited"][0] == pytest.approx(2.8, abs=0.2)


def test_nights_and_weekends_are_no_pause_of_an_office_worker():
    """Hours in which it has never been about add nothing to its pause."""
    table = new_table()
    passed(table, 24 * 28, office)

    passed(table, 8, office, first=24 * 28 + 1)  # a weekend has gone, and its last night

    assert table["waited"][0] < 0.2
    assert table["largest"][0].max() < 1.1


def test_no_time_passes_while_the_source_gives_nothing():
    """What is not told of is not known to be silent."""
    table = new_table()
    passed(table, 100, lambda _: True)
    before = table.copy()

    passed(table, 50, lambda _: False, giving=np.array([4, 6], np.uint64), first=101)
    passed(table, 50, lambda _: False, giving=NOBODY, first=151)

    assert table.tobytes() == before.tobytes()


def test_old_pauses_are_forgotten_in_two_steps():
    """The largest pause counts for one to two blocks of time."""
    table = new_table()
    passed(table, 30, lambda hour: hour < 10 or hour == 30)
    largest = float(table["largest"][0].max())
    remembered = []
    for block in (1, 2, 3):
        window_us = MONDAY_US + block * BLOCK_US + HOUR_US
        learn(table, np.zeros(1, np.int64), SOURCE, SOURCE, window_us, 1)
        remembered.append(table["largest"][0].max() >= largest)

    assert remembered == [True, False, False]
    assert table["pauses"][0].tolist() == [1, 1]


def test_who_was_away_for_longer_than_is_remembered_begins_anew():
    """Two blocks without a sign leave no pauses behind."""
    table = new_table()
    passed(table, 40, lambda _: True)

    learn(table, np.zeros(1, np.int64), SOURCE, SOURCE, MONDAY_US + 3 * BLOCK_US, 0)

    assert table["pauses"][0].tolist() == [1, 0]


def test_overdue_is_who_is_known_and_pauses_for_longer_than_ever():
    """Not who is young, has hardly paused, has a case, or whose source is silent."""
    table = new_table(6)
    table["waited"], table["largest"] = 2.0, [1.0, 0.5]
    table["pauses"] = [15, 5]
    table["waited"][1] = 1.0
    table["last_us"] += 100
    table["first_us"][2] += 1
    table["pauses"][3] = [14, 5]
    table["state"][4] = 1
    table["source"][5] = 9
    out = np.empty(6, np.int64)

    found = overdue(table, SOURCE, 100, 20, out)

    assert out[:found].tolist() == [0]
