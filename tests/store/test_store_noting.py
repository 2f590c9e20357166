"""What astray itself writes into the audit: each line once, and kept no longer than its case."""

from dataclasses import replace

from astray.decide.decision import Level, Mode
from astray.decide.leaving import Left, Why
from astray.store import Act, Store, Terms
from astray.store.noting import NOTES_MAX
from astray.testing import make_decision
from outboxes import TwoReceivers

ALERT = make_decision(level=Level.ALERT, mode=Mode.OBSERVE, score=61.0, limit=60.0)
LEFT = Left("", ALERT.agent, ALERT.session, start_us=5, ts_us=9_000_000, why=Why.EXPIRED)
OTHER = replace(LEFT, session="without a case")


def test_a_note_is_written_once(store: Store) -> None:
    """With its case where there is one; again, also in other company, it is not new."""
    store.record([ALERT], TwoReceivers(), 1.0)

    fresh = [store.record_left(some, 2.0) for some in ([LEFT], [OTHER, LEFT, OTHER], [OTHER])]

    notes = store.learnt(10)
    assert fresh == [1, 1, 0]
    assert [note.case_id for note in notes] == ["", ALERT.case]
    assert notes[1] == Act(ALERT.case, 2.0, "astray", "learn", LEFT.sentence, LEFT.id)
    assert store.learnt(1) == notes[:1]


def test_a_session_that_leaves_twice_is_told_twice(store: Store) -> None:
    """At another time, or for another reason: a session may come again under its name."""
    later, agreed = replace(LEFT, ts_us=10_000_000), replace(LEFT, why=Why.AGREED)

    assert store.record_left([LEFT, later, agreed], 2.0) == 3


def test_a_note_keeps_no_case_from_going(store: Store) -> None:
    """What people did does; a note goes with its case."""
    store.record([ALERT], TwoReceivers(), 1.0)
    store.record_left([LEFT], 2.0)

    removed = store.remove_cases(Terms(before_s=50.0), 60.0)

    assert removed.rows["cases"] == removed.rows["audit"] == 1
    assert store.learnt(10) == []
    assert [act.did for act in store.removals(10)] == ["remove"]


def test_notes_without_a_case_go_when_they_are_old(store: Store) -> None:
    """In pieces, the oldest first; what was removed from the store stays written."""
    many = [replace(OTHER, ts_us=number) for number in range(NOTES_MAX + 1)]
    store.record([ALERT], TwoReceivers(), 1.0)
    store.remove_cases(Terms(before_s=1.5), 1.5)
    store.record_left(many, 2.0)
    store.record_left([OTHER], 99.0)

    removed = [store.remove_notes(Terms(before_s=50.0)) for _ in range(3)]

    assert removed == [NOTES_MAX, 1, 0]
    assert [note.about for note in store.learnt(10)] == [OTHER.id]
    assert len(store.removals(10)) == 1
