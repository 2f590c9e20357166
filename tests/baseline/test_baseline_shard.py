"""A shard as bytes: what is refused, and small examples of what a baseline is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.baseline.layout import FIRST_TOTAL, NOVELTY_LARGEST, TOTALS
from astray.baseline.shard import Shard
from astray.errors import StateError
from astray.events import Event
from astray.events.ids import ABSENT, stable_id
from core import Core, feed, new_shard, small_config
from strategies import NOW_US

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US
_START_US = NOW_US - 100 * _DAY_US - NOW_US % _HOUR_US
_CONFIG = small_config()


def _event(ts_us, session, resource, agent="bot", **other):
    return Event(
        ts_us=ts_us, agent=agent, action="read", session=session, resources=(resource,), **other
    )


def _daily(days, agent="bot", sizes=(100,)):
    return [
        _event(
            _START_US + day * _DAY_US, f"{agent}-{day}", "ledger", agent,
            bytes=sizes[day % len(sizes)], session_end=True,
        )
        for day in range(days)
    ]  # fmt: skip


def _ended(records):
    return [row for some in records for row in some.rows if row["row"] == -1]


@pytest.fixture(scope="module")
def state():
    """Return the bytes of a shard after some days."""
    shard = new_shard(_CONFIG)
    feed(shard, _daily(5))
    return shard.dump()


@given(st.data())
def test_any_damage_to_a_state_is_noticed(state, data):
    """One changed byte anywhere, and the bytes are refused with a sentence."""
    at = data.draw(st.integers(0, len(state) - 1))
    damaged = bytearray(state)
    damaged[at] ^= data.draw(st.integers(1, 255))

    with pytest.raises(StateError, match=r"\w+"):
        Shard.load(bytes(damaged), new_shard(_CONFIG).settings, ["source"])


@given(st.data())
def test_a_state_that_was_cut_off_is_refused(state, data):
    """Fewer bytes than were written are no state."""
    size = data.draw(st.integers(0, len(state) - 1))

    with pytest.raises(StateError):
        Shard.load(state[:size], new_shard(_CONFIG).settings, ["source"])


def test_what_an_agent_does_every_day_is_not_new():
    """After some days the same read carries no bits, and another one does."""
    shard = new_shard(_CONFIG)
    feed(shard, _daily(10))
    usual = _event(_START_US + 10 * _DAY_US, "usual", "ledger", session_end=True)
    other = _event(_START_US + 11 * _DAY_US, "other", "payroll", session_end=True)

    calm, odd = _ended(feed(shard, [usual])), _ended(feed(shard, [other]))

    assert calm[0]["statistic"][NOVELTY_LARGEST] == pytest.approx(0.0, abs=0.05)
    assert odd[0]["statistic"][NOVELTY_LARGEST] > 4.0


def test_a_constant_agents_burst_is_seen():
    """An agent that never varied moves ten thousand times its bytes."""
    shard = new_shard(_CONFIG)
    feed(shard, _daily(30))
    burst = _event(_START_US + 30 * _DAY_US, "burst", "ledger", bytes=1_000_000, session_end=True)

    (row,) = _ended(feed(shard, [burst]))

    assert row["statistic"][FIRST_TOTAL + TOTALS.index("bytes")] > 10.0


def test_an_agent_of_varying_sizes_may_vary():
    """What is a burst for one agent is a usual day for another."""
    shard = new_shard(_CONFIG)
    feed(shard, _daily(30, sizes=(10, 1_000_000, 300, 50_000)))
    large = _event(_START_US + 30 * _DAY_US, "large", "ledger", bytes=1_000_000, session_end=True)

    (row,) = _ended(feed(shard, [large]))

    assert row["statistic"][FIRST_TOTAL + TOTALS.index("bytes")] < 5.0


def test_a_session_is_cut_at_its_most_events():
    """A session that never ends is judged in pieces."""
    config = small_config(sessions={"events_max": 10})
    shard = new_shard(config)
    events = [_event(_START_US + n, "endless", "ledger") for n in range(25)]

    ended = _ended(feed(shard, events))

    assert [int(row["rows"]) for row in ended] == [10, 10]


def test_a_session_ends_when_it_is_idle():
    """The next event after half an hour opens another session, under the same name too."""
    shard = new_shard(_CONFIG)
    events = [_event(_START_US, "s", "a"), _event(_START_US + _HOUR_US // 2, "s", "a")]

    ended = _ended(feed(shard, events))

    assert [int(row["start_us"]) for row in ended] == [_START_US]


def test_open_sessions_are_counted_by_tenant_and_age():
    """At the turn of a window, whoever is then open; of one agent not more than a few."""
    shard = new_shard(_CONFIG)
    old = [_event(_START_US + n, f"old-{n}", "a", "old", session_end=True) for n in range(40)]
    at_us = _START_US + _HOUR_US - 60_000_000
    open_ = [
        _event(at_us, "s", "a", "old"),
        *(_event(at_us, f"s{n}", "a", f"new-{n}") for n in range(3)),
        *(_event(at_us, f"s{n}", "a", "many", tenant="acme") for n in range(40)),
        _event(at_us, "done", "a", "done", tenant="umbrella", session_end=True),
    ]

    feed(shard, [*old, *open_])
    turned = feed(shard, [_event(_START_US + _HOUR_US, "next", "a")])

    found = [some.open_sessions for some in turned if some.open_sessions]
    assert [dict(some) for some in found] == [{ABSENT: (3, 0, 1), stable_id("acme"): (16, 0, 0)}]


def test_long_sessions_are_not_odd_while_only_short_ones_have_ended():
    """They are not reported, also after a restart, until twice as many have ended as are open."""
    shard, hours = new_shard(_CONFIG), 4
    short = [
        _event(_START_US + n * 60_000_000, f"s{n}", "a", f"short-{n % 60}", session_end=True)
        for n in range(60 * hours)
    ]
    long = [
        _event(_START_US + 1 + n * 600_000_000, "long", f"r{n}", f"long-{agent}")
        for n in range(6 * hours)
        for agent in range(70)
    ]
    events = sorted([*short, *long], key=lambda event: event.ts_us)
    middle = len(events) * 5 // 8

    first = feed(shard, events[:middle])
    restored = Shard.load(shard.dump(), shard.settings, ["source"])
    then = feed(restored, events[middle:])

    live = [int(row["ts_us"]) for some in (*first, *then) for row in some.rows if row["row"] >= 0]
    settled_us = _START_US + 3 * _HOUR_US  # 180 have ended, and 70 are open
    assert min(live) >= settled_us


def test_tenants_share_nothing():
    """Two tenants' agents, groups and fleets are strangers, whatever they are called."""
    alone, beside = new_shard(_CONFIG), new_shard(_CONFIG)
    ours = [_event(e.ts_us, e.session, "ledger", "ours", tenant="us", group="g") for e in _daily(9)]
    theirs = [
        _event(e.ts_us + 1, e.session, "loot", "theirs", tenant="them", group="g")
        for e in _daily(9)
    ]
    both = sorted([*ours, *theirs], key=lambda event: event.ts_us)
    last = _event(_START_US + 9 * _DAY_US, "x", "loot", "ours", tenant="us", session_end=True)

    feed(alone, ours)
    feed(beside, both)
    (alone_row,) = _ended(feed(alone, [last]))[-1:]
    (beside_row,) = _ended(feed(beside, [last]))[-1:]

    assert np.array_equal(alone_row["statistic"][:6], beside_row["statistic"][:6])


@pytest.mark.parametrize("batch", [1, 60])
def test_the_first_hour_of_1970_is_like_any_other(batch):
    """Who counts time from nothing is learnt from its first moment on, in all its windows."""
    early = [
        _event(number * 120_000_000, f"s{number}", "ledger", session_end=True)
        for number in range(60)
    ]

    shard, core = new_shard(_CONFIG), Core(_CONFIG)
    found = _ended(feed(shard, early, batch))
    rulings = core.feed(early, batch)

    assert len(found) == 60
    assert int(shard.memory.agents["sessions"].sum()) == 60
    assert shard.window_us == _HOUR_US
    assert sum(int((~some["live"]).sum()) for ruling in rulings for some in ruling.scored) == 60
