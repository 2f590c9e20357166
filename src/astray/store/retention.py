"""What is old and closed is removed, a little at a time, with a line in the audit.

Old is what nothing has happened to for a time by the wall clock: people are told for how long
they find a case, whatever the time of its events. What is still open stays, however old:

- a silence that is not over;
- a suspension that is in force or could not be delivered, until somebody releases it or
  judges it;
- a delivery that is to be attempted;
- a false positive that has not expired;
- what somebody did, and the case that it was done to, for as long as the audit is kept;
- what a reader of alerts or decisions has not got yet.

A decision that has been removed is not known any more, and whoever reads events again from so
long ago comes to it again. So the time of the latest event of all that was removed is kept:
what is not later than that suspends nobody (see `recording.record`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Table,
    delete,
    insert,
    or_,
    select,
)

from astray.decide.silence import Over
from astray.decide.verdict import Said, Verdict, parse_verdict
from astray.events import clock
from astray.store import numbering
from astray.store.delivering import ROWS_MAX
from astray.store.judging import Act
from astray.store.noting import BY, LEARN
from astray.store.recording import REMOVED_UNTIL, set_mark
from astray.store.schema import (
    DeliveryState,
    SuspensionState,
    alerts,
    audit,
    cases,
    decisions,
    deliveries,
    reviews,
    silences,
    suspensions,
    verdicts,
)
from astray.store.views import mark

LOOKED_AT_MAX: Final = 50
"""Cases looked at in one transaction, which keeps others from writing meanwhile."""

ALERTS_MAX: Final = 200
"""Alerts removed in one transaction."""

EVERYTHING: Final = 2**63 - 1
"""The number up to which everything has been handed on, where nobody is to get it."""

DID: Final = "remove"
"""How the audit calls what is done here."""

_OF_CASES: Final = (
    alerts,
    deliveries,
    suspensions,
    verdicts,
    audit,
    decisions,
    silences,
    reviews,
    cases,
)
"""The tables with rows of a case, each before those that its rows refer to."""

TABLES: Final = tuple(sorted(table.name for table in _OF_CASES))
"""The names of the tables from which something may be removed."""

_MICROS: Final = 1_000_000
_UNDELIVERED: Final = (SuspensionState.FAILED, SuspensionState.EXPIRED)

Place = tuple[float, str]
"""Of a case in the order in which they are looked at: when it changed last, and its id."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What may go: cases and alerts from before a time, as far as readers have them.

    What people did before `audit_before_s` may go with its case; None: it never does. `alerts`
    and `decisions` are the last numbers that all their readers have got.
    """

    before_s: float
    audit_before_s: float | None = None
    alerts: int = EVERYTHING
    decisions: int = EVERYTHING


@dataclass(frozen=True, slots=True)
class Removed:
    """How many rows were removed, by table, and where to go on; None: all were looked at."""

    rows: Mapping[str, int] = field(default_factory=dict)
    last: Place | None = None


def remove_cases(
    connection: Connection, terms: Terms, after: Place | None, now_s: float
) -> Removed:
    """Look at the next old cases, and remove those that are closed with all that is theirs."""
    found = _old_cases(connection, terms, after)
    ids = [row.case_id for row in found]
    last = (found[-1].updated_s, found[-1].case_id) if len(found) == LOOKED_AT_MAX else None
    open_ = _open(connection, ids, terms, now_s)
    gone = [case_id for case_id in ids if case_id not in open_]
    if not gone:
        return Removed(last=last)
    _remember(connection, [row for row in found if row.case_id not in open_])
    rows = {table.name: _remove(connection, table, gone) for table in _OF_CASES}
    _write_down(connection, rows, terms, now_s)
    return Removed(rows, last)


def remove_alerts(connection: Connection, terms: Terms) -> int:
    """Remove the oldest alerts, which readers have got, and return how many.

    They are copies of what is in decisions, made to be handed on: an old one is of no use, also
    where its case is open.
    """
    query = select(alerts.c.sequence, alerts.c.recorded_s).order_by(alerts.c.sequence)
    oldest = connection.execute(query.limit(ALERTS_MAX)).all()
    gone = list(
        takewhile(
            lambda row: row.recorded_s < terms.before_s and row.sequence <= terms.alerts, oldest
        )
    )
    if gone:
        connection.execute(delete(alerts).where(alerts.c.sequence <= gone[-1].sequence))
    return len(gone)


def removals(connection: Connection, limit: int) -> list[Act]:
    """Return what the audit says of removals, the latest first."""
    ours = (audit.c.case_id.is_(None), audit.c.did == DID)
    query = select(audit).where(*ours).order_by(audit.c.sequence.desc())
    rows = connection.execute(query.limit(min(limit, ROWS_MAX)))
    return [Act("", row.at_s, row.who, row.did, row.note, row.about) for row in rows]


def _old_cases(connection: Connection, terms: Terms, after: Place | None) -> Sequence[Row[Any]]:
    query = select(cases).where(cases.c.updated_s < terms.before_s)
    if after is not None:
        changed_s, case_id = after
        beyond = or_(cases.c.updated_s > changed_s, cases.c.case_id > case_id)
        query = query.where(cases.c.updated_s >= changed_s, beyond)
    return connection.execute(
        query.order_by(cases.c.updated_s, cases.c.case_id).limit(LOOKED_AT_MAX)
    ).all()


def _open(connection: Connection, ids: Sequence[str], terms: Terms, now_s: float) -> set[str]:
    """Return those of the cases that have to stay."""
    waiting = deliveries.c.state == DeliveryState.PENDING
    acted = () if terms.audit_before_s is None else (audit.c.at_s >= terms.audit_before_s,)
    said = _in_force(connection, ids)
    return {
        *_having(connection, silences.c.case_id, ids, silences.c.ended == Over.NOT_YET),
        *_having(connection, deliveries.c.case_id, ids, waiting),
        *_having(connection, audit.c.case_id, ids, audit.c.did != LEARN, *acted),
        *_having(connection, alerts.c.case_id, ids, alerts.c.sequence > terms.alerts),
        *_having(connection, decisions.c.case_id, ids, decisions.c.sequence > terms.decisions),
        *(case_id for case_id, verdict in said.items() if _is_to_come(verdict, now_s)),
        *_unsettled(connection, ids, said),
    }


def _having(
    connection: Connection, column: Column[str], ids: Sequence[str], *also: ColumnElement[bool]
) -> Iterable[str]:
    """Return those of the cases that have such a row."""
    return connection.scalars(select(column).where(column.in_(ids), *also))


def _unsettled(
    connection: Connection, ids: Sequence[str], said: Mapping[str, Verdict | None]
) -> Iterable[str]:
    """Return the cases whose suspension waits for a person, or for its undoing."""
    query = select(suspensions.c.case_id, suspensions.c.state).where(
        suspensions.c.case_id.in_(ids), suspensions.c.state != SuspensionState.RELEASED
    )
    for case_id, state in connection.execute(query):
        verdict = said.get(case_id)
        is_right = verdict is not None and verdict.said is Said.TRUE_POSITIVE
        is_judged = verdict is not None and state in _UNDELIVERED
        if not is_right and not is_judged:
            yield case_id


def _in_force(connection: Connection, ids: Sequence[str]) -> dict[str, Verdict | None]:
    """Return the verdict in force of every case that has one, None for one nobody can read."""
    query = select(verdicts.c.case_id, verdicts.c.body).where(verdicts.c.case_id.in_(ids))
    told: dict[str, Verdict | None] = {}
    for case_id, body in connection.execute(query.order_by(verdicts.c.sequence)):
        parsed = parse_verdict(body.encode())
        told[case_id] = parsed if isinstance(parsed, Verdict) else None
    return {
        case_id: verdict
        for case_id, verdict in told.items()
        if verdict is None or verdict.said is not Said.UNDO
    }


def _is_to_come(verdict: Verdict | None, now_s: float) -> bool:
    """Return whether a verdict has an end that is still to come; without an end it never does."""
    if verdict is None:
        return True
    if not verdict.said.excuses:
        return False
    return verdict.ttl_s is None or verdict.ts_us / _MICROS + verdict.ttl_s > now_s


def _remember(connection: Connection, gone: Sequence[Row[Any]]) -> None:
    """Keep the time of the latest event of cases of sessions that go.

    A silence has no decision that could come again; its times may be those of the wall clock.
    Nor has a review.
    """
    ids = [row.case_id for row in gone]
    others = {
        *_having(connection, silences.c.case_id, ids),
        *_having(connection, reviews.c.case_id, ids),
    }
    known_us = mark(connection, REMOVED_UNTIL)
    latest_us = max((row.last_event_us for row in gone if row.case_id not in others), default=0)
    if latest_us > known_us:
        set_mark(connection, REMOVED_UNTIL, latest_us)


def _remove(connection: Connection, table: Table, ids: Sequence[str]) -> int:
    return connection.execute(delete(table).where(table.c.case_id.in_(ids))).rowcount


def _write_down(
    connection: Connection, rows: Mapping[str, int], terms: Terms, now_s: float
) -> None:
    told = ", ".join(f"{name} {count}" for name, count in rows.items() if count)
    since = clock.iso(int(terms.before_s * _MICROS))
    row = {
        "case_id": None,
        "at_s": now_s,
        "who": BY,
        "did": DID,
        "about": "",
        "note": f"closed and not changed since {since}: {told}",
    }
    numbering.number(connection, audit, [row])
    connection.execute(insert(audit), [row])
