"""How far a stream had come: who knows it, when it is written down, and what it holds back."""

import numpy as np
import pytest

from astray.decide.decider import SCORED, Ruling
from astray.decide.decision import Withheld
from astray.errors import RecoveryError
from astray.flow.cluster import Cluster
from astray.flow.counters import Counters
from astray.flow.past import NEWEST, past_of
from astray.flow.recovery import begun_after_us
from astray.store import Store
from astray.testing import make_decision

SECOND_US, NOW_US, WITHIN_S = 1_000_000, 1_700_000_000_000_000, 600.0
LATE = make_decision(ts_us=NOW_US - 601 * SECOND_US)
FIRST, SECOND = (Cluster(("a:1", "b:2"), process) for process in (0, 1))


@pytest.fixture
def store():
    """Return a case store that has heard of an event."""
    with Store.open("sqlite://") as store:
        store.set_mark(NEWEST, NOW_US)
        yield store


def ruling(ts_us, *decisions):
    """Return a ruling about a session that stands at this time."""
    scored = np.zeros(2, SCORED)
    scored["ts_us"][1] = ts_us
    return Ruling(list(decisions), [scored])


def withheld(past, decision=LATE):
    """Return why a decision is not acted upon."""
    (judged,) = past.judged([decision])
    return judged.withheld


def test_a_cluster_has_one_past(store, tmp_path):
    """Whichever process records knows what the one with the state began with, even before it."""
    second = past_of(store, Counters(), WITHIN_S, tmp_path / "not there", SECOND)
    past_of(store, Counters(), WITHIN_S, tmp_path, FIRST)
    store.set_mark(NEWEST, NOW_US + 10**12)

    assert withheld(second) is Withheld.PAST
    assert withheld(second, make_decision(ts_us=NOW_US)) is Withheld.NOTHING
    assert not (tmp_path / "not there").exists()


def test_a_cluster_that_goes_on_has_the_past_of_its_state(store, tmp_path):
    """Where the state was begun when nothing had been heard of, nothing is past for anybody."""
    begun_after_us(tmp_path, 0)
    past_of(store, Counters(), WITHIN_S, None, FIRST)

    second = past_of(store, Counters(), WITHIN_S, tmp_path, SECOND)
    past_of(store, Counters(), WITHIN_S, tmp_path, FIRST)

    assert withheld(second) is Withheld.NOTHING


def test_the_newest_event_is_written_before_a_decision_is(store):
    """At once where there is a decision, otherwise a moment later at the latest, and at the end."""
    past = past_of(store, Counters(), WITHIN_S)
    times_s = [0.5, 2, 2.9, 100, 101, 50]
    marks = []

    for number, time_s in enumerate(times_s):
        decisions = [LATE] if number in (0, 2, 4) else []
        past.hear(ruling(NOW_US + int(time_s * SECOND_US), *decisions))
        marks.append((store.mark(NEWEST) - NOW_US) / SECOND_US)
    past.hear(ruling(NOW_US + 200 * SECOND_US))
    past.settle()

    assert marks == [0, 2, 2, 2, 101, 101]
    assert store.mark(NEWEST) == NOW_US + 200 * SECOND_US


def test_events_count_that_no_session_was_ranked_for(store):
    """Time goes on with every event that is read."""
    counters = Counters(latest_us=NOW_US + 5 * SECOND_US)
    past = past_of(store, counters, WITHIN_S)

    past.hear(ruling(0, LATE))
    heard_us = store.mark(NEWEST)
    counters.latest_us += SECOND_US // 2
    past.settle()

    assert heard_us == NOW_US + 5 * SECOND_US
    assert store.mark(NEWEST) == heard_us + SECOND_US // 2


def test_time_does_not_go_back(store):
    """Another stream's newer event in the same store stays the newest."""
    past = past_of(store, Counters(), WITHIN_S)
    store.set_mark(NEWEST, NOW_US + 10 * SECOND_US)

    past.hear(ruling(NOW_US + 5 * SECOND_US, LATE))
    past.settle()

    assert store.mark(NEWEST) == NOW_US + 10 * SECOND_US


def test_what_a_state_began_with_is_written_once(tmp_path):
    """Later runs with a directory have what the first one wrote down."""
    assert [begun_after_us(tmp_path, newest) for newest in (5, 7, 0)] == [5, 5, 5]
    assert [path.name for path in tmp_path.iterdir()] == ["begun.json"]


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    """With the system's reason."""
    with pytest.raises(RecoveryError) as caught:
        begun_after_us(tmp_path / "nowhere", 1)

    note = tmp_path / "nowhere" / "begun.json"
    assert str(caught.value) == f"{note}: cannot be used: No such file or directory"
