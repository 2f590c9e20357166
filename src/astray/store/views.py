"""What people ask the store: how much of what, which cases, and all about one of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Column, Connection, RowMapping, func, select

from astray.decide.decision import Level
from astray.decide.review import Review
from astray.decide.silence import Over
from astray.store.delivering import ROWS_MAX
from astray.store.judging import Act, acts_of, verdicts_of
from astray.store.reviewing import review_of
from astray.store.schema import (
    DeliveryState,
    SuspensionState,
    alerts,
    cases,
    decisions,
    deliveries,
    endpoints,
    marks,
    reviews,
    silences,
    suspensions,
)


@dataclass(frozen=True, slots=True)
class Counts:
    """How much the store holds; `oldest_s` is the age of the oldest delivery still pending.

    `cases` are those of sessions, `silences` the others that are not over, by their kind.
    """

    cases: Mapping[str, int]
    suspensions: Mapping[str, int]
    deliveries: Mapping[str, int]
    outbox: int
    oldest_s: float
    disabled: Mapping[str, str]
    silences: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Case:
    """One episode of one session; `suspension` is None when none was asked for.

    Or of something that has fallen silent: `silence` is its kind, and None for a session. Or of
    an agent that is to be reviewed.
    """

    case_id: str
    tenant: str
    agent: str
    session: str
    principal: str
    level: Level
    score: float
    n: float
    alerts: int
    first_event_us: int
    last_event_us: int
    opened_s: float
    updated_s: float
    suspension: SuspensionState | None
    silence: str | None = None
    is_review: bool = False


@dataclass(frozen=True, slots=True)
class Attempted:
    """How far one webhook of a case has come; it has no body."""

    webhook_id: str
    endpoint: str
    state: DeliveryState
    created_s: float
    expires_s: float
    attempts: int
    last_status: int | None
    last_error: str
    last_attempt_s: float | None
    delivered_s: float | None


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A case with all its decisions, in the order of their recording, and its deliveries.

    `verdicts` and `acts` are what people said of it and did to it, in their order; `review` is
    what it asks for where it is not about a session.
    """

    case: Case
    decisions: tuple[dict[str, Any], ...]
    deliveries: tuple[Attempted, ...]
    verdicts: tuple[dict[str, Any], ...] = ()
    acts: tuple[Act, ...] = ()
    review: Review | None = None


_ATTEMPTED: Final = tuple(deliveries.c[name] for name in Attempted.__slots__)
_CASES: Final = (
    select(
        cases,
        suspensions.c.state.label("suspension"),
        silences.c.kind.label("silence"),
        reviews.c.case_id.is_not(None).label("is_review"),
    )
    .outerjoin_from(cases, suspensions, cases.c.case_id == suspensions.c.case_id)
    .outerjoin(silences, cases.c.case_id == silences.c.case_id)
    .outerjoin(reviews, cases.c.case_id == reviews.c.case_id)
)


def counts(connection: Connection, now_s: float) -> Counts:
    """Count everything; `now_s` is what ages are measured from."""
    pending = deliveries.c.state == DeliveryState.PENDING
    oldest = connection.scalar(select(func.min(deliveries.c.created_s)).where(pending))
    sent = _tally(connection, deliveries.c.state)
    off = select(endpoints).where(endpoints.c.disabled_s.is_not(None))
    return Counts(
        cases=_of_sessions(connection),
        suspensions=_tally(connection, suspensions.c.state),
        deliveries=sent,
        outbox=sent.get(DeliveryState.PENDING, 0),
        oldest_s=0.0 if oldest is None else max(0.0, now_s - oldest),
        disabled={row.name: row.reason for row in connection.execute(off)},
        silences=_lasting(connection),
    )


def listed(connection: Connection, limit: int, agent: str | None) -> list[Case]:
    """Return the cases that changed last, of one agent if it is named."""
    query = _CASES.order_by(cases.c.updated_s.desc(), cases.c.case_id).limit(min(limit, ROWS_MAX))
    if agent is not None:
        query = query.where(cases.c.agent == agent)
    return [_case(row) for row in connection.execute(query).mappings()]


def opened(connection: Connection, case_id: str) -> CaseFile | None:
    """Return all about one case, or None when there is none of that id."""
    row = connection.execute(_CASES.where(cases.c.case_id == case_id)).mappings().first()
    if row is None:
        return None
    bodies = connection.scalars(
        select(decisions.c.body)
        .where(decisions.c.case_id == case_id)
        .order_by(decisions.c.sequence)
        .limit(ROWS_MAX)
    )
    sent = select(*_ATTEMPTED).where(deliveries.c.case_id == case_id).limit(ROWS_MAX)
    return CaseFile(
        case=_case(row),
        decisions=tuple(orjson.loads(body) for body in bodies),
        deliveries=tuple(_attempted(row) for row in connection.execute(sent).mappings()),
        verdicts=tuple(verdicts_of(connection, case_id)),
        acts=tuple(acts_of(connection, case_id)),
        review=review_of(connection, case_id),
    )


def alerts_after(connection: Connection, sequence: int, limit: int) -> list[tuple[int, bytes]]:
    """Return the alerts recorded after the one of that number, in order."""
    query = (
        select(alerts.c.sequence, alerts.c.body)
        .where(alerts.c.sequence > sequence)
        .order_by(alerts.c.sequence)
        .limit(min(limit, ROWS_MAX))
    )
    return [(row.sequence, row.body) for row in connection.execute(query)]


def decisions_after(connection: Connection, sequence: int, limit: int) -> list[tuple[int, bytes]]:
    """Return the decisions recorded after the one of that number, in order, as JSON."""
    query = (
        select(decisions.c.sequence, decisions.c.body)
        .where(decisions.c.sequence > sequence)
        .order_by(decisions.c.sequence)
        .limit(min(limit, ROWS_MAX))
    )
    return [(row.sequence, row.body.encode()) for row in connection.execute(query)]


def _of_sessions(connection: Connection) -> dict[str, int]:
    others = cases.outerjoin(silences, cases.c.case_id == silences.c.case_id).outerjoin(
        reviews, cases.c.case_id == reviews.c.case_id
    )
    query = select(cases.c.level, func.count()).select_from(others).group_by(cases.c.level)
    rows = connection.execute(query.where(silences.c.kind.is_(None), reviews.c.case_id.is_(None)))
    return {row[0]: row[1] for row in rows}


def _lasting(connection: Connection) -> dict[str, int]:
    query = select(silences.c.kind, func.count()).where(silences.c.ended == Over.NOT_YET)
    return {row[0]: row[1] for row in connection.execute(query.group_by(silences.c.kind))}


def _tally(connection: Connection, column: Column[str]) -> dict[str, int]:
    rows = connection.execute(select(column, func.count()).group_by(column))
    return {row[0]: row[1] for row in rows}


def _case(row: RowMapping) -> Case:
    state = row["suspension"]
    suspension = None if state is None else SuspensionState(state)
    closed = {"level": Level(row["level"]), "suspension": suspension}
    return Case(**{**row, **closed, "is_review": bool(row["is_review"])})


def _attempted(row: RowMapping) -> Attempted:
    return Attempted(**{**row, "state": DeliveryState(row["state"])})


def mark(connection: Connection, name: str) -> int:
    """Return how far a reader of alerts says it has come; 0 before it said anything."""
    return connection.scalar(select(marks.c.sequence).where(marks.c.name == name)) or 0
