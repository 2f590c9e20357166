"""Reviews become rows: a case and an alert each, once; nothing of it is ever sent or undone."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, insert, select

from astray.decide.decision import Level
from astray.decide.review import Review
from astray.store import numbering
from astray.store.recording import chunked
from astray.store.schema import alerts, cases, reviews

Render = Callable[[Review], bytes]
"""Writes the alert of a review; pure, for a transaction waits for it."""


def record_reviews(
    connection: Connection, taken: Sequence[Review], render: Render, now_s: float
) -> list[Review]:
    """Write what is new of reviews, a case and an alert each; return it."""
    distinct = {review.case: review for review in taken}
    known = {
        case
        for keys in chunked(distinct)
        for case in connection.scalars(select(reviews.c.case_id).where(reviews.c.case_id.in_(keys)))
    }
    fresh = [review for case, review in distinct.items() if case not in known]
    if not fresh:
        return []
    told = [{"case_id": r.case, "recorded_s": now_s, "body": render(r)} for r in fresh]
    numbering.number(connection, alerts, told)
    connection.execute(insert(cases), [_case_row(review, now_s) for review in fresh])
    bodies = [{"case_id": r.case, "body": orjson.dumps(r).decode()} for r in fresh]
    connection.execute(insert(reviews), bodies)
    connection.execute(insert(alerts), told)
    return fresh


def review_of(connection: Connection, case_id: str) -> Review | None:
    """Return what a case asks to review, or None where it does not."""
    body = connection.scalar(select(reviews.c.body).where(reviews.c.case_id == case_id))
    return None if body is None else Review.of(orjson.loads(body))


def _case_row(review: Review, now_s: float) -> dict[str, Any]:
    return {
        "case_id": review.case,
        "tenant": review.tenant,
        "agent": review.agent,
        "session": "",
        "principal": "",
        "level": Level.ALERT,
        "score": 0.0,
        "n": 0.0,
        "alerts": 1,
        "first_event_us": review.since_us,
        "last_event_us": review.ts_us,
        "opened_s": now_s,
        "updated_s": now_s,
    }
