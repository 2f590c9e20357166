"""Asking ahead has room for all that it notes, and changes nothing."""

import numpy as np

from astray.baseline import ahead
from astray.baseline.layout import EVENTS_AHEAD, NOTED_AHEAD
from astray.baseline.part import part_of, windows_of
from astray.baseline.settings import shard_settings
from astray.baseline.shard import Shard
from astray.compiled import compiled
from astray.config import load_config
from astray.decide.limits import lowest_limits
from astray.events import Chunk, Event, decode, encode_event

_HOUR_US = 3_600_000_000
_NOW_US = 2**60


@compiled
def _look_ahead(memory, rows, resources, order, first, end):
    ahead.look_ahead(memory, rows, resources, order, first, end)


def _decoded():
    events = [
        Event(
            ts_us=9 * _HOUR_US + at, agent=f"a{at % 3}", action=f"do{at % 4}", session=f"s{at % 3}",
            resources=tuple(f"r/{at}/{number}" for number in range(at % 5)), source="1.2.3.4",
        )
        for at in range(EVENTS_AHEAD)
    ]  # fmt: skip
    data = b"".join(encode_event(event) + b"\n" for event in events)
    return decode(Chunk("source", 0, data), _NOW_US)


def test_there_is_room_for_all_that_is_noted():
    """Compiled code does not look where a row ends."""
    last = ahead._RESOURCES + ahead._RESOURCES_MAX * ahead._LEVELS

    assert last == NOTED_AHEAD


def test_asking_ahead_changes_nothing():
    """Of known agents and sessions, of new ones, and of events with more resources than are noted."""
    config, decoded = load_config(), _decoded()
    shard = Shard(0, shard_settings(config, lowest_limits(config)), ["source"])
    order = np.arange(len(decoded.rows))

    for _ in range(2):
        before = shard.dump()
        with np.errstate(over="ignore"):
            _look_ahead(shard.memory, decoded.rows, decoded.resources, order, 0, len(order))
        assert shard.dump() == before
        shard.assess(part_of(0, decoded, order, windows_of(decoded, _HOUR_US)))
