"""The dispatcher's view of the store: what is due, and what became of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Update,
    and_,
    func,
    insert,
    or_,
    select,
    update,
)

from astray.store import numbering
from astray.store.schema import (
    DeliveryState,
    SuspensionState,
    alerts,
    deliveries,
    endpoints,
    suspensions,
)

ERROR_BYTES_MAX: Final = 1024
"""How much of an error's text a delivery keeps."""

ROWS_MAX: Final = 10_000
"""How many rows one question may return, whatever limit is asked for."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook that waits for an attempt; `attempts` were made before."""

    webhook_id: str
    case_id: str
    endpoint: str
    body: bytes
    expires_s: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a delivery at `at_s`: the outcome of an attempt, or its expiry.

    `state` pending means another attempt at `next_attempt_s`. `status` is the HTTP status,
    None when there was no answer. `alert`, if given, is recorded with a final state.
    """

    webhook_id: str
    state: DeliveryState
    at_s: float
    status: int | None = None
    error: str = ""
    next_attempt_s: float | None = None
    alert: bytes | None = None


WITHDRAWN: Final = "released before it was delivered"
"""What is said of a delivery that was given up as its session was released."""

_pending: Final = deliveries.c.state == DeliveryState.PENDING
_expired: Final = deliveries.c.state == DeliveryState.EXPIRED
_disabled: Final = (
    select(endpoints.c.name)
    .where(endpoints.c.name == deliveries.c.endpoint, endpoints.c.disabled_s.is_not(None))
    .exists()
)


def due(connection: Connection, endpoint: str, now_s: float, limit: int) -> list[Delivery]:
    """Return what may be tried for an endpoint now, what has waited longest first."""
    query = (
        _waiting_for(endpoint, now_s, limit)
        .where(deliveries.c.next_attempt_s <= now_s)
        .order_by(deliveries.c.next_attempt_s, deliveries.c.created_s)
    )
    return _read(connection, query)


def probes(connection: Connection, endpoint: str, now_s: float, limit: int) -> list[Delivery]:
    """Return what may be tried to learn whether an endpoint is back, due or not.

    The one tried longest ago comes first: were it always the same one, a webhook that the
    receiver cannot digest would make a healthy receiver look dead.
    """
    tried_s = func.coalesce(deliveries.c.last_attempt_s, -1.0)  # never tried: before any time
    query = _waiting_for(endpoint, now_s, limit).order_by(tried_s, deliveries.c.created_s)
    return _read(connection, query)


def overdue(connection: Connection, now_s: float, limit: int) -> list[Delivery]:
    """Return what has expired without an end, whatever its endpoint."""
    query = (
        select(deliveries)
        .where(_pending, deliveries.c.expires_s <= now_s, _is_free(now_s))
        .order_by(deliveries.c.expires_s)
        .limit(min(limit, ROWS_MAX))
    )
    return _read(connection, query)


def next_due_s(connection: Connection, endpoint: str, after_s: float) -> float | None:
    """Return when the next attempt for an endpoint is due after `after_s`, if ever."""
    query = select(func.min(deliveries.c.next_attempt_s)).where(
        _pending,
        deliveries.c.endpoint == endpoint,
        deliveries.c.next_attempt_s > after_s,
        ~_disabled,
    )
    found_s: float | None = connection.scalar(query)
    return found_s


def next_expiry_s(connection: Connection, after_s: float) -> float | None:
    """Return when the next delivery expires after `after_s`, if ever."""
    query = select(func.min(deliveries.c.expires_s)).where(
        _pending, deliveries.c.expires_s > after_s
    )
    found_s: float | None = connection.scalar(query)
    return found_s


def hold(
    connection: Connection, webhook_ids: Sequence[str], now_s: float, until_s: float
) -> set[str]:
    """Keep others from attempting deliveries until then; return those that nobody else holds.

    A repetition, after a connection that broke, finds what it held the first time.
    """
    ours = or_(_is_free(now_s), deliveries.c.held_until_s == until_s)
    query = (
        update(deliveries)
        .where(_pending, deliveries.c.webhook_id.in_(webhook_ids), ours)
        .values(held_until_s=until_s)
        .returning(deliveries.c.webhook_id)
    )
    return set(connection.scalars(query))


def settle(connection: Connection, results: Sequence[Result]) -> None:
    """Write what became of deliveries; one that has come to its end stays as it is.

    One that was in the air as it was withdrawn, and has arrived, was delivered all the same.
    """
    for result in results:
        changed = connection.execute(_change(result)).rowcount
        if changed and result.state is not DeliveryState.PENDING:
            _conclude(connection, result)


def hurry(connection: Connection, endpoint: str, now_s: float) -> None:
    """Make everything that waits for an endpoint due at once."""
    connection.execute(
        update(deliveries)
        .where(_pending, deliveries.c.endpoint == endpoint, deliveries.c.next_attempt_s > now_s)
        .values(next_attempt_s=now_s)
    )


def switch(connection: Connection, endpoint: str, disabled_s: float | None, reason: str) -> None:
    """Disable an endpoint from `disabled_s` on, or enable it (None)."""
    values: dict[str, Any] = {"disabled_s": disabled_s, "reason": shorten(reason)}
    changed = connection.execute(
        update(endpoints).where(endpoints.c.name == endpoint).values(values)
    ).rowcount
    if not changed:
        connection.execute(insert(endpoints).values(name=endpoint, **values))


def known_endpoints(connection: Connection) -> dict[str, str]:
    """Return the endpoints that something was to be sent to, each with why it is off, if it is."""
    asked = select(deliveries.c.endpoint).distinct()
    known = dict.fromkeys(connection.scalars(asked.limit(ROWS_MAX)), "")
    for row in connection.execute(select(endpoints)):
        known[row.name] = "" if row.disabled_s is None else row.reason or "disabled"
    return known


def shorten(text: str) -> str:
    """Return at most `ERROR_BYTES_MAX` bytes of a text."""
    return text.encode(errors="replace")[:ERROR_BYTES_MAX].decode(errors="ignore")


def _is_free(now_s: float) -> ColumnElement[bool]:
    """Return the condition that no other process may be attempting a delivery."""
    held_until_s = deliveries.c.held_until_s
    return or_(held_until_s.is_(None), held_until_s <= now_s)


def _waiting_for(endpoint: str, now_s: float, limit: int) -> Select[Any]:
    return (
        select(deliveries)
        .where(
            _pending,
            deliveries.c.endpoint == endpoint,
            deliveries.c.expires_s > now_s,
            _is_free(now_s),
            ~_disabled,
        )
        .limit(min(limit, ROWS_MAX))
    )


def _read(connection: Connection, query: Select[Any]) -> list[Delivery]:
    return [_delivery(row) for row in connection.execute(query)]


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        row.webhook_id, row.case_id, row.endpoint, row.body, row.expires_s, row.attempts
    )


def _change(result: Result) -> Update:
    values: dict[str, Any] = {"state": result.state, "held_until_s": None}
    if result.state is not DeliveryState.EXPIRED:  # an expiry is no attempt
        values |= {
            "attempts": deliveries.c.attempts + 1,
            "last_status": result.status,
            "last_error": shorten(result.error),
            "last_attempt_s": result.at_s,
        }
    if result.state is DeliveryState.DELIVERED:
        values["delivered_s"] = result.at_s
    if result.next_attempt_s is not None:
        values["next_attempt_s"] = result.next_attempt_s
    is_open = _pending
    if result.state is DeliveryState.DELIVERED:
        is_open = or_(_pending, and_(_expired, deliveries.c.last_error == WITHDRAWN))
    ours = and_(is_open, deliveries.c.webhook_id == result.webhook_id)
    if result.state is DeliveryState.PENDING:
        # What was committed, although the connection broke, is not counted again.
        last_s = deliveries.c.last_attempt_s
        ours = and_(ours, or_(last_s.is_(None), last_s != result.at_s))
    return update(deliveries).where(ours).values(values)


def _conclude(connection: Connection, result: Result) -> None:
    """Let the suspension follow a delivery that has come to its end, and record the alert."""
    case_id = connection.scalar(
        select(deliveries.c.case_id).where(deliveries.c.webhook_id == result.webhook_id)
    )
    states = connection.scalars(select(deliveries.c.state).where(deliveries.c.case_id == case_id))
    state = _suspension_state(states)
    if state is not SuspensionState.REQUESTED:
        connection.execute(
            update(suspensions)
            .where(
                suspensions.c.case_id == case_id,
                suspensions.c.state == SuspensionState.REQUESTED,
            )
            .values(state=state, settled_s=result.at_s)
        )
    if result.alert is not None:
        alert = {"case_id": case_id, "recorded_s": result.at_s, "body": result.alert}
        numbering.number(connection, alerts, [alert])
        connection.execute(insert(alerts), [alert])


def _suspension_state(states: Iterable[str]) -> SuspensionState:
    found = set(states)
    if DeliveryState.DELIVERED in found:
        return SuspensionState.DELIVERED
    if DeliveryState.PENDING in found:
        return SuspensionState.REQUESTED
    return SuspensionState.FAILED if DeliveryState.FAILED in found else SuspensionState.EXPIRED
