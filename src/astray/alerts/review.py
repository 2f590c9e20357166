"""Reviews as OCSF 1.8.0 Detection Findings: created, for a person to look at whom it is about."""

from typing import Any

from astray.alerts.notice import Notice
from astray.decide.review import Review

REVIEW, FLOOD = "review", "flood"
"""What its findings call themselves under `unmapped.finding`."""


def review_finding(review: Review) -> bytes:
    """Return the finding of a review."""
    if review.is_flood:
        return _flood_finding(review)
    return Notice(
        kind=REVIEW,
        analytic="Shiryaev-Roberts",
        about=review,
        since_us=review.since_us,
        agents=review.examples or (review.agent,),
        more=_more(review),
    ).finding()


def _flood_finding(review: Review) -> bytes:
    resources = [{"resources": [{"uid": review.resource}]}] if review.resource else []
    return Notice(
        kind=FLOOD,
        analytic="Distinct agents per window",
        about=review,
        since_us=review.since_us,
        agents=review.examples,
        evidences=[{"api": {"operation": review.action}}, *resources],
        more={
            "tenant": review.tenant,
            "since_us": review.since_us,
            "count": review.count,
            "usual": review.usual,
            "examples": review.examples,
            "action": review.action,
            **({"resource": review.resource} if review.resource else {}),
        },
    ).finding()


def _more(review: Review) -> dict[str, Any]:
    return {
        "tenant": review.tenant,
        **({"agent": review.agent} if review.agent else {}),
        "since_us": review.since_us,
        "sessions": review.sessions,
        "past": review.past,
        "one_in_after": round(review.after, 1),
        "one_in_before": round(review.before, 1),
        "is_sudden": review.is_sudden,
        "false_one_in": round(review.one_in),
        "count": review.count,
        "examples": review.examples,
    }
