"""Alerts as OCSF 1.8.0 Detection Findings (class 2004).

An AI agent is the actor of the evidence, never OCSF's `agent`, which is a sensor, and its
principal the user. What OCSF has no attribute for is under `unmapped`.
"""

from dataclasses import replace
from importlib.metadata import version
from typing import Any

import orjson

from astray.decide.decision import Decision, Evidence, Level, Withheld
from astray.decide.likeness import LIKENESSES
from astray.events.clock import iso_us

SCHEMA = "1.8.0"
CATEGORY, CLASS = 2, 2004
_CREATE, _UPDATE = 1, 2
_NEW, _IN_PROGRESS = 1, 2
_LOW, MEDIUM, _HIGH, _CRITICAL = 2, 3, 4, 5
_BEHAVIOURAL = 2
SERVICE_USER = 4
_RESOURCE_UID, USER_UID = 10, 31
PRODUCT = {"name": "astray", "vendor_name": "astray", "version": version("astray")}
_RESOURCE_CHANNELS = ("resource", "pair", "forbidden_resources")


FINDING_BYTES_MAX = 256 * 1024
"""Texts of events are bounded, and so is a finding; most receivers take this much in a line."""

_WHY_NOT = {
    Withheld.OBSERVE: "its policy only observes",
    Withheld.UNCERTIFIED: "the reference is too short to certify its score",
    Withheld.YOUNG: "the agent is too new to be judged by its score",
    Withheld.NEVER_SUSPEND: "its policy never suspends this agent",
    Withheld.BREAKER: "its policy allows no more suspensions in this hour",
    Withheld.PAST: "it lies in a past that is being read again",
}


def finding(decision: Decision, *, update: bool) -> bytes:
    """Return the finding of a case that is new or, with `update`, has become worse.

    What would make it longer than `FINDING_BYTES_MAX` is left out: the last of the evidence.
    """
    told = decision
    found = orjson.dumps(_finding(told, update=update))
    while len(found) > FINDING_BYTES_MAX and len(told.evidence) > 1:
        told = replace(told, evidence=told.evidence[:-1])
        found = orjson.dumps(_finding(told, update=update))
    return found


