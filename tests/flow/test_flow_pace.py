"""Nobody is read far ahead of another, and nobody waits for ever."""

from pathlib import Path

from astray.events import Event
from astray.flow.pace import AHEAD_US, Pace
from astray.flow.sources import Reader, Reading
from running import lines
from strategies import NOW_US


def test_who_is_far_ahead_waits_until_the_other_has_caught_up():
    """The slower one is read on; once it is near, both are."""
    pace = Pace()
    pace.expect(["fast", "slow"])
    pace.reach("slow", 1)
    pace.reach("fast", 2 + AHEAD_US)

    held = [pace.holds(name, [name]) for name in ("fast", "slow")]
    pace.reach("slow", 2)

    assert held == [True, False]
    assert not pace.holds("fast", ["fast"])


def test_what_has_not_begun_is_waited_for_and_what_rests_is_not():
    """A source that is expected holds the others up, until it says that it has nothing."""
    pace = Pace()
    pace.expect(["one", "other"])
    pace.reach("one", 2 * AHEAD_US)

    before = pace.holds("one", ["one"])
    pace.rest("other")

    assert before
    assert not pace.holds("one", ["one"])


def test_a_reader_is_where_its_slowest_part_is():
    """Partitions that come through one consumer are held together, or not at all."""
    pace = Pace()
    pace.reach("a-0", 3 * AHEAD_US)
    pace.reach("a-1", 1)
    pace.reach("b-0", AHEAD_US)

    assert not pace.holds("a", ["a-0", "a-1"])
    assert not pace.holds("nothing", [])


def test_time_never_runs_back():
    """A late event does not make a source slow."""
    pace = Pace()
    pace.reach("a", 3 * AHEAD_US)
    pace.reach("a", 1)
    pace.reach("b", 1)

    assert pace.holds("a", ["a"])


def test_nobody_is_held_for_long():
    """A source that is always far behind does not stop the others for ever."""
    pace = Pace(held_s=0.0)
    pace.reach("fast", 3 * AHEAD_US)
    pace.reach("late", 1)

    assert not pace.holds("fast", ["fast"])


def test_a_reader_does_not_ask_who_is_held(tmp_path):
    """A file that is far ahead is not read until the other one is near, and then from its place."""
    names = [str(tmp_path / name) for name in ("ahead", "behind")]
    for name in names:
        Path(name).write_bytes(lines([Event(ts_us=NOW_US, agent="a", action="b")]))
    reading = Reading()
    reading.pace.expect(names)
    reading.pace.reach(names[0], 3 * AHEAD_US)
    reader = Reader(names, reading, {})

    first = [chunk.source for chunk in reader.next_batch()]
    reading.pace.reach(names[1], 3 * AHEAD_US)
    then = [chunk.source for chunk in reader.next_batch()]
    reader.close()

    assert set(first) == {names[1]}
    assert names[0] in then
