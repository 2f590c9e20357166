"""The laws of the core, on streams that hypothesis makes: what may never depend on chance."""

import dataclasses
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from astray.baseline.shard import Shard
from astray.decide.decider import Decider
from astray.events import Event
from core import Core, feed, new_shard, reported, small_config
from strategies import NOW_US

_HOUR_US = 3_600_000_000
_START_US = NOW_US - 1000 * _HOUR_US - NOW_US % _HOUR_US
_CONFIG = small_config()


@st.composite
def streams(draw, agents=3, size=60):
    """Draw a stream in time order: a few agents of two groups, repeats, ends, gaps, days."""
    events, ts_us = [], _START_US
    for number in range(draw(st.integers(1, size))):
        ts_us += draw(
            st.sampled_from([0, 1, 1_000_000, 40_000_000, 25 * 60_000_000, _HOUR_US, 30 * _HOUR_US])
        )
        agent = draw(st.integers(0, agents - 1))
        events.append(
            Event(
                ts_us=ts_us,
                agent=f"agent-{agent}",
                group=f"group-{agent % 2}",
                action=draw(st.sampled_from(["read", "write", "list", "delete"])),
                session=draw(st.sampled_from(["", "s1", "s2"])),
                resources=tuple(draw(st.lists(st.sampled_from("abcdef"), max_size=3))),
                outcome=draw(st.sampled_from(["success", "failure", "denied"])),
                bytes=draw(st.sampled_from([0, 10, 10_000_000])),
                event_id=draw(st.sampled_from(["", f"e{number}"])),
                session_end=draw(st.integers(0, 9)) == 0,
            )
        )
    return events


def _by_agent(records):
    """Return what was reported of each agent, in order, without where it lay in the stream."""
    found = defaultdict(list)
    for some in records:
        for row, line in zip(some.rows, some.lines, strict=True):
            found[int(row["agent"])].append(
                (line, row["statistic"].tolist(), row["total"].tolist(), int(row["session"]))
            )
    return found


