"""The dispatcher's side of the store: what is due, what became of it, and what follows."""

from collections.abc import Sequence

import pytest

from astray.decide.decision import Decision
from astray.store import (
    Attempted,
    DeliveryState,
    Outgoing,
    Result,
    Store,
    SuspensionState,
)
from astray.store.delivering import ERROR_BYTES_MAX
from astray.testing import make_decision


class Outbox:
    """One webhook per named endpoint, expiring after a minute."""

    def __init__(self, *endpoints: str) -> None:
        self.endpoints = endpoints

    def deliveries(self, decision: Decision, now_s: float) -> Sequence[Outgoing]:
        """Return one webhook per endpoint."""
        return [
            Outgoing(f"{decision.session}-{name}", name, b"suspend", now_s + 60)
            for name in self.endpoints
        ]

    def alert(self, decision: Decision, *, update: bool) -> bytes:
        """Return an alert that says nothing."""
        return b"alert"


def suspend(store: Store, session: str, *endpoints: str, now_s: float = 0.0) -> str:
    """Record the suspension of a session; return its case."""
    decision = make_decision(session=session)
    store.record([decision], Outbox(*endpoints), now_s)
    return decision.case


def due(store: Store, endpoint: str, now_s: float, limit: int = 10) -> list[str]:
    """Return the ids that are due."""
    return [delivery.webhook_id for delivery in store.due(endpoint, now_s, limit)]


def ended(webhook_id: str, state: DeliveryState, at_s: float = 1.0) -> Result:
    """Return a delivery's end."""
    return Result(webhook_id, state, at_s, status=200 if state == "delivered" else 400)


def again(webhook_id: str, next_attempt_s: float, at_s: float = 1.0) -> Result:
    """Return an attempt that is to be repeated."""
    return Result(webhook_id, DeliveryState.PENDING, at_s, 503, "busy", next_attempt_s)


def suspension(store: Store, case_id: str) -> SuspensionState | None:
    """Return where the suspension of a case stands."""
    found = store.case(case_id)
    assert found is not None
    return found.case.suspension


def attempted(store: Store, case_id: str) -> Attempted:
    """Return the one delivery of a case."""
    found = store.case(case_id)
    assert found is not None
    [delivery] = found.deliveries
    return delivery


def test_what_has_waited_longest_is_due_first(store: Store) -> None:
    """The order is that of the times from which they are due, and it is bounded."""
    for at_s, session in enumerate(("first", "second", "third")):
        suspend(store, session, "siem", now_s=float(at_s))
    store.settle([again("first-siem", next_attempt_s=5.0)])

    assert due(store, "siem", 1.5) == ["second-siem"]
    assert due(store, "siem", 5.0) == ["second-siem", "third-siem", "first-siem"]
    assert due(store, "siem", 5.0, limit=1) == ["second-siem"]
    assert due(store, "gateway", 5.0) == []


def test_the_next_time_something_is_due_or_expires_is_known(store: Store) -> None:
    """The host sleeps until then."""
    suspend(store, "first", "siem", now_s=10.0)
    store.settle([again("first-siem", next_attempt_s=15.0)])

    assert store.next_due_s("siem", 10.0) == 15.0
    assert store.next_due_s("siem", 15.0) is None
    assert store.next_expiry_s(10.0) == 70.0
    assert store.next_expiry_s(70.0) is None


def test_every_attempt_is_counted_and_the_last_one_kept(store: Store) -> None:
    """An operator sees how often it was tried, and what the receiver said last."""
    case_id = suspend(store, "first", "siem")

    store.settle([again("first-siem", 5.0, at_s=1.0)])
    store.settle([again("first-siem", 9.0, at_s=5.0)])
    waiting = attempted(store, case_id)
    store.settle([ended("first-siem", DeliveryState.DELIVERED, at_s=9.0)])
    delivered = attempted(store, case_id)

    assert (waiting.attempts, waiting.last_status, waiting.last_error) == (2, 503, "busy")
    assert (waiting.last_attempt_s, waiting.delivered_s) == (5.0, None)
    assert (delivered.attempts, delivered.last_status, delivered.last_error) == (3, 200, "")
    assert delivered.delivered_s == 9.0
    assert due(store, "siem", 100.0) == []


@pytest.mark.parametrize("text", ["x" * 5000, "\U0001f512" * 5000, "\udcff" * 5000])
def test_an_error_of_any_length_is_cut(store: Store, text: str) -> None:
    """A receiver does not decide how large the store grows."""
    case_id = suspend(store, "first", "siem")

    store.settle([Result("first-siem", DeliveryState.PENDING, 1.0, None, text, 5.0)])

    assert 0 < len(attempted(store, case_id).last_error.encode()) <= ERROR_BYTES_MAX


