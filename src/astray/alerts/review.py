"""Reviews as OCSF 1.8.0 Detection Findings: created, for a person to look at the agent."""

from typing import Any

import orjson

from astray.alerts.ocsf import CATEGORY, CLASS, MEDIUM, PRODUCT, SCHEMA, SERVICE_USER, USER_UID
from astray.decide.review import Review

REVIEW = "review"
"""What its findings call themselves under `unmapped.finding`."""

_CREATE, _NEW = 1, 1
_STATISTICAL = 3


def review_finding(review: Review) -> bytes:
    """Return the finding of a review; it never asks for a suspension."""
    return orjson.dumps(
        {
            "category_uid": CATEGORY,
            "class_uid": CLASS,
            "activity_id": _CREATE,
            "type_uid": CLASS * 100 + _CREATE,
            "time": review.ts_us // 1000,
            "start_time": review.since_us // 1000,
            "severity_id": MEDIUM,
            "status_id": _NEW,
            "is_alert": True,
            "message": review.sentence,
            "metadata": {"version": SCHEMA, "uid": review.id, "product": PRODUCT},
            "finding_info": {
                "uid": review.case,
                "title": review.title,
                "desc": review.sentence,
                "analytic": {"uid": REVIEW, "name": "Shiryaev-Roberts", "type_id": _STATISTICAL},
                "types": [REVIEW],
            },
            "evidences": [_evidence(name) for name in review.examples or (review.agent,)],
            "observables": [
                {"name": "evidences[].actor.user.uid", "type_id": USER_UID, "value": name}
                for name in review.examples or (review.agent,)
            ],
            "unmapped": _unmapped(review),
        }
    )


def _evidence(name: str) -> dict[str, Any]:
    user = {"uid": name, "type_id": SERVICE_USER}
    return {"actor": {"app_uid": name, "app_name": name, "user": user}}


def _unmapped(review: Review) -> dict[str, Any]:
    return {
        "finding": REVIEW,
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
