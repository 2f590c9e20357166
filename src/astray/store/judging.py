"""What people do to cases: verdicts, approvals and releases, each with its line in the audit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import orjson
from sqlalchemy import Connection, RowMapping, insert, select, update

from astray.decide.decision import Decision, Level, Mode, Withheld, decision_id
from astray.decide.effect import TAKES_EFFECT
from astray.decide.verdict import Said, Verdict
from astray.events import clock
from astray.store import numbering
from astray.store.delivering import ROWS_MAX, WITHDRAWN
from astray.store.outgoing import Outbox, Undoing
from astray.store.recording import record_approved
from astray.store.schema import (
    DeliveryState,
    SuspensionState,
    audit,
    cases,
    decisions,
    deliveries,
    reviews,
    silences,
    suspensions,
    verdicts,
)

IN_FLIGHT_S: Final = 15.0
"""So long a suspension may still be on its way after nobody is to try it any more; a release
that follows must not overtake it."""


class Outcome(StrEnum):
    """What became of something that a person wanted done to a case."""

    DONE = "done"
    KNOWN = "known"
    NO_CASE = "no_case"
    NO_SESSION = "no_session"
    IN_FORCE = "in_force"
    NOT_IN_FORCE = "not_in_force"
    SUSPENDED = "suspended"
    NOT_SUSPENDED = "not_suspended"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Act:
    """A line of the audit; `about` is the id of the decision or verdict that came of it."""

    case_id: str
    at_s: float
    who: str
    did: str
    note: str = ""
    about: str = ""


def judge(connection: Connection, verdict: Verdict, now_s: float) -> Outcome:
    """Write a verdict, unless it is known; a case has one in force at a time."""
    case, problem = _case(connection, verdict.case)
    if case is None:
        return problem
    known = select(verdicts.c.sequence).where(verdicts.c.verdict_id == verdict.id)
    if connection.scalar(known) is not None:
        return Outcome.KNOWN
    present = in_force(verdicts_of(connection, verdict.case))
    if verdict.said is Said.UNDO and (not present or verdict.undoes != present):
        return Outcome.NOT_IN_FORCE
    if verdict.said is not Said.UNDO and present:
        return Outcome.IN_FORCE
    body = orjson.dumps(verdict.as_dict(_about(connection, case))).decode()
    row = {
        "verdict_id": verdict.id,
        "case_id": verdict.case,
        "recorded_s": now_s,
        "body": body,
    }
    numbering.number(connection, verdicts, [row])
    connection.execute(insert(verdicts), [row])
    told = Act(verdict.case, now_s, verdict.who, verdict.said, verdict.note, verdict.id)
    _write_down(connection, told)
    return Outcome.DONE


def approve(connection: Connection, act: Act, outbox: Outbox) -> Outcome:
    """Have the session of a case suspended, as its last decision would have had it."""
    case, problem = _case(connection, act.case_id)
    if case is None:
        return problem
    if _is_written_down(connection, act):
        return Outcome.DONE
    if _suspension(connection, act.case_id) is not None:
        return Outcome.SUSPENDED
    approved = _suspending(_last_decision(connection, act.case_id))
    record_approved(connection, approved, outbox, act.at_s)
    _write_down(connection, replace(act, about=approved.id))
    return Outcome.DONE


def release(connection: Connection, act: Act, undoing: Undoing) -> Outcome:
    """Take a suspension back: nobody is asked for it any more, and those who were are told."""
    case, problem = _case(connection, act.case_id)
    if case is None:
        return problem
    if _is_written_down(connection, act):
        return Outcome.DONE
    suspension = _suspension(connection, act.case_id)
    if suspension is None:
        return Outcome.NOT_SUSPENDED
    if suspension["state"] == SuspensionState.RELEASED:
        return Outcome.RELEASED
    decision = _decision(connection, suspension["decision_id"])
    _resume(connection, act, decision, undoing)
    _write_down(connection, replace(act, about=decision.id))
    return Outcome.DONE


def _resume(connection: Connection, act: Act, decision: Decision, undoing: Undoing) -> None:
    ours = deliveries.c.case_id == act.case_id
    asked = set(connection.scalars(select(deliveries.c.endpoint).where(ours)))
    withdrawn = connection.execute(
        update(deliveries)
        .where(ours, deliveries.c.state == DeliveryState.PENDING)
        .values(state=DeliveryState.EXPIRED, last_error=WITHDRAWN)
    ).rowcount
    rows = [
        {
            "webhook_id": outgoing.webhook_id,
            "case_id": act.case_id,
            "endpoint": outgoing.endpoint,
            "body": outgoing.body,
            "state": DeliveryState.PENDING,
            "created_s": act.at_s,
            "expires_s": outgoing.expires_s,
            "next_attempt_s": act.at_s + (IN_FLIGHT_S if withdrawn else 0.0),
            "attempts": 0,
            "last_error": "",
        }
        for outgoing in undoing.resumptions(decision, act.who, act.note, act.at_s)
        if outgoing.endpoint in asked
    ]
    if rows:
        connection.execute(insert(deliveries), rows)
    released = {"state": SuspensionState.RELEASED, "settled_s": act.at_s}
    connection.execute(
        update(suspensions).where(suspensions.c.case_id == act.case_id).values(released)
    )


def verdicts_after(connection: Connection, sequence: int, limit: int) -> list[tuple[int, bytes]]:
    """Return the verdicts recorded after the one of that number, in order, as JSON."""
    query = (
        select(verdicts.c.sequence, verdicts.c.body)
        .where(verdicts.c.sequence > sequence)
        .order_by(verdicts.c.sequence)
        .limit(min(limit, ROWS_MAX))
    )
    return [(row.sequence, row.body.encode()) for row in connection.execute(query)]


def place_verdict(connection: Connection, verdict_id: str, at_us: int) -> int:
    """Write down when a verdict takes effect, unless that is known; return when it does."""
    ours = verdicts.c.verdict_id == verdict_id
    body = connection.scalar(select(verdicts.c.body).where(ours))
    told = orjson.loads(body) if body is not None else {}
    known_us = clock.iso_us(told[TAKES_EFFECT]) if TAKES_EFFECT in told else None
    if known_us is not None:
        return known_us
    told[TAKES_EFFECT] = clock.iso_exact(at_us)
    changed = {"body": orjson.dumps(told).decode()}
    connection.execute(update(verdicts).where(ours).values(changed))
    return at_us


def verdicts_of(connection: Connection, case_id: str) -> list[dict[str, Any]]:
    """Return the verdicts about a case, in order; the last is in force, unless it undoes one."""
    query = select(verdicts.c.body).where(verdicts.c.case_id == case_id)
    bodies = connection.scalars(query.order_by(verdicts.c.sequence).limit(ROWS_MAX))
    return [orjson.loads(body) for body in bodies]


def acts_of(connection: Connection, case_id: str) -> list[Act]:
    """Return what people did to a case, in order."""
    query = select(audit).where(audit.c.case_id == case_id)
    rows = connection.execute(query.order_by(audit.c.sequence).limit(ROWS_MAX)).mappings()
    return [Act(**{name: row[name] for name in Act.__slots__}) for row in rows]


def in_force(told: list[dict[str, Any]]) -> str:
    """Return the id of the verdict that is in force, of those about a case; empty: none is."""
    if not told or told[-1]["undoes"] is not None:
        return ""
    return str(told[-1]["id"])


def _case(connection: Connection, case_id: str) -> tuple[RowMapping | None, Outcome]:
    """Return the case of a session, or why there is none."""
    is_review = reviews.c.case_id.is_not(None).label("is_review")
    query = (
        select(cases, silences.c.kind, is_review)
        .outerjoin(silences, cases.c.case_id == silences.c.case_id)
        .outerjoin(reviews, cases.c.case_id == reviews.c.case_id)
    )
    row = connection.execute(query.where(cases.c.case_id == case_id)).mappings().first()
    if row is None:
        return None, Outcome.NO_CASE
    has_session = row["kind"] is None and not row["is_review"]
    return (row, Outcome.DONE) if has_session else (None, Outcome.NO_SESSION)


def _about(connection: Connection, case: RowMapping) -> Mapping[str, Any]:
    """Return what whoever acts on a verdict has to know of its case."""
    decision = _last_decision(connection, case["case_id"])
    return {
        "tenant": decision.tenant,
        "agent": decision.agent,
        "group": decision.group,
        "session": decision.session,
        "first_event": clock.iso_exact(case["first_event_us"]),
        "last_event": clock.iso_exact(case["last_event_us"]),
    }


def _last_decision(connection: Connection, case_id: str) -> Decision:
    query = select(decisions.c.body).where(decisions.c.case_id == case_id)
    body = connection.scalars(query.order_by(decisions.c.sequence.desc()).limit(1)).one()
    return Decision.of(orjson.loads(body))


def _decision(connection: Connection, known: str) -> Decision:
    body = connection.scalars(select(decisions.c.body).where(decisions.c.decision_id == known))
    return Decision.of(orjson.loads(body.one()))


def _suspending(decision: Decision) -> Decision:
    """Return a decision as one that suspends."""
    of = (decision.tenant, decision.agent, decision.session, decision.policy)
    level = Level.SUSPEND
    return replace(
        decision,
        id=decision_id(*of, level),
        level=level,
        withheld=Withheld.NOTHING,
        mode=Mode.ENFORCE,
    )


def _suspension(connection: Connection, case_id: str) -> RowMapping | None:
    query = select(suspensions).where(suspensions.c.case_id == case_id)
    return connection.execute(query).mappings().first()


def _is_written_down(connection: Connection, act: Act) -> bool:
    """Return whether this has been done: a connection may break after the commit."""
    query = select(audit.c.sequence).where(
        audit.c.case_id == act.case_id,
        audit.c.at_s == act.at_s,
        audit.c.who == act.who,
        audit.c.did == act.did,
    )
    return connection.scalar(query) is not None


def _write_down(connection: Connection, act: Act) -> None:
    row = {name: getattr(act, name) for name in Act.__slots__}
    numbering.number(connection, audit, [row])
    connection.execute(insert(audit), [row])
    changed = {"updated_s": act.at_s}
    connection.execute(update(cases).where(cases.c.case_id == act.case_id).values(changed))
