"""Reviews in the case store: each once, beside the cases of sessions and not among them."""

from dataclasses import replace

import pytest

from astray.decide.review import Review
from astray.decide.verdict import Said, Verdict
from astray.store import Act, Outcome, Store, Terms
from astray.testing import make_decision
from outboxes import TwoReceivers

REVIEW = Review("acme", "billing-bot", ts_us=900, since_us=400, one_in=1e5, sessions=8, past=56)


def written(review: Review) -> bytes:
    """Write an alert."""
    return f"{review.agent} at {review.ts_us}".encode()


def record(store: Store, *reviews: Review) -> list[Review]:
    """Record reviews; return what was new."""
    return store.record_reviews(reviews, written, 50.0)


def alerts(store: Store) -> list[bytes]:
    """Return all alerts."""
    return [body for _, body in store.alerts_after(0, 100)]


def test_a_review_is_a_case_with_an_alert(store: Store) -> None:
    """It asks for no suspension, and is of no session."""
    assert record(store, REVIEW) == [REVIEW]

    (case,) = store.cases(10, agent="billing-bot")
    assert case.is_review
    assert (case.case_id, case.tenant, case.session) == (REVIEW.case, "acme", "")
    assert (case.suspension, case.silence, case.alerts) == (None, None, 1)
    assert (case.first_event_us, case.last_event_us) == (400, 900)
    assert alerts(store) == [b"billing-bot at 900"]


def test_recording_it_again_changes_nothing(store: Store) -> None:
    """A crash has the engine repeat what it did, in the same call or later; another is another."""
    later = replace(REVIEW, ts_us=5000)

    assert record(store, REVIEW, REVIEW) == [REVIEW]
    assert record(store, REVIEW, later) == [later]
    assert record(store) == []
    assert alerts(store) == [b"billing-bot at 900", b"billing-bot at 5000"]


def test_what_it_says_can_be_read_again(store: Store) -> None:
    """All of it, also of many agents at once."""
    many = replace(REVIEW, agent="", count=30, examples=("a", "b"), after=31.25, is_sudden=True)
    record(store, REVIEW, many)

    for review in (REVIEW, many):
        file = store.case(review.case)
        assert file is not None
        assert file.review == review
        assert (file.decisions, file.deliveries) == ((), ())


def test_cases_of_sessions_are_counted_and_shown_apart(store: Store) -> None:
    """A review is no alert of a session."""
    record(store, REVIEW)
    decision = make_decision()
    store.record([decision], TwoReceivers(), 50.0)

    file = store.case(decision.case)

    assert store.counts(60.0).cases == {"suspend": 1}
    assert file is not None
    assert (file.review, file.case.is_review) == (None, False)


def test_there_is_no_session_to_judge_or_to_suspend(store: Store) -> None:
    """Verdicts and approvals are about sessions; the answer says that this is of none."""
    record(store, REVIEW)
    act = Act(REVIEW.case, 60.0, "kim", "approve", "")
    given = Verdict(REVIEW.case, Said.TRUE_POSITIVE, "kim", 60_000_000)

    assert store.judge(given, 60.0) is Outcome.NO_SESSION
    assert store.approve(act, TwoReceivers()) is Outcome.NO_SESSION


@pytest.mark.parametrize(("before_s", "left"), [(40.0, 1), (60.0, 0)], ids=["young", "old"])
def test_it_goes_when_it_is_old(store: Store, before_s: float, left: int) -> None:
    """It waits for nobody; and it says nothing of the time up to which decisions are gone."""
    record(store, REVIEW)

    removed = store.remove_cases(Terms(before_s), 100.0)
    store.record([make_decision(ts_us=800)], TwoReceivers(), 100.0)

    assert removed.rows.get("reviews", 0) == 1 - left
    assert (store.case(REVIEW.case) is not None) is bool(left)
    assert store.counts(100.0).cases == {"suspend": 1}


def test_more_reviews_than_fit_into_a_query(store: Store) -> None:
    """All of them are recorded, and known again."""
    many = [replace(REVIEW, agent=f"agent-{n}") for n in range(1200)]

    assert len(record(store, *many)) == 1200
    assert record(store, *many) == []
