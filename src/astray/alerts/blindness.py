"""Silences as OCSF 1.8.0 Detection Findings: created, and closed when they are over."""

from typing import Any

import orjson

from astray.alerts.ocsf import (
    CATEGORY,
    CLASS,
    MEDIUM,
    PRODUCT,
    SCHEMA,
    SERVICE_USER,
    USER_UID,
)
from astray.decide.silence import Kind, Over, Silence

BLINDNESS = "blindness"
"""What its findings call themselves under `unmapped.finding`."""

_CREATE, _CLOSE = 1, 3
_NEW, _RESOLVED, _ARCHIVED = 1, 4, 5
_INFORMATIONAL, _HIGH = 1, 4
_STATISTICAL = 3
_STATUS = {Over.NOT_YET: _NEW, Over.BACK: _RESOLVED, Over.FORGOTTEN: _ARCHIVED}


def silence_finding(silence: Silence) -> bytes:
    """Return the finding of a silence that begins or ends; it never asks for a suspension."""
    begins = silence.over is Over.NOT_YET
    activity = _CREATE if begins else _CLOSE
    return orjson.dumps(
        {
            "category_uid": CATEGORY,
            "class_uid": CLASS,
            "activity_id": activity,
            "type_uid": CLASS * 100 + activity,
            "time": silence.ts_us // 1000,
            "start_time": silence.last_us // 1000,
            "severity_id": _severity(silence),
            "status_id": _STATUS[silence.over],
            "is_alert": begins,
            "message": silence.sentence,
            "metadata": {"version": SCHEMA, "uid": silence.id, "product": PRODUCT},
            "finding_info": {
                "uid": silence.case,
                "title": silence.title,
                "desc": silence.sentence,
                "analytic": {"uid": BLINDNESS, "name": "silence", "type_id": _STATISTICAL},
                "types": [BLINDNESS],
            },
            "evidences": [_evidence(silence)],
            "observables": list(_observables(silence)),
            "unmapped": _unmapped(silence),
        }
    )


def _severity(silence: Silence) -> int:
    if silence.over is not Over.NOT_YET:
        return _INFORMATIONAL
    return MEDIUM if silence.kind in (Kind.AGENT, Kind.ACTION) else _HIGH


def _evidence(silence: Silence) -> dict[str, Any]:
    if silence.kind is Kind.AGENT:
        name = silence.name
        user = {"uid": name, "type_id": SERVICE_USER}
        return {"actor": {"app_uid": name, "app_name": name, "user": user}}
    if silence.kind is Kind.ACTION:
        return {"api": {"operation": silence.name}}
    uids = silence.examples or (silence.name,)
    return {"resources": [{"uid": uid, "type": silence.kind} for uid in uids]}


def _observables(silence: Silence) -> list[dict[str, Any]]:
    if silence.kind is not Kind.AGENT:
        return []
    name = "evidences[].actor.user.uid"
    return [{"name": name, "type_id": USER_UID, "value": silence.name}]


def _unmapped(silence: Silence) -> dict[str, Any]:
    return {
        "finding": BLINDNESS,
        "kind": silence.kind,
        "tenant": silence.tenant,
        "name": silence.name,
        **({"agent": silence.name} if silence.kind is Kind.AGENT else {}),
        "last_us": silence.last_us,
        "over": silence.over,
        "waited": round(silence.waited, 2),
        "usual": round(silence.usual, 2),
        "limit": round(silence.limit, 2),
        "pauses": silence.pauses,
        "count": silence.count,
        "examples": silence.examples,
    }
