"""The laws of floods: batches, restarts and order change nothing, and scores do not know of them."""

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
_START_US = NOW_US - NOW_US % _HOUR_US - 1000 * _HOUR_US
_HOURS, _AGENTS = 30, 48
_FLOODS = {26: "pay", 28: "send"}
_QUICK = {"flood": {"learn_days": 1.0, "agents_min": 24, "times_usual": 2.0}}

_CONFIG = small_config(events={"shards": 2}, **_QUICK)
_OFF = small_config(events={"shards": 2}, flood={"agents_min": 0})


def _stream(seed):
    """Return a stream of agents a few of which act in an hour, and all of them in two."""
    generator = random.Random(seed)
    events = []
    for hour in range(_HOURS):
        for number in range(_AGENTS):
            if hour not in _FLOODS and generator.random() > 0.2:
                continue
            action = _FLOODS.get(hour, f"do-{generator.randrange(4)}")
            resources = (f"/{hour}/same" if hour in _FLOODS else f"/{hour}/own/{number}",)
            ts_us = _START_US + hour * _HOUR_US + generator.randrange(60) * 60_000_000
            of = {"group": f"g{number % 5}", "resources": resources}
            events.append(Event(ts_us, f"a{number}", action, f"s{hour}", **of))
    return sorted(events, key=lambda event: event.ts_us)


def _asked(rulings):
    return [review for ruling in rulings for review in ruling.reviews]


_WHOLE = {seed: Core(_CONFIG) for seed in range(2)}
_ASKED = {seed: _asked(core.feed(_stream(seed))) for seed, core in _WHOLE.items()}


@pytest.mark.parametrize("seed", range(2))
def test_the_streams_have_floods(seed):
    """A law about nothing would always hold; both are in them, and nothing else."""
    assert [(review.action, review.ts_us) for review in _ASKED[seed]] == [
        (action, _START_US + hour * _HOUR_US) for hour, action in _FLOODS.items()
    ]


@settings(max_examples=10)
@given(st.integers(0, 1), st.integers(1, 300))
def test_law_2_the_size_of_batches_changes_nothing(seed, batch):
    """Event by event or all at once, the same floods and the same state."""
    core = Core(_CONFIG)

    asked = _asked(core.feed(_stream(seed), batch))

    assert {review.case for review in asked} == {review.case for review in _ASKED[seed]}
    assert core.dump() == _WHOLE[seed].dump()


@settings(max_examples=20)
@given(st.integers(0, 1), st.integers(1, _HOURS * _AGENTS // 4))
def test_law_4_a_crash_covers_each_flood_once(seed, cut):
    """A state and the events after it give what was still to come, and the same end."""
    events = _stream(seed)
    first = Core(_CONFIG)
    before = _asked(first.feed(events[:cut], 20))
    second = Core(_CONFIG)
    *shards, decider = first.dump()
    second.shards = [
        Shard.load(state, shard.settings, ["source"])
        for state, shard in zip(shards, second.shards, strict=True)
    ]
    second.decider = Decider.load(decider, _CONFIG)

    after = _asked(second.feed(events[cut:], 20))

    cases = [review.case for review in before + after]
    assert sorted(cases) == sorted(review.case for review in _ASKED[seed])
    assert second.dump() == _WHOLE[seed].dump()


@settings(max_examples=10)
@given(st.integers(0, 1), st.randoms(use_true_random=False))
def test_law_1_interleaving_within_a_window_changes_nothing(seed, chance):
    """Whoever comes first in an hour, it is a flood or it is none."""
    by_hour = {}
    for event in _stream(seed):
        by_hour.setdefault(event.ts_us // _HOUR_US, []).append(event)
    for events in by_hour.values():
        chance.shuffle(events)
    core = Core(_CONFIG)

    asked = _asked(core.feed([event for events in by_hour.values() for event in events], 7))

    assert {review.case for review in asked} == {review.case for review in _ASKED[seed]}


@settings(max_examples=10)
@given(st.integers(0, 1), st.integers(1, 4))
def test_law_10_redelivery_changes_nothing(seed, times):
    """Who does it ever again is one."""
    events = [event for event in _stream(seed) for _ in range(times)]

    asked = _asked(Core(_CONFIG).feed(events, 50))

    assert {review.case for review in asked} == {review.case for review in _ASKED[seed]}


def test_scores_and_decisions_do_not_depend_on_it():
    """With floods or without, every ranked session and decision is the same."""
    rulings = [Core(config).feed(_stream(0), 100) for config in (_CONFIG, _OFF)]

    found = [
        [(r.decisions, [s.tobytes() for s in r.scored], r.lines) for r in ruled]
        for ruled in rulings
    ]
    assert found[0] == found[1]
    assert _asked(rulings[1]) == []