@given(streams(), st.randoms())
def test_law_1_interleaving_agents_changes_nothing(events, random):
    """Within an event-time window, only an agent's own order counts."""
    windows = defaultdict(lambda: defaultdict(list))
    for event in events:
        windows[event.ts_us // _HOUR_US][event.agent].append(event)
    shuffled = []
    for _, queues in sorted(windows.items()):
        waiting = [list(queue) for queue in queues.values()]
        while waiting:
            queue = random.choice(waiting)
            shuffled.append(queue.pop(0))
            waiting = [queue for queue in waiting if queue]

    assert _by_agent(feed(new_shard(_CONFIG), events)) == _by_agent(
        feed(new_shard(_CONFIG), shuffled)
    )


@given(streams(), st.integers(1, 7))
def test_law_2_batch_size_changes_nothing(events, batch):
    """One event at a time, a few, or all at once: the same reports, decisions and bytes."""
    whole, parts = Core(_CONFIG), Core(_CONFIG)

    rulings, in_parts = whole.feed(events), parts.feed(events, batch)

    assert whole.dump() == parts.dump()
    assert [d for r in rulings for d in r.decisions] == [d for r in in_parts for d in r.decisions]


def _after(past, events, batch):
    """Return what is reported of events after a past, in batches."""
    shard = new_shard(_CONFIG)
    feed(shard, past)
    return feed(shard, events, batch)


@given(st.integers(1, 5))
def test_law_2_evidence_is_what_was_found_by_then(batch):
    """A session finds something new with every event; no report knows what comes later."""
    usual = Event(
        ts_us=0, agent="agent", action="read", resources=("a",), source="here",
        principal="somebody", target_agent="other", session_end=True,
    )  # fmt: skip
    past = [
        dataclasses.replace(usual, ts_us=_START_US + n * _HOUR_US, session=f"s{n}")
        for n in range(60)
    ]
    first = dataclasses.replace(usual, session="odd", session_end=False)
    news = [
        {"source": "there"},
        {"resources": ("b",)},
        {"principal": "stranger"},
        {"action": "write"},
        {"target_agent": "unknown"},
        {"resources": ("c",), "action": "delete"},
    ]
    odd = [
        dataclasses.replace(first, ts_us=past[-1].ts_us + _HOUR_US + n, **new)
        for n, new in enumerate(news)
    ]

    whole, parts = (_after(past, odd, size) for size in (len(odd), batch))

    assert reported(parts) == reported(whole)
    assert any(found for some in whole for found in some.findings)


@given(streams(), st.integers(0, 60))
def test_law_3_restoring_continues_exactly(events, cut):
    """A state that was written and read goes on like one that was not."""
    live = new_shard(_CONFIG)
    feed(live, events[:cut])

    restored = Shard.load(live.dump(), live.settings, ["source"])

    assert restored.dump() == live.dump()
    assert reported(feed(restored, events[cut:])) == reported(feed(live, events[cut:]))
    assert restored.dump() == live.dump()


def _sessions_of_several_agents():
    """Return sessions of four agents that are alike, and then one of each that is not."""
    usual = Event(ts_us=0, agent="", action="read", resources=("a",), source="here")
    past, odd = [], []
    for number in range(4):
        own = dataclasses.replace(usual, agent=f"agent-{number}")
        past += [
            dataclasses.replace(
                own, ts_us=_START_US + n * _HOUR_US, session=f"s{n}", session_end=True
            )
            for n in range(20)
        ]
        now = dataclasses.replace(own, session="odd", ts_us=_START_US + 20 * _HOUR_US)
        odd += [
            dataclasses.replace(now, resources=(f"b{number}",)),
            dataclasses.replace(now, source="there"),
            dataclasses.replace(now, action=f"write-{number}", session_end=True),
        ]
    return sorted(past, key=lambda event: event.ts_us), odd


@given(st.permutations(range(12)), st.integers(8, 12))
def test_law_3_what_was_found_in_open_sessions_is_kept(order, cut):
    """Several sessions with something new in each are open; none of it is lost or exchanged."""
    past, odd = _sessions_of_several_agents()
    odd = [dataclasses.replace(odd[place], session_end=False) for place in order]
    live = new_shard(_CONFIG)
    feed(live, [*past, *odd[:cut]])

    restored = Shard.load(live.dump(), live.settings, ["source"])

    open_now = {event.agent for event in odd[:cut]}
    assert len(restored.findings.dump()) == len(open_now) > 2
    assert restored.dump() == live.dump()
    later = [dataclasses.replace(event, bytes=10_000_000) for event in [*odd[cut:], *odd]]
    assert reported(feed(restored, later)) == reported(feed(live, later))


@given(streams(), st.integers(0, 60))
def test_law_4_a_crash_covers_each_event_once(events, cut):
    """From a snapshot and the events after it, everything comes out as if nothing had happened."""
    whole, first = Core(_CONFIG), Core(_CONFIG)
    whole.feed(events)
    first.feed(events[:cut])
    states = first.dump()
    first.feed(events[cut:])  # lost in the crash

    second = Core(_CONFIG)
    second.shards = [
        Shard.load(state, shard.settings, ["source"])
        for state, shard in zip(states, second.shards, strict=False)
    ]
    second.decider = Decider.load(states[-1], _CONFIG)
    second.feed(events[cut:])

    assert second.dump() == whole.dump()


@given(streams())
def test_law_5_scoring_changes_no_state(events):
    """Looking at open sessions and ranking them leaves every byte as it was."""
    core = Core(_CONFIG)
    core.feed(events)
    before = core.dump()

    for shard in core.shards:
        for records in shard.open_sessions():
            for reference in core.decider._references.values():
                reference.rank(records.rows)

    assert core.dump() == before


@given(streams(), st.integers(0, 60))
def test_law_6_an_event_is_scored_from_its_past_only(events, cut):
    """What comes later changes nothing that was reported before."""
    prefix = reported(feed(new_shard(_CONFIG), events[:cut], batch=1))

    whole = reported(feed(new_shard(_CONFIG), events, batch=1))

    assert whole[: len(prefix)] == prefix


@given(streams())
def test_law_7_statistics_never_fall_while_a_session_runs(events):
    """More is never less surprising."""
    shard = new_shard(_CONFIG)
    last = {}

    for event in events:
        feed(shard, [event])
        for records in shard.open_sessions():
            for row in records.rows:
                before = last.get(int(row["number"]), np.zeros(len(row["statistic"])))
                assert (row["statistic"] >= before).all()
                last[int(row["number"])] = row["statistic"].copy()


@given(streams(), st.data())
def test_law_10_redelivery_changes_nothing(events, data):
    """An event with an id that comes again, late, is as if it had not."""
    events = [dataclasses.replace(e, event_id=f"e{n}") for n, e in enumerate(events[:30])]
    repeated = list(events)
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(1, len(repeated)))
        repeated.insert(place, repeated[data.draw(st.integers(0, place - 1))])

    once, twice = new_shard(_CONFIG), new_shard(_CONFIG)

    assert reported(feed(twice, repeated)) == reported(feed(once, events))
    twice.memory.counters[:2] = once.memory.counters[:2]  # events and redeliveries are counted
    assert twice.dump() == once.dump()


@given(streams(size=30))
def test_law_13_the_agents_clock_never_runs_back(events):
    """A late event moves no time backwards."""
    shard = new_shard(_CONFIG)
    latest = defaultdict(int)

    for event in reversed(events):
        feed(shard, [event])
        latest[event.agent] = max(latest[event.agent], event.ts_us)
        agents = shard.memory.agents[shard.memory.agents["key"] != 0]

        assert sorted(agents["last_us"].tolist()) == sorted(latest.values())


@given(streams())
def test_law_14_renaming_agents_changes_nothing_but_the_names(events):
    """An agent is what it does, whatever it is called."""
    renamed = [dataclasses.replace(e, agent=f"other-{e.agent}") for e in events]

    def seen(stream):
        records = feed(new_shard(_CONFIG), stream)
        return [
            (row["statistic"].tolist(), row["total"].tolist(), int(row["start_us"]))
            for some in records
            for row in some.rows
        ]

    assert sorted(map(str, seen(renamed))) == sorted(map(str, seen(events)))


def test_interpreted_and_compiled_are_the_same_to_the_bit():
    """The code that numba compiles is the code that Python runs."""
    program = Path(__file__).parent / "digest.py"
    compiled = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    interpreted = subprocess.run(
        [sys.executable, program],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(compiled.stdout.split()) == 4
    assert interpreted.stdout == compiled.stdout
