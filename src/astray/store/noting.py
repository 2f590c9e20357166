"""What astray itself writes into the audit: sessions that have left quarantine, each once."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, or_, select

from astray.decide.leaving import Left
from astray.store import numbering
from astray.store.delivering import ROWS_MAX
from astray.store.judging import Act
from astray.store.recording import chunked
from astray.store.schema import audit, cases

BY: Final = "astray"
LEARN: Final = "learn"
"""How the audit calls what is done here, and by whom."""

NOTES_MAX: Final = 200
"""Notes removed in one transaction."""


def record_left(connection: Connection, left: Sequence[Left], now_s: float) -> int:
    """Write down which sessions have left quarantine, with the cases they have; each once.

    Returns how many were new.
    """
    distinct = {one.id: one for one in left}
    known, ids = set[str](), set[str]()
    for keys in chunked({one.case for one in left}):
        ours = or_(audit.c.case_id.in_(keys), audit.c.case_id.is_(None))
        told = select(audit.c.about).where(ours, audit.c.did == LEARN)
        known |= distinct.keys() & set(connection.scalars(told))
        ids |= set(connection.scalars(select(cases.c.case_id).where(cases.c.case_id.in_(keys))))
    fresh = [one for name, one in distinct.items() if name not in known]
    rows = [_row(one, one.case if one.case in ids else None, now_s) for one in fresh]
    numbering.number(connection, audit, rows)
    if rows:
        connection.execute(insert(audit), rows)
    return len(rows)


def _row(left: Left, case_id: str | None, now_s: float) -> dict[str, Any]:
    return {
        "case_id": case_id,
        "at_s": now_s,
        "who": BY,
        "did": LEARN,
        "about": left.id,
        "note": left.sentence,
    }


def learnt(connection: Connection, limit: int) -> list[Act]:
    """Return what the audit says of sessions that have left quarantine, the latest first."""
    query = select(audit).where(audit.c.did == LEARN, audit.c.who == BY)
    rows = connection.execute(query.order_by(audit.c.sequence.desc()).limit(min(limit, ROWS_MAX)))
    return [Act(row.case_id or "", row.at_s, row.who, row.did, row.note, row.about) for row in rows]


def remove_notes(connection: Connection, before_s: float) -> int:
    """Remove the oldest notes that have no case with which they would go; return how many."""
    ours = (audit.c.case_id.is_(None), audit.c.did == LEARN, audit.c.at_s < before_s)
    query = select(audit.c.sequence).where(*ours).order_by(audit.c.sequence).limit(NOTES_MAX)
    gone = list(connection.scalars(query))
    if gone:
        connection.execute(delete(audit).where(audit.c.sequence.in_(gone)))
    return len(gone)
