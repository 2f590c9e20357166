"""Silences as OCSF 1.8.0 Detection Findings: created, and closed when they are over."""

from typing import Any

from astray.alerts.notice import CLOSE, CREATE, NEW, Notice
from astray.alerts.ocsf import MEDIUM
from astray.decide.silence import Kind, Over, Silence

BLINDNESS = "blindness"
"""What its findings call themselves under `unmapped.finding`."""

_RESOLVED, _ARCHIVED = 4, 5
_INFORMATIONAL, _HIGH = 1, 4
_STATUS = {Over.NOT_YET: NEW, Over.BACK: _RESOLVED, Over.FORGOTTEN: _ARCHIVED}


def silence_finding(silence: Silence) -> bytes:
    """Return the finding of a silence that begins or ends."""
    return Notice(
        kind=BLINDNESS,
        analytic="silence",
        about=silence,
        since_us=silence.last_us,
        activity=CREATE if silence.over is Over.NOT_YET else CLOSE,
        status=_STATUS[silence.over],
        severity=_severity(silence),
        agents=(silence.name,) if silence.kind is Kind.AGENT else (),
        evidences=() if silence.kind is Kind.AGENT else (_evidence(silence),),
        more=_more(silence),
    ).finding()


def _severity(silence: Silence) -> int:
    if silence.over is not Over.NOT_YET:
        return _INFORMATIONAL
    return MEDIUM if silence.kind in (Kind.AGENT, Kind.ACTION) else _HIGH


def _evidence(silence: Silence) -> dict[str, Any]:
    if silence.kind is Kind.ACTION:
        return {"api": {"operation": silence.name}}
    uids = silence.examples or (silence.name,)
    return {"resources": [{"uid": uid, "type": silence.kind} for uid in uids]}


def _more(silence: Silence) -> dict[str, Any]:
    return {
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
