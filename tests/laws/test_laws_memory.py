"""The laws of the core at its caps: floods of agents, groups, sessions and things."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astray.baseline.buffers import N_EVICTED
from astray.baseline.layout import FIRST_TOTAL, NOVELTY_PLACE
from astray.baseline.shard import Shard
from astray.events import Event
from astray.events.ids import stable_id
from core import feed, new_shard, reported, small_config
from strategies import NOW_US

_HOUR_US = 3_600_000_000
_MINUTE_US = 60_000_000
_START_US = NOW_US - 1000 * _HOUR_US - NOW_US % _HOUR_US
_CAPS = {
    "agents_max": 64,
    "groups_max": 8,
    "sessions_max": 64,
    "agent_pages_max": 2,
    "group_pages_max": 4,
    "session_pages_max": 2,
}
_CONFIG = small_config(baseline=_CAPS)


def _flood(seed, size=600, agents=150, groups=20, resources=400):
    """Return a stream with more of everything than there is room for."""
    draw = random.Random(seed)
    ts_us, events = _START_US, []
    pause_us = draw.choice([1_000_000, 5 * _MINUTE_US])  # the shorter one leaves sessions open
    for number in range(size):
        ts_us += draw.choice([0, 1_000_000, pause_us])
        agent = draw.randrange(agents)
        events.append(
            Event(
                ts_us=ts_us,
                agent=f"agent-{agent}",
                group=f"group-{agent % groups}",
                action=f"action-{draw.randrange(60)}",
                session=f"s{draw.randrange(3)}",
                resources=tuple(f"r{draw.randrange(resources)}" for _ in range(3)),
                event_id=f"e{number}",
                session_end=draw.random() < 0.1,
            )
        )
    return events


# A stream of 600 events takes a while to feed twice; the seeds are what varies.
@settings(max_examples=10)
@given(st.integers(0, 10**6), st.integers(0, 600))
def test_law_3_restoring_continues_exactly_at_the_caps(seed, cut):
    """A restored memory makes room at the same events, and forgets the same agents."""
    events = _flood(seed)
    live = new_shard(_CONFIG)
    feed(live, events[:cut])

    restored = Shard.load(live.dump(), live.settings, ["source"])

    assert reported(feed(restored, events[cut:])) == reported(feed(live, events[cut:]))
    assert restored.dump() == live.dump()


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_law_2_batch_size_changes_nothing_at_the_caps(seed, batch):
    """Who has to go does not depend on how events are handed over."""
    events = _flood(seed)
    whole, parts = new_shard(_CONFIG), new_shard(_CONFIG)

    assert reported(feed(whole, events)) == reported(feed(parts, events, batch))
    assert whole.dump() == parts.dump()


@settings(max_examples=10)
@given(st.integers(0, 10**6))
def test_law_11_memory_has_a_ceiling(seed):
    """Rows, tables and bytes stay under their caps, whatever comes."""
    shard = new_shard(_CONFIG)

    feed(shard, _flood(seed))

    memory = shard.memory
    assert len(memory.agents) == _CAPS["agents_max"]
    assert len(memory.sessions) == _CAPS["sessions_max"]
    assert memory.counters[N_EVICTED] > 0
    assert memory.used[1] <= _CAPS["groups_max"] + 2
    assert (1 << memory.agents["run_bits"].max()) <= _CAPS["agent_pages_max"]
    assert (1 << memory.groups["run_bits"].max()) <= _CAPS["group_pages_max"]
    assert (1 << memory.sessions["run_bits"].max()) <= _CAPS["session_pages_max"]


@pytest.mark.slow
def test_a_longer_flood_takes_no_more_memory():
    """Four times the stream: the same number of bytes, within what the last sessions left."""
    short, long = new_shard(_CONFIG), new_shard(_CONFIG)

    feed(short, _flood(1, size=10_000), batch=500)
    feed(long, _flood(1, size=40_000), batch=500)

    assert len(long.dump()) < 1.2 * len(short.dump())
    assert len(long.memory.pages) == len(short.memory.pages)


def _days_of_work(agents, days, group="team"):
    """Return the daily session of some agents: the same three reads each."""
    return [
        Event(
            ts_us=_START_US + day * 24 * _HOUR_US + step * 1_000_000,
            agent=agent,
            group=group,
            action="read",
            session=f"{agent}-{day}",
            resources=(f"file-{step}",),
            session_end=step == 2,
        )
        for day in range(days)
        for agent in agents
        for step in range(3)
    ]


@pytest.mark.parametrize("group", ["team", "elsewhere"], ids=["of its group", "of another group"])
def test_ten_thousand_new_resources_in_a_minute_leave_peers_as_they_were(group):
    """What others do is as new as without the flood (to a tenth of a bit a channel), and as much (to a bit)."""
    config = small_config()
    peers, flooder = ["a", "b", "c"], "flooder"
    past = _days_of_work(peers, 8) + _days_of_work([flooder], 8, group)
    past.sort(key=lambda event: event.ts_us)
    flood_us = _START_US + 8 * 24 * _HOUR_US - 6 * _HOUR_US
    flood = [
        Event(
            ts_us=flood_us + number * 6_000,
            agent=flooder,
            group=group,
            action="read",
            session="flood",
            resources=(f"loot-{number}",),
        )
        for number in range(10_000)
    ]
    later = [event for event in _days_of_work(peers, 10) if event.ts_us > flood_us]
    theft = Event(
        ts_us=later[-1].ts_us + _HOUR_US,
        agent="a",
        group="team",
        action="read",
        session="theft",
        resources=("loot-7",),
        session_end=True,
    )

    calm, flooded = new_shard(config), new_shard(config)
    feed(calm, past)
    feed(flooded, past + flood)
    tail = [*later, theft]
    of_peers = _ended(feed(flooded, tail), but=stable_id(flooder))

    expected = _ended(feed(calm, tail), but=stable_id(flooder))

    assert [session for session, _ in of_peers] == [session for session, _ in expected]
    assert len(expected) == 7
    for (_, seen), (_, calmly) in zip(of_peers, expected, strict=True):
        moved = np.abs(np.subtract(calmly, seen))[:FIRST_TOTAL]
        moved[NOVELTY_PLACE] /= 3  # the sum of three channels
        assert moved.max() < 0.1
        assert np.subtract(calmly, seen) == pytest.approx(np.zeros(len(seen)), abs=1.01)


def _ended(records, but):
    """Return the statistics of the sessions that ended, but for one agent's."""
    return [
        (int(row["session"]), row["statistic"].tolist())
        for some in records
        for row in some.rows
        if row["row"] == -1 and row["agent"] != but
    ]
