"""Decisions become rows: cases, suspensions, deliveries and alerts, each of them once."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from sqlalchemy import Column, Connection, Table, bindparam, delete, insert, select, update

from astray.decide.decision import Decision, Level
from astray.decide.past import unless_past
from astray.store import numbering
from astray.store.outgoing import Outbox
from astray.store.schema import (
    DeliveryState,
    SuspensionState,
    alerts,
    cases,
    decisions,
    deliveries,
    marks,
    suspensions,
)

KEYS_MAX: Final = 500
"""Keys asked for in one query; databases bound the number of parameters."""

ALERTS_MAX: Final = 2
"""Alerts of one case: when it opens, and when it first becomes worse."""

REMOVED_UNTIL: Final = "removed_until_us"
"""The mark with the time of the latest event of all cases that have been removed."""

_RISING: Final = tuple(Level)
_RAISE: Final = (
    update(cases)
    .where(cases.c.case_id == bindparam("key"))
    .values(
        level=bindparam("level"),
        score=bindparam("score"),
        n=bindparam("n"),
        alerts=bindparam("alerts"),
        first_event_us=bindparam("first_event_us"),
        last_event_us=bindparam("last_event_us"),
        updated_s=bindparam("updated_s"),
    )
)


@dataclass(slots=True)
class _Case:
    """What may rise in a case."""

    level: Level
    score: float
    n: float
    alerts: int
    first_event_us: int
    last_event_us: int

    def raise_to(self, decision: Decision) -> bool:
        """Take in a decision; return whether the case has become worse by it."""
        worse = _RISING.index(decision.level) > _RISING.index(self.level)
        self.level = decision.level if worse else self.level
        self.score = max(self.score, decision.score)
        self.n = max(self.n, decision.n)
        self.first_event_us = min(self.first_event_us, decision.ts_us)
        self.last_event_us = max(self.last_event_us, decision.ts_us)
        return worse


@dataclass(slots=True)
class _Batch:
    """The rows of one transaction, in the order in which their tables depend on each other."""

    cases: list[dict[str, Any]] = field(default_factory=list)
    raised: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    suspensions: list[dict[str, Any]] = field(default_factory=list)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)

    def write(self, connection: Connection) -> None:
        inserts: tuple[tuple[Table, list[dict[str, Any]]], ...] = (
            (cases, self.cases),
            (decisions, self.decisions),
            (suspensions, self.suspensions),
            (deliveries, self.deliveries),
            (alerts, self.alerts),
        )
        numbering.number(connection, decisions, self.decisions)
        numbering.number(connection, alerts, self.alerts)
        for table, rows in inserts:
            if rows:
                connection.execute(insert(table), rows)
        if self.raised:
            connection.execute(_RAISE, self.raised)


def record(
    connection: Connection, taken: Sequence[Decision], outbox: Outbox, now_s: float
) -> list[Decision]:
    """Write the decisions that are new, and what follows from them; return them.

    A case opens with its first decision and only rises. It has one suspension however many
    policies ask for it, and at most `ALERTS_MAX` alerts.

    What may have been recorded before and has been removed since suspends nobody again.
    """
    fresh = _unrecorded(connection, taken)
    suspended = _suspended(connection, fresh)
    withheld = _unless_removed(connection, fresh, suspended)
    return _write(connection, withheld, suspended, outbox, now_s)


def record_approved(
    connection: Connection, decision: Decision, outbox: Outbox, now_s: float
) -> None:
    """Write a decision that a person has made, however old what it is about."""
    fresh = _unrecorded(connection, [decision])
    _write(connection, fresh, _suspended(connection, fresh), outbox, now_s)


def _write(
    connection: Connection,
    fresh: list[Decision],
    suspended: set[str],
    outbox: Outbox,
    now_s: float,
) -> list[Decision]:
    """Write decisions that are new and what follows from them; return them."""
    known = _known_cases(connection, {decision.case for decision in fresh})
    batch = _Batch()
    for decision in fresh:
        _take(decision, known, batch, outbox, now_s)
        if decision.suspends and decision.case not in suspended:
            suspended.add(decision.case)
            _suspend(decision, batch, outbox, now_s)
    batch.write(connection)
    return fresh


def set_mark(connection: Connection, name: str, sequence: int) -> None:
    """Remember how far a reader of alerts has come."""
    connection.execute(delete(marks).where(marks.c.name == name))
    connection.execute(insert(marks).values(name=name, sequence=sequence))


def _take(
    decision: Decision, known: dict[str, _Case], batch: _Batch, outbox: Outbox, now_s: float
) -> None:
    batch.decisions.append(
        {
            "decision_id": decision.id,
            "case_id": decision.case,
            "event_us": decision.ts_us,
            "recorded_s": now_s,
            "body": orjson.dumps(decision).decode(),
        }
    )
    case = known.get(decision.case)
    if case is None:
        known[decision.case] = _case_of(decision)
        batch.cases.append(_case_row(decision, now_s))
        batch.alerts.append(_alert_row(decision, outbox.alert(decision, update=False), now_s))
        return
    if case.raise_to(decision) and case.alerts < ALERTS_MAX:
        case.alerts += 1
        batch.alerts.append(_alert_row(decision, outbox.alert(decision, update=True), now_s))
    batch.raised.append(
        {
            "key": decision.case,
            "level": case.level,
            "score": case.score,
            "n": case.n,
            "alerts": case.alerts,
            "first_event_us": case.first_event_us,
            "last_event_us": case.last_event_us,
            "updated_s": now_s,
        }
    )


def _suspend(decision: Decision, batch: _Batch, outbox: Outbox, now_s: float) -> None:
    batch.suspensions.append(
        {
            "case_id": decision.case,
            "decision_id": decision.id,
            "state": SuspensionState.REQUESTED,
            "requested_s": now_s,
        }
    )
    batch.deliveries.extend(
        {
            "webhook_id": outgoing.webhook_id,
            "case_id": decision.case,
            "endpoint": outgoing.endpoint,
            "body": outgoing.body,
            "state": DeliveryState.PENDING,
            "created_s": now_s,
            "expires_s": outgoing.expires_s,
            "next_attempt_s": now_s,
            "attempts": 0,
            "last_error": "",
        }
        for outgoing in outbox.deliveries(decision, now_s)
    )


def _case_of(decision: Decision) -> _Case:
    at_us = decision.ts_us
    return _Case(decision.level, decision.score, decision.n, 1, at_us, at_us)


def _case_row(decision: Decision, now_s: float) -> dict[str, Any]:
    return {
        "case_id": decision.case,
        "tenant": decision.tenant,
        "agent": decision.agent,
        "session": decision.session,
        "principal": decision.principal,
        "level": decision.level,
        "score": decision.score,
        "n": decision.n,
        "alerts": 1,
        "first_event_us": decision.ts_us,
        "last_event_us": decision.ts_us,
        "opened_s": now_s,
        "updated_s": now_s,
    }


def _alert_row(decision: Decision, body: bytes, now_s: float) -> dict[str, Any]:
    return {"case_id": decision.case, "recorded_s": now_s, "body": body}


def _unrecorded(connection: Connection, taken: Sequence[Decision]) -> list[Decision]:
    """Return the decisions the store does not have, each once, in their order."""
    distinct = {decision.id: decision for decision in reversed(taken)}
    recorded = set(_present(connection, decisions.c.decision_id, distinct))
    return [
        decision
        for decision in taken
        if decision.id not in recorded and distinct.pop(decision.id, None) is not None
    ]


def _suspended(connection: Connection, taken: Sequence[Decision]) -> set[str]:
    """Return those of the decisions' cases whose sessions are suspended already."""
    case_ids = {decision.case for decision in taken}
    return set(_present(connection, suspensions.c.case_id, case_ids))


