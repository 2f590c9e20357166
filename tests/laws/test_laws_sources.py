"""The laws of several sources read side by side: their speeds change nothing."""

import pickle
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.baseline.shard import Shard
from astray.baseline.waiting import WAITING_MAX
from astray.events import Chunk, Event, decode
from core import decoded, new_shard, part_for, reported, small_config
from strategies import NOW_US

_HOUR_US = 3_600_000_000
_START_US = NOW_US - 1000 * _HOUR_US - NOW_US % _HOUR_US
_CONFIG = small_config()
_SOURCES = ("left", "middle", "right")


def _event(ts_us, agent, number):
    return Event(
        ts_us=ts_us,
        agent=agent,
        group="g",
        action=f"do-{number % 5}",
        resources=(f"r{number % 7}",),
        session_end=number % 4 == 0,
    )


@st.composite
def _speeds(draw):
    """Draw a few chunks for each of three sources, and an order in which they come."""
    chunks = []
    for place, source in enumerate(_SOURCES):
        ts_us = _START_US + draw(st.integers(0, 3)) * _HOUR_US
        for number in range(draw(st.integers(0, 6))):
            events = []
            for step in range(draw(st.integers(1, 4))):
                ts_us += draw(st.sampled_from([0, 1_000_000, _HOUR_US // 2, 3 * _HOUR_US]))
                events.append(_event(ts_us, f"agent-{place}", 3 * number + step))
            chunks.append((source, decoded(events, source)))
        chunks.append((source, decode(Chunk(source, 0, b"", silent=True), NOW_US)))
    return chunks, draw(st.permutations([source for source, _ in chunks]))


def _in_order(chunks, order):
    """Return the chunks so that each source's come in its order, and the sources as drawn."""
    queues = {source: [c for name, c in chunks if name == source] for source in _SOURCES}
    return [queues[source].pop(0) for source in order]


def _assessed(shard, chunks):
    out = []
    for chunk in chunks:
        out += shard.assess(part_for(shard, chunk, np.arange(len(chunk.rows))))
    return out


def _by_agent(records):
    """Return what was reported of each agent, in its order, with the window it was in."""
    found = defaultdict(list)
    for some in records:
        for row, line in zip(some.rows, some.lines, strict=True):
            of = (some.window_us, line, row["statistic"].tolist(), int(row["session"]))
            found[int(row["agent"])].append(of)
    return found


@given(_speeds())
def test_law_2_it_does_not_matter_which_source_is_faster(speeds):
    """One source after the other, or chunk by chunk in any order: the same reports."""
    chunks, order = speeds

    one_by_one = _by_agent(_assessed(new_shard(_CONFIG, sources=_SOURCES), [c for _, c in chunks]))
    mixed = _by_agent(_assessed(new_shard(_CONFIG, sources=_SOURCES), _in_order(chunks, order)))

    assert mixed == one_by_one


@given(_speeds(), st.integers(0, 20))
def test_law_3_what_waits_is_restored(speeds, cut):
    """A state that was written while events waited goes on like one that was not."""
    chunks = _in_order(*speeds)
    live = new_shard(_CONFIG, sources=_SOURCES)
    _assessed(live, chunks[:cut])

    restored = Shard.load(live.dump(), live.settings, _SOURCES)

    assert restored.dump() == live.dump()
    assert reported(_assessed(restored, chunks[cut:])) == reported(_assessed(live, chunks[cut:]))
    assert restored.dump() == live.dump()


@given(_speeds())
def test_a_part_that_crosses_to_another_process_says_the_same(speeds):
    """Bytes cross, not the chunk; what comes of them is the same."""
    chunks = _in_order(*speeds)
    here, there = (new_shard(_CONFIG, sources=_SOURCES) for _ in range(2))
    own = [np.arange(0, len(chunk.rows), 2) for chunk in chunks]  # every other event is ours
    parts = [part_for(here, chunk, order) for chunk, order in zip(chunks, own, strict=True)]

    crossed = [pickle.loads(pickle.dumps(part)) for part in parts]  # noqa: S301 - our own

    assert reported(r for p in crossed for r in there.assess(p)) == reported(
        r for p in parts for r in here.assess(p)
    )
    assert there.dump() == here.dump()


def test_nothing_waits_for_a_source_that_is_silent():
    """A source that has nothing to give now holds nobody up."""
    shard = new_shard(_CONFIG, sources=("busy", "quiet"))
    events = decoded([_event(_START_US, "a", 1), _event(_START_US + _HOUR_US, "a", 2)], "busy")

    held = _assessed(shard, [events])
    let_go = _assessed(shard, [decode(Chunk("quiet", 0, b"", silent=True), NOW_US)])

    assert held == []
    assert [some.window_us for some in let_go if not len(some.rows) and some.shown is None] == [
        _START_US,
        _START_US + _HOUR_US,
    ]


def test_not_more_waits_than_there_is_room_for():
    """A source that never gives cannot make another's events pile up for ever."""
    shard = new_shard(_CONFIG, sources=("busy", "stuck"))
    batch = 8192
    first = 0
    while not shard.window_us:
        events = [_event(_START_US + first + n, "a", n) for n in range(batch)]
        _assessed(shard, [decoded(events, "busy")])
        first += batch

    assert first - batch <= WAITING_MAX < first


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["as written", "the other way round"])
def test_a_source_that_is_no_longer_read_leaves_what_it_gave(order):
    """After a restart without a source, what had waited for others is assessed all the same."""
    shard = new_shard(_CONFIG, sources=("a", "b"))
    chunks = [
        decoded([_event(_START_US + _HOUR_US, "early", 4)], "a"),
        decoded([_event(_START_US, "late", 4)], "b"),
    ]
    _assessed(shard, [chunks[place] for place in order])

    again = Shard.load(shard.dump(), shard.settings, ["b"])
    later = _assessed(again, [decoded([_event(_START_US + 2 * _HOUR_US, "late", 8)], "b")])

    assert len(_by_agent(later)) == 2


def test_a_run_that_begins_again_waits_for_what_was_silent():
    """Sources that had all come to their end may have grown: who is read first does not matter."""
    first = [decoded([_event(_START_US, name, 1)], name) for name in _SOURCES]
    more = [decoded([_event(_START_US + h * _HOUR_US, n, h) for h in (1, 30)], n) for n in _SOURCES]
    ends = [decode(Chunk(name, 0, b"", silent=True), NOW_US) for name in _SOURCES]
    found = []
    for order in (more, more[::-1]):
        shard = new_shard(_CONFIG, sources=_SOURCES)
        _assessed(shard, [*first, *ends])

        again = Shard.load(shard.dump(), shard.settings, _SOURCES)
        again.waiting.begin_again()

        found.append(_by_agent(_assessed(again, [*order, *ends])))
        assert again.window_us == _START_US + 30 * _HOUR_US
    assert found[0] == found[1]
    assert len(found[0]) == len(_SOURCES)


def test_a_run_that_begins_again_waits_for_none_that_is_not_read():
    """What a source that is gone has left is scored, and nobody waits for it."""
    shard = new_shard(_CONFIG, sources=_SOURCES)
    _assessed(shard, [decoded([_event(_START_US, name, 1)], name) for name in _SOURCES])

    again = Shard.load(shard.dump(), shard.settings, ["left"])
    again.waiting.begin_again()
    _assessed(again, [decoded([_event(_START_US + 30 * _HOUR_US, "left", 2)], "left")])

    assert again.window_us == _START_US + 30 * _HOUR_US
