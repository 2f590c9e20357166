"""Agents that do the same are counted once each, in any order, in bounded memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.baseline.swarms import CELLS, Swarms
from astray.events import Event
from core import decoded
from made import HOUR_US, START_US

LEAST = 8


def did(agents, action="read", resources=(), tenant=""):
    """Return an event of each agent."""
    return [
        Event(START_US, name, action, resources=tuple(resources), tenant=tenant) for name in agents
    ]


def names(count, first=0):
    """Return the names of so many agents."""
    return [f"agent-{number}" for number in range(first, first + count)]


def told(swarms, events):
    """Return what is told of events: how many agents, and the line that made them so many."""
    found = swarms.swarming(decoded(events), np.arange(len(events)), START_US)
    if found is None:
        return []
    lines = [found.lines[place].decode() for place in range(len(found.lines))]
    return list(zip(found.rows["agents"].tolist(), lines, strict=True))


def most(swarms, events):
    """Return the most that is told of each thing."""
    found = swarms.swarming(decoded(events), np.arange(len(events)), START_US)
    counts = {}
    for row in () if found is None else found.rows:
        counts[int(row["key"])] = max(counts.get(int(row["key"]), 0), int(row["agents"]))
    return counts


def test_a_swarm_is_told_of_whenever_it_has_doubled():
    """From the least on; the line is that of the event that made it so many."""
    events = did(names(100))

    found = told(Swarms(LEAST), events)

    assert [agents for agents, _ in found] == [8, 16, 32, 64]
    places = [int(line.split("agent-")[1].split('"')[0]) for _, line in found]
    assert all(0.6 * agents <= place <= 1.7 * agents for agents, place in zip(
        (8, 16, 32, 64), places, strict=True
    ))  # fmt: skip


@pytest.mark.parametrize("count", [20, 90, 700, 5000])
def test_counts_are_about_right(count):
    """Within a third of it and, as only doublings are told, no less than half of that."""
    counts = most(Swarms(LEAST), did(names(count)))

    assert count / 3 <= max(counts.values()) <= 1.4 * count


def test_repetition_is_no_swarm():
    """One agent that does something ever again is one."""
    assert told(Swarms(LEAST), did(["a"] * 2000)) == []


def test_one_agent_that_does_everything_makes_no_swarm():
    """It is one more in every count; what others do together is told all the same."""
    swarms = Swarms(LEAST)
    everything = [f"file-{number}" for number in range(3 * CELLS)]
    one = [event for name in everything for event in did(["a"], resources=[name])]

    assert told(swarms, one) == []
    assert [agents for agents, _ in told(swarms, did(names(20), "write"))][-1] in (16, 32)


def test_what_is_done_and_to_what_are_counted_apart():
    """All read, half of them the same; another tenant's agents are no part of it."""
    swarms = Swarms(LEAST)
    events = [
        event
        for place, name in enumerate(names(100))
        for event in did([name], resources=["/same" if place % 2 else f"/own/{name}"])
    ]
    found = swarms.swarming(decoded(events), np.arange(len(events)), START_US)

    assert found is not None
    of_action, of_file = (found.rows[found.rows["place"] == place] for place in (-1, 0))
    assert of_action["agents"].max() in (64, 128)
    assert of_file["agents"].max() in (32, 64)
    assert len(np.unique(of_file["key"])) == 1
    assert set(of_action["kin"].tolist()) == set(found.rows["done"].tolist())
    assert told(swarms, did(names(7), tenant="other")) == []


def test_where_in_a_list_a_resource_stands_does_not_matter():
    """It is the same one, and named by its place."""
    swarms = Swarms(LEAST)
    events = [
        event
        for place, name in enumerate(names(20))
        for event in did([name], resources=[f"/{name}/{n}" for n in range(place % 3)] + ["/same"])
    ]

    found = swarms.swarming(decoded(events), np.arange(len(events)), START_US)

    assert found is not None
    same = found.rows[found.rows["place"] >= 0]
    assert (len(np.unique(same["key"])), same["agents"].max()) == (1, 16)


def test_things_that_look_alike_are_kin():
    """Two files of a day each: other things, and the same kind."""
    swarms = Swarms(LEAST)
    days = ["s3://lake/report/2026-11-21.csv", "s3://lake/report/2026-11-22.csv"]

    found = [
        swarms.swarming(decoded(did(names(10), resources=[day])), np.arange(10), START_US)
        for day in days
    ]

    rows = [one.rows[one.rows["place"] == 0][0] for one in found if one is not None]
    assert rows[0]["key"] != rows[1]["key"]
    assert rows[0]["kin"] == rows[1]["kin"]


@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_order_and_batches_do_not_matter(chance, batch):
    """The counts at the end are the same, and so is the most that was told of each thing."""
    events = [
        event
        for number, name in enumerate(names(60))
        for event in did([name], f"do-{number % 3}", [f"/file-{number % 2}"])
    ]
    shuffled = [*events, *events[:20]]
    chance.shuffle(shuffled)
    once, again, counts = Swarms(LEAST), Swarms(LEAST), {}

    whole = most(once, events)
    for first in range(0, len(shuffled), batch):
        for key, agents in most(again, shuffled[first : first + batch]).items():
            counts[key] = max(counts.get(key, 0), agents)

    assert counts == whole
    for name, array in once.dump().items():
        assert np.array_equal(array, again.dump()[name])


@given(st.integers(0, 60))
def test_a_dump_goes_on(cut):
    """What was counted before is part of what is told after."""
    events = did(names(60))
    whole, first, second = Swarms(LEAST), Swarms(LEAST), Swarms(LEAST)
    expected = told(whole, events)

    before = told(first, events[:cut])
    second.load(first.dump())

    assert before + told(second, events[cut:]) == expected


def test_a_window_begins_with_nobody():
    """What is done every hour by a few is no swarm of many."""
    swarms = Swarms(LEAST)

    for hour in range(20):
        assert told(swarms, did(names(6, first=6 * hour))) == []
        swarms.turn()


def test_where_all_cells_are_full_a_swarm_has_to_be_larger():
    """More things than cells: their counts are mixed, and nobody is told of what is nothing."""
    swarms = Swarms(LEAST)
    several = [
        event
        for name in names(12)
        for page in range(CELLS // 16)
        for event in did([name], resources=[f"/{page}/{number}" for number in range(32)])
    ]
    swarms.swarming(decoded(several), np.arange(len(several)), START_US)
    swarms.turn()

    found = [agents for agents, _ in told(swarms, did(names(400)))]

    assert 64 <= found[0] <= 256


def test_without_a_least_nobody_is_counted():
    """0: there are none."""
    swarms = Swarms(0)

    assert told(swarms, did(names(100))) == []
    swarms.turn()
    assert len(swarms.dump()["cells"]) == 0


def test_more_than_fits_at_once_is_told_all_the_same():
    """Everything doubles in one batch; what shares a cell with another thing is told of as one."""
    events = [
        event
        for name in names(24)
        for page in range(30)
        for event in did([name], resources=[f"/shared/{page}/{number}" for number in range(32)])
    ]

    found = most(Swarms(LEAST), events)

    assert 900 <= len(found) <= 1 + 30 * 32


def test_what_comes_late_is_of_no_window_any_more():
    """It may have been counted in its own, and be delivered again."""
    swarms, events = Swarms(LEAST), decoded(did(names(50)))

    assert swarms.swarming(events, np.arange(50), START_US + HOUR_US) is None
    assert swarms.swarming(events, np.arange(50), START_US) is not None
