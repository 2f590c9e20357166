"""What has shown itself in a window is told once, and never left out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from astray.baseline.activity import TOLD_SLOTS, Activity
from astray.events import Event
from core import decoded, feed, new_shard, small_config
from made import HOUR_US, START_US


def did(agent, action="read", tenant="", ts_us=START_US):
    """Return an event."""
    return Event(ts_us=ts_us, agent=agent, action=action, tenant=tenant)


def told(activity, events, window_us=START_US, source="source"):
    """Return who and what is told of events, as (tenant, agent, action) of the lines."""
    chunk = decoded(events, source)
    shown = activity.shown(chunk, np.arange(len(events)), window_us)
    return [] if shown is None else [line.decode() for line in shown.lines]


def test_an_agent_and_an_action_are_told_once_in_a_window():
    """Only the first event that shows one of them is; its line comes along."""
    activity = Activity()

    first = told(activity, [did("a"), did("a"), did("b"), did("a", "write"), did("b", "write")])
    again = told(activity, [did("b"), did("a", "write")])

    assert ["write" in line for line in first] == [False, False, True]
    assert again == []


def test_the_next_window_is_told_anew():
    """Every window has to be shown for itself."""
    activity = Activity()
    told(activity, [did("a")])

    assert len(told(activity, [did("a")], START_US + HOUR_US)) == 1
    assert told(activity, [did("a")], START_US + HOUR_US) == []


def test_ids_are_told_apart_by_tenant_and_by_what_they_are_of():
    """The same words in another tenant, or of an action, are something else."""
    events = [did("x", "x"), did("x", "x", tenant="t")]

    shown = Activity().shown(decoded(events), np.arange(2), START_US)

    assert shown is not None
    ids = {int(row[name]) for row in shown.rows for name in ("agent", "action")}
    assert len(ids) == 4


def test_a_source_says_once_in_a_window_that_it_gives():
    """Whoever is silent about a silent source has to hear that it is not."""
    activity, chunk = Activity(), decoded([did("a")])
    events = [decoded([did(name)]) for name in "abc"]

    shown = [activity.shown(chunk, np.arange(1), START_US) for chunk in events]
    other = activity.shown(decoded([did("a")], "other"), np.arange(1), START_US)
    later = activity.shown(chunk, np.arange(1), START_US + HOUR_US)

    found = [one.is_first for one in (*shown, other, later)]
    assert found == [True, False, False, True, True]


def test_every_source_tells_for_itself():
    """An agent of two sources is told of by both, whichever is read first."""
    activity = Activity()

    sources = [told(activity, [did("a"), did("a")], source=source) for source in "xyx"]

    assert [len(lines) for lines in sources[:2]] == [1, 1]


def test_what_the_cache_loses_is_told_again():
    """More agents than it has places leave nobody out, and cost no more memory."""
    activity, events = Activity(), [did(f"agent-{n}") for n in range(2000)]
    before = activity._told.nbytes
    activity._told = activity._told[:64].copy()

    shown = told(activity, [*events, *events])

    assert len(shown) >= len(events)
    assert before == 8 * TOLD_SLOTS


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40), st.integers(1, 40))
def test_batches_change_nothing_of_what_is_told(agents, size):
    """The union of what is told of a window is the same, whoever tells it when."""
    events = [did(agent, agent * 2) for agent in agents]

    whole = told(Activity(), events)
    activity = Activity()
    parts = [told(activity, events[at : at + size]) for at in range(0, len(events), size)]

    assert [line for part in parts for line in part] == whole


def test_a_shard_tells_it_in_the_window_of_the_source():
    """Late events count where the stream has got to, as everywhere."""
    shard = new_shard(small_config())
    late = did("late", ts_us=START_US)

    records = feed(shard, [did("a"), did("a", ts_us=START_US + HOUR_US), late], batch=1)

    shown = [(r.window_us, len(r.shown.rows)) for r in records if r.shown is not None]
    assert shown == [(START_US, 1), (START_US + HOUR_US, 1), (START_US + HOUR_US, 1)]