@pytest.mark.parametrize(
    ("ends", "state"),
    [
        (("delivered", "pending"), "delivered"),
        (("delivered", "failed"), "delivered"),
        (("failed", "delivered"), "delivered"),
        (("failed", "pending"), "requested"),
        (("expired", "pending"), "requested"),
        (("failed", "failed"), "failed"),
        (("failed", "expired"), "failed"),
        (("expired", "failed"), "failed"),
        (("expired", "expired"), "expired"),
        (("expired", "delivered"), "delivered"),
    ],
)
def test_a_suspension_follows_its_deliveries(
    store: Store, ends: tuple[str, str], state: str
) -> None:
    """One success is enough; it has failed when no delivery can succeed any more."""
    case_id = suspend(store, "first", "siem", "gateway")

    for endpoint, end in zip(("siem", "gateway"), ends, strict=True):
        if end != "pending":
            store.settle([ended(f"first-{endpoint}", DeliveryState(end))])

    assert suspension(store, case_id) == state


def test_a_suspension_that_nobody_was_asked_for_stays_requested(store: Store) -> None:
    """Without an endpoint there is no delivery that could fail."""
    assert suspension(store, suspend(store, "first")) is SuspensionState.REQUESTED


def test_an_end_is_final(store: Store) -> None:
    """What comes after the end of a delivery changes nothing and records no alert."""
    case_id = suspend(store, "first", "siem")
    store.settle([ended("first-siem", DeliveryState.DELIVERED, at_s=1.0)])
    before = store.case(case_id)

    store.settle([again("first-siem", 5.0), ended("first-siem", DeliveryState.EXPIRED)])
    store.settle([Result("first-siem", DeliveryState.FAILED, 2.0, 400, alert=b"not delivered")])

    assert store.case(case_id) == before
    assert store.alerts_after(1, 10) == []


def test_an_alert_is_recorded_with_the_end(store: Store) -> None:
    """That a suspension was not delivered is an event of its own."""
    suspend(store, "first", "siem")

    store.settle([Result("first-siem", DeliveryState.FAILED, 2.0, 400, alert=b"not delivered")])

    assert [body for _, body in store.alerts_after(0, 10)] == [b"alert", b"not delivered"]


def test_nothing_is_due_for_a_disabled_endpoint(store: Store) -> None:
    """It waits until the endpoint is enabled again, and other endpoints do not notice."""
    suspend(store, "first", "siem", "gateway")
    store.disable_endpoint("siem", "answered 410 Gone", 1.0)

    assert due(store, "siem", 2.0) == []
    assert store.probes("siem", 2.0, 10) == []
    assert store.next_due_s("siem", -1.0) is None
    assert due(store, "gateway", 2.0) == ["first-gateway"]
    assert store.counts(2.0).disabled == {"siem": "answered 410 Gone"}

    store.enable_endpoint("siem")

    assert due(store, "siem", 2.0) == ["first-siem"]
    assert store.counts(2.0).disabled == {}


def test_what_has_expired_is_overdue_and_never_due(store: Store) -> None:
    """Also where the endpoint is disabled or not in the configuration any more."""
    case_id = suspend(store, "first", "siem")
    store.disable_endpoint("siem", "gone", 1.0)

    assert store.overdue(59.9, 10) == []
    assert [delivery.webhook_id for delivery in store.overdue(60.0, 10)] == ["first-siem"]
    store.enable_endpoint("siem")
    assert due(store, "siem", 60.0) == []

    store.settle([Result("first-siem", DeliveryState.EXPIRED, 61.0)])

    assert store.overdue(100.0, 10) == []
    assert attempted(store, case_id).attempts == 0


def test_probing_tries_each_in_turn(store: Store) -> None:
    """What was tried longest ago comes first, due or not: none stands in the others' way."""
    for session in ("first", "second"):
        suspend(store, session, "siem")
    store.settle([again("first-siem", 50.0, at_s=1.0), again("second-siem", 50.0, at_s=2.0)])
    suspend(store, "third", "siem", now_s=3.0)

    assert [item.webhook_id for item in store.probes("siem", 4.0, 10)] == [
        "third-siem",
        "first-siem",
        "second-siem",
    ]


def test_hurry_makes_all_that_waits_for_an_endpoint_due(store: Store) -> None:
    """Neither another endpoint's nor what has come to its end."""
    suspend(store, "first", "siem", "gateway")
    suspend(store, "second", "siem")
    store.settle([again("first-siem", 50.0), again("first-gateway", 50.0)])
    store.settle([ended("second-siem", DeliveryState.FAILED)])

    store.hurry("siem", 10.0)

    assert due(store, "siem", 10.0) == ["first-siem"]
    assert due(store, "gateway", 10.0) == []


def test_people_see_how_much_waits_and_for_how_long(store: Store) -> None:
    """Depth and age of the outbox, by state; cases newest first or of one agent."""
    suspend(store, "first", "siem", now_s=10.0)
    suspend(store, "second", "siem", now_s=20.0)
    store.record([make_decision(agent="support-bot", session="third")], Outbox("siem"), now_s=30.0)
    store.settle([ended("first-siem", DeliveryState.DELIVERED)])

    counts = store.counts(50.0)

    assert (counts.outbox, counts.oldest_s) == (2, 30.0)
    assert counts.deliveries == {"delivered": 1, "pending": 2}
    assert counts.suspensions == {"delivered": 1, "requested": 2}
    assert [case.session for case in store.cases(2)] == ["third", "second"]
    assert [case.session for case in store.cases(9, agent="support-bot")] == ["third"]
    assert store.case("case_of_nobody") is None
