"""The laws of the alarm about silence: batches, shards, restarts and order change nothing."""

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astray.baseline.shard import Shard
from astray.decide.decider import Decider
from astray.events import Event
from core import Core, small_config
from strategies import NOW_US

_HOUR_US = 3_600_000_000
_START_US = NOW_US - NOW_US % _HOUR_US - 3000 * _HOUR_US
_QUICK = {"blindness": {"learn_days": 1.0, "false_per_million": 100_000.0}}
"""A day to know a rhythm and a coarse limit, so that short streams have silences."""

_CONFIG = small_config(events={"shards": 2}, **_QUICK)
_OFF = small_config(events={"shards": 2}, blindness={"agents": False, "actions": False})


def _stream(seed):
    """Return a stream of eight agents, three of whom stop, one for a while."""
    generator = random.Random(seed)
    stops = {f"agent-{n}": generator.randrange(30, 60) for n in range(3)}
    events = []
    for hour in range(80):
        for number in range(8):
            agent = f"agent-{number}"
            away = stops.get(agent, 80) <= hour and not (number == 0 and hour > 70)
            if away or generator.random() < 0.1:
                continue
            ts_us = _START_US + hour * _HOUR_US + generator.randrange(_HOUR_US)
            of = {"group": f"g{number % 3}", "tenant": "t" * (number % 2)}
            events.append(Event(ts_us, agent, f"do-{number}", session=f"s{number}", **of))
    return sorted(events, key=lambda event: event.ts_us)


def _told(rulings):
    return [silence for ruling in rulings for silence in ruling.silences]


_WHOLE = {seed: Core(_CONFIG) for seed in range(3)}
_TOLD = {seed: _told(core.feed(_stream(seed))) for seed, core in _WHOLE.items()}


@pytest.mark.parametrize("seed", range(3))
def test_the_streams_have_silences(seed):
    """A law about nothing would always hold."""
    kinds = {(silence.kind, silence.over) for silence in _TOLD[seed]}

    assert kinds >= {("agent", ""), ("action", ""), ("agent", "back")}


@settings(max_examples=10)
@given(st.integers(0, 2), st.integers(1, 200))
def test_law_2_the_size_of_batches_changes_nothing(seed, batch):
    """Event by event or all at once, the same silences and the same state."""
    core = Core(_CONFIG)

    told = _told(core.feed(_stream(seed), batch))

    assert told == _TOLD[seed]
    assert core.dump() == _WHOLE[seed].dump()


@settings(max_examples=10)
@given(st.integers(0, 2), st.integers(1, 640))
def test_law_4_a_crash_covers_each_silence_once(seed, cut):
    """A state and the events after it give what was still to come, and the same end."""
    events = _stream(seed)
    first = Core(_CONFIG)
    before = _told(first.feed(events[:cut]))
    second = Core(_CONFIG)
    *shards, decider = first.dump()
    second.shards = [
        Shard.load(state, shard.settings, ["source"])
        for state, shard in zip(shards, second.shards, strict=True)
    ]
    second.decider = Decider.load(decider, _CONFIG)

    after = _told(second.feed(events[cut:], 50))

    assert before + after == _TOLD[seed]
    assert second.dump() == _WHOLE[seed].dump()


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_events_within_a_window_changes_nothing(seed):
    """Only in which window something shows itself counts."""
    by_hour = {}
    for event in _stream(seed):
        by_hour.setdefault(event.ts_us // _HOUR_US, []).append(event)
    shuffled = []
    for events in by_hour.values():
        random.Random(seed).shuffle(events)
        shuffled += events

    assert _told(Core(_CONFIG).feed(shuffled, 7)) == _TOLD[seed]


@pytest.mark.parametrize("shards", [1, 3])
def test_the_number_of_shards_changes_nothing(shards):
    """Silences are a tenant's, wherever its agents are."""
    core = Core(small_config(events={"shards": shards}, **_QUICK))

    assert _told(core.feed(_stream(1), 90)) == _TOLD[1]


def test_law_10_redelivery_changes_nothing():
    """What comes twice has shown itself once."""
    events = [dataclasses.replace(e, event_id=f"e{n}") for n, e in enumerate(_stream(2))]
    twice = [event for event in events for _ in range(2)]

    assert _told(Core(_CONFIG).feed(twice)) == _told(Core(_CONFIG).feed(events))


def test_scores_and_decisions_do_not_depend_on_it():
    """With the alarm or without it, every ranked session and decision is the same."""
    with_it, without = Core(_CONFIG), Core(_OFF)
    rulings = [core.feed(_stream(0), 100) for core in (with_it, without)]

    found = [
        [(r.decisions, [s.tobytes() for s in r.scored], r.lines) for r in ruled]
        for ruled in rulings
    ]
    assert found[0] == found[1]
    assert _told(rulings[1]) == []
    assert with_it.dump()[:-1] == without.dump()[:-1]