def _finding(decision: Decision, *, update: bool) -> dict[str, Any]:
    activity = _UPDATE if update else _CREATE
    return {
        "category_uid": CATEGORY,
        "class_uid": CLASS,
        "activity_id": activity,
        "type_uid": CLASS * 100 + activity,
        "time": decision.ts_us // 1000,
        "severity_id": _severity(decision),
        "status_id": _IN_PROGRESS if update else _NEW,
        "is_alert": True,
        "confidence_id": 3 if decision.certified else 2,
        "risk_score": round(decision.score),
        "risk_level_id": min(int(decision.score // 20), 4),
        "message": decision.sentence,
        "metadata": {"version": SCHEMA, "uid": decision.id, "product": PRODUCT},
        "finding_info": {
            "uid": decision.case,
            "title": _title(decision),
            "desc": decision.sentence,
            "analytic": {"uid": decision.model, "name": "session ranking", "type_id": _BEHAVIOURAL},
            "related_events": [{"uid": uid} for uid in _event_ids(decision)],
            **_attacks(decision),
        },
        "evidences": [_evidence(decision, reason) for reason in decision.evidence],
        "anomaly_analyses": [_analysis(decision)],
        "resources": [{"uid": item} for item in _resources(decision)],
        "observables": [
            {"name": "evidences[].actor.user.uid", "type_id": USER_UID, "value": decision.agent},
            *(
                {"name": "resources[].uid", "type_id": _RESOURCE_UID, "value": item}
                for item in _resources(decision)
            ),
        ],
        "unmapped": _unmapped(decision),
    }


def _attacks(decision: Decision) -> dict[str, Any]:
    like = LIKENESSES.get(decision.looks_like)
    if like is None:
        return {}
    techniques = (
        {"version": each.version, "technique": {"uid": each.uid, "name": each.name}}
        for each in like.techniques
    )
    return {"attacks": list(techniques)}


def _title(decision: Decision) -> str:
    if decision.level is Level.SUSPEND:
        return f"Session of {decision.agent} suspended"
    if decision.withheld is not Withheld.NOTHING:
        return f"Session of {decision.agent} not suspended: {_WHY_NOT[decision.withheld]}"
    return f"Session of {decision.agent} is unlike its baseline"


def _severity(decision: Decision) -> int:
    if decision.level is Level.SUSPEND:
        return _CRITICAL
    if decision.level is Level.WITHHELD:
        return _HIGH
    return MEDIUM if decision.certified else _LOW


def _event_ids(decision: Decision) -> list[str]:
    found = [event_id for reason in decision.evidence for event_id in reason.event_ids]
    return list(dict.fromkeys([*found, decision.event_id] if decision.event_id else found))


def _resources(decision: Decision) -> list[str]:
    found = [reason.item for reason in decision.evidence if reason.channel in _RESOURCE_CHANNELS]
    return list(dict.fromkeys(item for item in found if item))


def _actor(decision: Decision) -> dict[str, Any]:
    return {
        "app_uid": decision.agent,
        "app_name": decision.agent,
        "user": {"uid": decision.agent, "type_id": SERVICE_USER},
        "session": {"uid": decision.session},
    }


def _evidence(decision: Decision, reason: Evidence) -> dict[str, Any]:
    return {
        "actor": _actor(decision),
        **({"user": {"uid": decision.principal}} if decision.principal else {}),
        "data": {
            "sentence": reason.sentence,
            "channel": reason.channel,
            "item": reason.item,
            "level": reason.level,
            "seen": reason.seen,
            "usual": reason.usual,
            "bits": round(reason.bits, 2),
            "share": round(reason.share, 4),
            "event_ids": reason.event_ids,
        },
    }


def _analysis(decision: Decision) -> dict[str, Any]:
    def told(text: str) -> list[dict[str, str]]:
        return [{"value": text or "-"}]

    return {
        "analysis_targets": [{"name": decision.agent, "type": decision.kind}],
        "anomalies": [
            {"observation_parameter": reason.channel, "observations": told(reason.seen)}
            for reason in decision.evidence
        ],
        "baselines": [
            {"observation_parameter": reason.channel, "observations": told(reason.usual)}
            for reason in decision.evidence
        ],
    }


def _unmapped(decision: Decision) -> dict[str, Any]:
    names = (
        "tenant", "agent", "session", "principal", "group", "kind", "event_id", "level",
        "score", "n", "certified", "limit", "reason", "policy", "mode", "age_class",
        "model", "config",
    )  # fmt: skip
    unmapped = {name: getattr(decision, name) for name in names}
    if decision.withheld is not Withheld.NOTHING:
        unmapped["withheld"] = decision.withheld
    if decision.looks_like:
        unmapped["looks_like"] = decision.looks_like
        unmapped["owasp"] = LIKENESSES[decision.looks_like].owasp
    return unmapped


def undelivered(webhook_id: str, body: bytes, why: str) -> bytes:
    """Return the finding that a suspension, or its end, did not reach its receiver."""
    request = orjson.loads(body)
    what = "release" if request["type"].endswith(".resume") else "suspension"
    data = request["data"]
    agent, session = data["agent"]["id"], data["session"]["id"]
    title = f"{what.capitalize()} not delivered"
    message = f"The {what} of {agent}, session {session}, was not delivered: {why}"
    return orjson.dumps(
        {
            "category_uid": CATEGORY,
            "class_uid": CLASS,
            "activity_id": _UPDATE,
            "type_uid": CLASS * 100 + _UPDATE,
            "time": (iso_us(request["timestamp"]) or 0) // 1000,
            "severity_id": _CRITICAL,
            "status_id": _IN_PROGRESS,
            "is_alert": True,
            "message": message,
            "metadata": {"version": SCHEMA, "uid": webhook_id, "product": PRODUCT},
            "finding_info": {"uid": data["alert_id"], "title": title},
            "evidences": [{"actor": {"app_uid": agent, "session": {"uid": session}}}],
            "unmapped": {"webhook_id": webhook_id, "why": why},
        }
    )
