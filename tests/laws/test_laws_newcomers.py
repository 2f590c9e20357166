"""The laws of newcomers: batches, restarts and order change nothing, and no decision knows of them."""

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
_START_US = NOW_US - NOW_US % (24 * _HOUR_US) - 1000 * _HOUR_US
_HOURS = 136
_WAVES = (62, 130)
_NEWCOMERS = 12

_CONFIG = small_config(events={"shards": 2}, flood={"agents_min": 8, "times_usual": 2.0})
_OFF = small_config(events={"shards": 2}, flood={"agents_min": 0})


def _stream(seed):
    """Return a stream of three agents; in two hours many come that nobody knows."""
    generator = random.Random(seed)
    events = []
    for hour in range(_HOURS):
        names = [f"a{number}" for number in range(3)]
        if hour in _WAVES:
            names += [f"n{hour}-{number}" for number in range(_NEWCOMERS)]
        for name in names:
            ts_us = _START_US + hour * _HOUR_US + generator.randrange(60) * 60_000_000
            action = f"do-{generator.randrange(4)}"
            events.append(Event(ts_us, name, action, f"s{hour}", group=f"g{len(name) % 2}"))
    return sorted(events, key=lambda event: event.ts_us)


def _again(rulings):
    """Return the sessions that were ranked again, wave by wave."""
    return [sorted(again.tolist()) for ruling in rulings for again in ruling.again]


_WHOLE = {seed: Core(_CONFIG) for seed in range(2)}
_RULINGS = {seed: core.feed(_stream(seed)) for seed, core in _WHOLE.items()}
_FOUND = {seed: _again(rulings) for seed, rulings in _RULINGS.items()}


@pytest.mark.parametrize("seed", range(2))
def test_the_streams_have_waves(seed):
    """A law about nothing would always hold; both are in them, and nothing else."""
    assert [len(wave) for wave in _FOUND[seed]] == [_NEWCOMERS, _NEWCOMERS]


@settings(max_examples=10)
@given(st.integers(0, 1), st.integers(1, 300))
def test_law_2_the_size_of_batches_changes_nothing(seed, batch):
    """Event by event or all at once, the same waves and the same state."""
    core = Core(_CONFIG)

    found = _again(core.feed(_stream(seed), batch))

    assert found == _FOUND[seed]
    assert core.dump() == _WHOLE[seed].dump()


@settings(max_examples=20)
@given(st.integers(0, 1), st.integers(1, 3 * _HOURS))
def test_law_3_a_state_goes_on_exactly(seed, cut):
    """Before a wave, in it, or while it waits for its sessions to end."""
    events = _stream(seed)
    first, second = Core(_CONFIG), Core(_CONFIG)
    before = _again(first.feed(events[:cut], 20))
    *shards, decider = first.dump()
    second.shards = [
        Shard.load(state, shard.settings, ["source"])
        for state, shard in zip(shards, second.shards, strict=True)
    ]
    second.decider = Decider.load(decider, _CONFIG)

    after = _again(second.feed(events[cut:], 20))

    assert before + after == _FOUND[seed]
    assert second.dump() == _WHOLE[seed].dump()


@settings(max_examples=10)
@given(st.integers(0, 1), st.randoms(use_true_random=False))
def test_law_1_interleaving_within_a_window_changes_nothing(seed, chance):
    """Whoever comes first in an hour, the same sessions are ranked again, and alike."""
    by_hour = {}
    for event in _stream(seed):
        by_hour.setdefault(event.ts_us // _HOUR_US, []).append(event)
    for events in by_hour.values():
        chance.shuffle(events)
    core = Core(_CONFIG)

    found = _again(core.feed([event for events in by_hour.values() for event in events], 7))

    assert found == _FOUND[seed]


@pytest.mark.parametrize("seed", range(2))
def test_what_is_ranked_and_decided_at_once_does_not_depend_on_it(seed):
    """With waves or without, every session's own rank and every decision are the same."""
    without = Core(_OFF).feed(_stream(seed))

    found = [
        [(r.decisions, [s.tobytes() for s in r.scored], r.lines) for r in ruled]
        for ruled in (_RULINGS[seed], without)
    ]
    assert found[0] == found[1]
    assert _again(without) == []