def _unless_removed(
    connection: Connection, fresh: list[Decision], suspended: Collection[str]
) -> list[Decision]:
    """Return decisions, those from as long ago as what was removed without their suspensions."""
    if not any(decision.suspends for decision in fresh):
        return fresh
    ours = marks.c.name == REMOVED_UNTIL
    until_us = connection.scalar(select(marks.c.sequence).where(ours))
    if until_us is None:  # nothing was ever removed
        return fresh
    judged = [
        decision if decision.case in suspended else unless_past(decision, until_us + 1, 0)
        for decision in fresh
    ]
    return judged if judged == fresh else _unrecorded(connection, judged)


def _known_cases(connection: Connection, case_ids: Collection[str]) -> dict[str, _Case]:
    query = select(cases.c.case_id, *(cases.c[name] for name in _Case.__slots__))
    return {
        row[0]: _Case(Level(row[1]), *row[2:])
        for keys in chunked(case_ids)
        for row in connection.execute(query.where(cases.c.case_id.in_(keys)))
    }


def _present(connection: Connection, column: Column[str], keys: Collection[str]) -> Iterator[str]:
    for chunk in chunked(keys):
        yield from connection.scalars(select(column).where(column.in_(chunk)))


def chunked(keys: Collection[str]) -> Iterator[list[str]]:
    """Return keys in lists that fit into a query."""
    listed = list(keys)
    for start in range(0, len(listed), KEYS_MAX):
        yield listed[start : start + KEYS_MAX]
