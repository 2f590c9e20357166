"""Silences become rows: a case that opens, and closes when it is over, each of them once."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from astray.decide.decision import Level
from astray.decide.silence import Kind, Over, Silence
from astray.store import numbering
from astray.store.recording import chunked
from astray.store.schema import alerts, cases, silences

Render = Callable[[Silence], bytes]
"""Writes the alert of a silence that begins or ends; pure, for a transaction waits for it."""


def record_silences(
    connection: Connection, taken: Sequence[Silence], render: Render, now_s: float
) -> list[Silence]:
    """Write what is new of silences, an alert each; return it.

    The end of what nobody knows, or knows to have ended, changes nothing.
    """
    known = _known(connection, taken)
    fresh = [silence for silence in taken if _is_fresh(silence, known)]
    for silence in fresh:
        if silence.over is Over.NOT_YET:
            connection.execute(insert(cases).values(_case_row(silence, now_s)))
            connection.execute(insert(silences).values(_silence_row(silence)))
        else:
            _end(connection, silence, now_s)
    rows = [{"case_id": s.case, "recorded_s": now_s, "body": render(s)} for s in fresh]
    numbering.number(connection, alerts, rows)
    if rows:
        connection.execute(insert(alerts), rows)
    return fresh


def lasting(connection: Connection, kind: Kind) -> list[Silence]:
    """Return the silences of a kind that last, as far as the store knows them."""
    query = select(silences).where(silences.c.ended == Over.NOT_YET, silences.c.kind == kind)
    return [
        Silence(row.case_id, kind, "", row.name, row.last_us, row.last_us)
        for row in connection.execute(query)
    ]


def _known(connection: Connection, taken: Sequence[Silence]) -> dict[str, Over]:
    """Return how those that are recorded stand."""
    return {
        row.case_id: Over(row.ended)
        for keys in chunked({silence.case for silence in taken})
        for row in connection.execute(select(silences).where(silences.c.case_id.in_(keys)))
    }


def _is_fresh(silence: Silence, known: dict[str, Over]) -> bool:
    """Return whether a silence says something new, and take note of it."""
    before = known.get(silence.case)
    begins = silence.over is Over.NOT_YET
    fresh = before is None if begins else before is Over.NOT_YET
    if fresh:
        known[silence.case] = silence.over
    return fresh


def _case_row(silence: Silence, now_s: float) -> dict[str, Any]:
    return {
        "case_id": silence.case,
        "tenant": silence.tenant,
        "agent": silence.name if silence.kind is Kind.AGENT else "",
        "session": "",
        "principal": "",
        "level": Level.ALERT,
        "score": 0.0,
        "n": 0.0,
        "alerts": 1,
        "first_event_us": silence.last_us,
        "last_event_us": silence.ts_us,
        "opened_s": now_s,
        "updated_s": now_s,
    }


def _silence_row(silence: Silence) -> dict[str, Any]:
    return {
        "case_id": silence.case,
        "kind": silence.kind,
        "name": silence.name,
        "last_us": silence.last_us,
        "ended": Over.NOT_YET,
    }


def _end(connection: Connection, silence: Silence, now_s: float) -> None:
    ended = {"ended": silence.over, "ended_us": silence.ts_us}
    changed = {"alerts": 2, "last_event_us": silence.ts_us, "updated_s": now_s}
    connection.execute(update(silences).where(silences.c.case_id == silence.case).values(ended))
    connection.execute(update(cases).where(cases.c.case_id == silence.case).values(changed))
