"""What a webhook says. The bodies are stable: the same decision gives the same bytes."""

from bisect import bisect_right
from typing import Any, Final

import orjson

from astray.decide.decision import Decision, Evidence
from astray.events.clock import iso

SUSPEND: Final = "astray.session.suspend"
RESUME: Final = "astray.session.resume"
PING: Final = "astray.test.ping"

BODY_BYTES_MAX: Final = 20_000
"""Standard Webhooks 1.0.0 asks for bodies under 20 kB."""

EVIDENCE_MAX: Final = 8
EVENT_IDS_MAX: Final = 8

# Bytes of JSON. A name of the longest event field (1 KiB) passes whole, unless more than
# half of it needs escaping; it must, for the receiver acts on names.
_NAME_BYTES_MAX: Final = 1536
_TERM_BYTES_MAX: Final = 256
_SENTENCE_BYTES_MAX: Final = 1024
_ELLIPSIS: Final = "…"


def suspend_body(decision: Decision, expires_s: float) -> bytes:
    """Return the request to suspend a session, void from `expires_s` (wall clock) on.

    It stays within `BODY_BYTES_MAX` whatever the decision holds: texts are cut with an
    ellipsis, and the last of the evidence is left out.
    """
    evidence = [_evidence(item) for item in decision.evidence[:EVIDENCE_MAX]]
    body = _suspend(decision, expires_s, evidence)
    while len(body) > BODY_BYTES_MAX:
        evidence.pop()  # without any it fits: the texts above are bounded
        body = _suspend(decision, expires_s, evidence)
    return body


def resume_body(decision: Decision, who: str, note: str, now_s: float, expires_s: float) -> bytes:
    """Return the request to let a suspended session go on, which a person has asked for."""
    data = {
        **_whose(decision),
        "released_by": _cut(who, _NAME_BYTES_MAX),
        "note": _cut(note, _SENTENCE_BYTES_MAX),
        "expires_at": _iso(expires_s),
    }
    return _body(RESUME, _iso(now_s), data)


def ping_body(now_s: float) -> bytes:
    """Return a body that asks for nothing: it shows that a receiver is reached and verifies."""
    return _body(PING, _iso(now_s), {"message": "astray reaches you; nothing is to be done"})


def _suspend(decision: Decision, expires_s: float, evidence: list[dict[str, Any]]) -> bytes:
    data = {
        **_whose(decision),
        "score": decision.score,
        "n": decision.n,
        "certified": decision.certified,
        "limit": decision.limit,
        "reason": _cut(decision.reason, _SENTENCE_BYTES_MAX),
        "policy": _cut(decision.policy, _TERM_BYTES_MAX),
        "looks_like": decision.looks_like,
        "evidence": evidence,
        "event_id": _cut(decision.event_id, _NAME_BYTES_MAX),
        "expires_at": _iso(expires_s),
        "undo": RESUME,
    }
    return _body(SUSPEND, iso(decision.ts_us), data)


def _whose(decision: Decision) -> dict[str, Any]:
    """Return whose session is meant, and which request about it this is."""
    return {
        "alert_id": _cut(decision.case, _TERM_BYTES_MAX),
        "decision_id": _cut(decision.id, _TERM_BYTES_MAX),
        "mode": decision.mode,
        "agent": {
            "id": _cut(decision.agent, _NAME_BYTES_MAX),
            "kind": _cut(decision.kind, _TERM_BYTES_MAX),
            "group": _cut(decision.group, _NAME_BYTES_MAX),
        },
        "session": {"id": _cut(decision.session, _NAME_BYTES_MAX)},
        "tenant": _cut(decision.tenant, _NAME_BYTES_MAX),
        "principal": _cut(decision.principal, _NAME_BYTES_MAX),
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "sentence": _cut(evidence.sentence, _SENTENCE_BYTES_MAX),
        "channel": _cut(evidence.channel, _TERM_BYTES_MAX),
        "item": _cut(evidence.item, _NAME_BYTES_MAX),
        "seen": _cut(evidence.seen, _TERM_BYTES_MAX),
        "usual": _cut(evidence.usual, _TERM_BYTES_MAX),
        "bits": evidence.bits,
        "event_ids": [_cut(name, _TERM_BYTES_MAX) for name in evidence.event_ids[:EVENT_IDS_MAX]],
    }


def _body(type_: str, timestamp: str, data: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": type_, "timestamp": timestamp, "data": data})


def _iso(time_s: float) -> str:
    return iso(round(time_s * 1_000_000))


def _cut(text: str, bytes_max: int) -> str:
    """Return the text, or as much of it as fits into `bytes_max` bytes of JSON, and an ellipsis."""
    if len(text) * 6 <= bytes_max or _json_bytes(text) <= bytes_max:  # 6: the longest escape
        return text
    room = bytes_max - _json_bytes(_ELLIPSIS)
    start = text[: room + 1]  # every character takes a byte at least
    kept = bisect_right(range(1, len(start) + 1), room, key=lambda end: _json_bytes(start[:end]))
    return start[:kept] + _ELLIPSIS


def _json_bytes(text: str) -> int:
    return len(orjson.dumps(text)) - 2  # without the quotation marks
