"""The laws of reviews: batches, restarts and order change nothing, and scores do not know of them."""

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
_HOURS, _CHANGE = 75, 55
_QUICK = {"review": {"learn_days": 0.0, "false_per_million": 5000.0}}
"""A coarse limit, so that short streams have reviews."""

_CONFIG = small_config(events={"shards": 2}, **_QUICK)
_OFF = small_config(events={"shards": 2}, review={"false_per_million": 0.0})


def _stream(seed):
    """Return a stream of eight agents with a session an hour, two of whom change for good."""
    generator = random.Random(seed)
    events = []
    for hour in range(_HOURS):
        for number in range(8):
            changed = number < 2 and hour >= _CHANGE
            for step in range(3):
                kind = generator.randrange(4)
                action = f"new-{kind}-{hour}-{step}" if changed else f"do-{kind}"
                ts_us = _START_US + hour * _HOUR_US + number * 60_000_000 + step * 1_000_000
                of = {"group": f"g{number % 3}", "tenant": "t" * (number % 2)}
                session = f"s{hour}"
                end = step == 2
                events.append(Event(ts_us, f"a{number}", action, session, session_end=end, **of))
    return sorted(events, key=lambda event: event.ts_us)


def _asked(rulings):
    return [review for ruling in rulings for review in ruling.reviews]


_WHOLE = {seed: Core(_CONFIG) for seed in range(2)}
_ASKED = {seed: _asked(core.feed(_stream(seed))) for seed, core in _WHOLE.items()}


@pytest.mark.parametrize("seed", range(2))
def test_the_streams_have_reviews(seed):
    """A law about nothing would always hold; who has changed is in them, and few others."""
    agents = {review.agent for review in _ASKED[seed]}

    assert agents >= {"a0", "a1"}
    assert len(agents) <= 4


@settings(max_examples=10)
@given(st.integers(0, 1), st.integers(1, 300))
def test_law_2_the_size_of_batches_changes_nothing(seed, batch):
    """Event by event or all at once, the same reviews and the same state."""
    core = Core(_CONFIG)

    asked = _asked(core.feed(_stream(seed), batch))

    assert asked == _ASKED[seed]
    assert core.dump() == _WHOLE[seed].dump()


@settings(max_examples=10)
@given(st.integers(0, 1), st.integers(1, _HOURS * 24))
def test_law_4_a_crash_covers_each_review_once(seed, cut):
    """A state and the events after it give what was still to come, and the same end."""
    events = _stream(seed)
    first = Core(_CONFIG)
    before = _asked(first.feed(events[:cut]))
    second = Core(_CONFIG)
    *shards, decider = first.dump()
    second.shards = [
        Shard.load(state, shard.settings, ["source"])
        for state, shard in zip(shards, second.shards, strict=True)
    ]
    second.decider = Decider.load(decider, _CONFIG)

    after = _asked(second.feed(events[cut:], 50))

    assert before + after == _ASKED[seed]
    assert second.dump() == _WHOLE[seed].dump()


@pytest.mark.parametrize("seed", range(2))
def test_law_1_interleaving_agents_within_a_window_changes_nothing(seed):
    """Each agent's own order stays."""
    generator = random.Random(seed)
    by_hour = {}
    for event in _stream(seed):
        by_hour.setdefault(event.ts_us // _HOUR_US, {}).setdefault(event.agent, []).append(event)
    shuffled = []
    for agents in by_hour.values():
        turns = [name for name, events in agents.items() for _ in events]
        generator.shuffle(turns)
        queues = {name: iter(events) for name, events in agents.items()}
        shuffled += [next(queues[name]) for name in turns]

    assert _asked(Core(_CONFIG).feed(shuffled, 7)) == _ASKED[seed]


def test_scores_and_decisions_do_not_depend_on_it():
    """With reviews or without, every ranked session and decision is the same."""
    with_it, without = Core(_CONFIG), Core(_OFF)
    rulings = [core.feed(_stream(0), 100) for core in (with_it, without)]

    found = [
        [(r.decisions, [s.tobytes() for s in r.scored], r.lines) for r in ruled]
        for ruled in rulings
    ]
    assert found[0] == found[1]
    assert _asked(rulings[1]) == []
    assert with_it.dump()[:-1] == without.dump()[:-1]
