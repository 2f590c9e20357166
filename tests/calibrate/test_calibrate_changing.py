"""The statistic of change: what one session says, how often chance alone reaches a limit."""

import numpy as np
import pytest

from astray.calibrate import changing
from astray.calibrate.changing import CHANGING, OWN, cut_of, go_on, latest, levels_of
from made import HOUR_US, START_US

NEVER = np.inf


def agents(count=1):
    """Return agents of whom nothing is known."""
    table = np.zeros(count, CHANGING)
    table["key"] = np.arange(1, count + 1)
    return table


def lived(table, n, limit=NEVER, row=0, start_us=START_US):
    """Have an agent go on with sessions an hour apart; return its statistic."""
    n = np.asarray(n, float)
    times = start_us + np.arange(len(n), dtype=np.int64) * HOUR_US
    go_on(table, np.full(len(n), row), times, n, limit)
    return float(table["statistic"][row])


@pytest.mark.parametrize(
    ("n", "likelihood"), [(1.0, 0.5), (4.0, 1.0), (16.0, 2.0), (64.0, 4.0), (1e9, 4.0)]
)
def test_a_session_weighs_by_the_root_of_its_rarity(n, likelihood):
    """Twice as likely after a change from 1 in 16 on, and never more than four times."""
    assert lived(agents(), [n]) == likelihood


def test_evidence_adds_up_as_the_recursion_says():
    """A change may have come at any of the sessions: R <- (1 + R) * L."""
    table = agents()
    lived(table, [1.0, 1.0, 1.0])

    assert table["statistic"][0] == 0.5 * (1 + 0.5 * (1 + 0.5))


def test_chance_reaches_the_limit_no_more_often_than_it_says():
    """Of uniform ranks a limit of 200 is reached once in at least 200 sessions."""
    generator, limit = np.random.default_rng(1), 200.0
    reached, sessions, table = 0, 0, agents(400)
    for _ in range(300):
        n = 1.0 / generator.uniform(size=len(table))
        go_on(table, np.arange(len(table)), np.full(len(table), START_US), n, limit)
        beyond = table["statistic"] >= limit
        reached, sessions = reached + int(beyond.sum()), sessions + len(table)
        table["statistic"][beyond] = 0.0

    assert 0.05 / limit < reached / sessions < 1.0 / limit


def test_a_change_is_seen_within_a_few_sessions_and_one_odd_session_is_none():
    """A hundred ordinary ones, then odd ones: the fifth is not enough, the tenth is."""
    table = agents()
    lived(table, [2.0, 1.0, 5.0, 1.5] * 25)

    assert lived(table, [1e6], 1e5) < 20.0
    assert lived(table, [1e6] * 4, 1e5) < 1e5
    assert lived(table, [1e6] * 5, 1e5) >= 1e5


def test_who_is_odd_by_nature_is_compared_with_itself():
    """Sessions like 1 in 30 are a change in one who had others, and none in one who had not."""
    odd, changed = agents(), agents()
    lived(odd, [30.0] * 100)
    lived(changed, [2.0] * 100)

    assert lived(odd, [30.0] * 40, 1e4) < 10.0
    assert lived(changed, [30.0] * 40, 1e4) >= 1e4


def test_what_an_agent_has_changed_to_becomes_its_own():
    """After a review nothing is asked again, as long as it goes on so."""
    table = agents()
    lived(table, [2.0] * 100)
    assert lived(table, [100.0] * 20, 1e5) >= 1e5

    table["statistic"] = 0.0

    assert lived(table, [100.0] * 200, 1e5) < 1e5


def test_at_the_limit_it_waits_to_be_told():
    """What comes after it takes nothing back."""
    table = agents()
    reached = lived(table, [256.0] * 10, 100.0)

    assert lived(table, [1.0] * 50, 100.0) == reached >= 100.0


def test_of_an_agents_latest_sessions_the_oldest_come_first():
    """As many as are remembered, with the minutes they began in."""
    table = agents()
    lived(table, 2.0 ** np.arange(OWN + 5).clip(max=15))

    bits, start_us = latest(table[0])

    assert len(bits) == OWN
    assert bits[:3].tolist() == [5.0, 6.0, 7.0]
    assert start_us[0] == START_US + 5 * HOUR_US
    assert (np.diff(start_us) == HOUR_US).all()


def test_rarities_are_remembered_in_steps_and_cut_off():
    """Sixteenths of a bit, up to sixteen bits."""
    assert levels_of(np.array([1.0, 2.0, 2.1, 1e300])).tolist() == [0, 16, 17, 255]


@pytest.mark.parametrize(
    ("bits", "cut"),
    [([1, 1, 1, 9, 9], 3), ([1, 9], 1), ([9, 1, 1, 1, 5, 5, 5], 4), ([2] * 20 + [3] * 2, 20)],
)
def test_the_cut_is_where_what_follows_is_odder_than_what_came_before(bits, cut):
    """A fall is no rise: who was odd once and is no more has not changed then."""
    assert cut_of(np.array(bits, float)) == cut


def test_agents_do_not_see_each_other():
    """Interleaved or one after another, the same to the bit."""
    generator = np.random.default_rng(2)
    rows = generator.integers(0, 5, 500)
    n = 1.0 / generator.uniform(size=500)
    times = START_US + np.arange(500, dtype=np.int64) * HOUR_US
    order = np.argsort(rows, kind="stable")
    mixed, apart = agents(5), agents(5)

    go_on(mixed, rows, times, n, 50.0)
    go_on(apart, rows[order], times[order], n[order], 50.0)

    assert mixed.tobytes() == apart.tobytes()


def test_a_change_does_not_hide_itself():
    """The first few sessions after it are ranked among those before it alone."""
    early, late = agents(), agents()
    lived(early, [2.0] * 100)
    lived(late, [2.0] * 92 + [1e6] * 8)
    for table in (early, late):
        table["statistic"] = 0.0

    assert lived(early, [1e6]) == 4.0
    assert lived(late, [1e6]) < 4.0


def test_interpreted_it_is_the_same_to_the_bit():
    """Without a compiler the function is run as it is written."""
    generator = np.random.default_rng(3)
    rows, n = generator.integers(0, 5, 500), 1.0 / generator.uniform(size=500)
    times = START_US + np.arange(500, dtype=np.int64) * HOUR_US
    written = getattr(changing._go_on, "py_func", changing._go_on)
    compiled, interpreted = agents(5), agents(5)

    go_on(compiled, rows, times, n, 50.0)
    written(interpreted, rows, times, n, levels_of(n), changing._RARITY, 50.0, 0)

    assert interpreted.tobytes() == compiled.tobytes()
