"""A verdict: what a person says of a case, in one line of JSON that others can write, too.

    {"type":"astray.verdict","ts":"2026-11-22T02:10:00Z","alert_id":"case_6e68c33234525943",
     "verdict_id":1,"verdict":"False Positive","analyst":"kim@example.com","scope":"agent",
     "comment":"new reporting job","ttl":"P30D"}

Numbers and names of verdicts are OCSF's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from astray.decide.decision import chained
from astray.events import clock

TYPE: Final = "astray.verdict"
TEXT_BYTES_MAX: Final = 1024
TTL_MAX_S: Final = 3650 * 86_400

_DAY_S: Final = 86_400
_UNITS_S: Final = (7 * _DAY_S, _DAY_S, 3600, 60, 1)
_TTL: Final = re.compile(
    r"P(?:(\d{1,6})W)?(?:(\d{1,6})D)?(?:T(?=\d)(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,9})S)?)?"
)
CASE_ID: Final = re.compile(r"case_[0-9a-f]{16}")


class Said(StrEnum):
    """What is said of a case; an undoing takes back what was said before.

    A benign change was rightly told, as it is odd, and is to be normal from now on: a release, a
    new role. Baselines take it as a false positive; whoever counts false alarms does not.
    """

    TRUE_POSITIVE = "true_positive"
    FALSE_POSITIVE = "false_positive"
    BENIGN_CHANGE = "benign_change"
    UNDO = "undo"

    @property
    def excuses(self) -> bool:
        """Return whether what was new in the session is to be new no more."""
        return self in (Said.FALSE_POSITIVE, Said.BENIGN_CHANGE)


class Scope(StrEnum):
    """Whose behaviour is excused: the agent's, or that of its whole group."""

    AGENT = "agent"
    GROUP = "group"


_OCSF: Final = {
    Said.FALSE_POSITIVE: (1, "False Positive"),
    Said.TRUE_POSITIVE: (2, "True Positive"),
    Said.BENIGN_CHANGE: (5, "Benign"),
    Said.UNDO: (99, "Undo"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict about a case; equal ids are the same verdict.

    Only what excuses has a scope, and may have an end (`ttl_s`, seconds from `ts_us` on).
    Only an undoing has `undoes`: the id of the verdict that it takes back.
    """

    case: str
    said: Said
    who: str
    ts_us: int
    note: str = ""
    scope: Scope | None = None
    ttl_s: int | None = None
    undoes: str = ""

    @property
    def id(self) -> str:
        """The id: the same whenever and wherever the verdict is read."""
        scope, ttl = self.scope or "", "" if self.ttl_s is None else f"{self.ttl_s}"
        told = (self.case, self.said, self.who, f"{self.ts_us}", self.note, scope, ttl, self.undoes)
        return f"ver_{chained(*told):016x}"

    def as_dict(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return the verdict as JSON-ready values, with what is known of the case."""
        number, name = _OCSF[self.said]
        return {
            "type": TYPE,
            "id": self.id,
            "ts": clock.iso_exact(self.ts_us),
            "alert_id": self.case,
            "verdict_id": number,
            "verdict": name,
            "analyst": self.who,
            "scope": self.scope,
            "comment": self.note,
            "ttl": None if self.ttl_s is None else ttl_text(self.ttl_s),
            "undoes": self.undoes or None,
            **about,
        }


def ttl_text(seconds: int) -> str:
    """Return a time span as ISO 8601 has it.

    >>> ttl_text(30 * 86400), ttl_text(5400)
    ('P30D', 'PT5400S')
    """
    days, rest = divmod(seconds, _DAY_S)
    return f"PT{seconds}S" if rest or not days else f"P{days}D"


def ttl_of(text: str) -> int | None:
    """Return the seconds of a time span, or None when it is none, or of no use.

    >>> ttl_of("P30D"), ttl_of("P1DT12H"), ttl_of("P0D"), ttl_of("P1M")
    (2592000, 129600, None, None)
    """
    found = _TTL.fullmatch(text)
    if found is None:
        return None
    parts = zip(found.groups("0"), _UNITS_S, strict=True)
    seconds = sum(int(count) * unit_s for count, unit_s in parts)
    return seconds if 0 < seconds <= TTL_MAX_S else None


def parse_verdict(line: bytes) -> Verdict | str:
    """Return the verdict in a line of JSON, or what is wrong with it; never raises."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return "not JSON"
    if not isinstance(record, dict):
        return "not an object"
    return _text_problem(record) or _problem(record) or _verdict(record)


def _text_problem(record: Mapping[str, Any]) -> str:
    """Return which text of an object keeps it from being a verdict, or nothing."""
    if record.get("type") != TYPE:
        return f"type is not {TYPE}"
    for key in ("alert_id", "analyst", "ts"):
        if not isinstance(record.get(key), str) or not record[key]:
            return f"{key} is not a text"
    for key in ("comment", "scope", "ttl", "undoes"):
        if not isinstance(record.get(key), str | None):
            return f"{key} is neither a text nor null"
    for key in ("analyst", "comment", "undoes"):
        if len((record.get(key) or "").encode(errors="replace")) > TEXT_BYTES_MAX:
            return f"{key} has more than {TEXT_BYTES_MAX} bytes"
    if not CASE_ID.fullmatch(record["alert_id"]):
        return "alert_id is not the id of a case"
    return "" if clock.iso_us(record["ts"]) is not None else "ts is not a time"


def _problem(record: Mapping[str, Any]) -> str:
    """Return what else keeps an object from being a verdict, or nothing."""
    said = _said(record.get("verdict_id"))
    scope, ttl = record.get("scope"), record.get("ttl")
    if said is None:
        known = ", ".join(f"{number} ({name})" for number, name in _OCSF.values())
        return f"verdict_id is none of {known}"
    if not said.excuses and (scope is not None or ttl is not None):
        return "scope and ttl are of false positives and benign changes only"
    if scope is not None and scope not in list(Scope):
        return "scope is neither agent nor group"
    if ttl is not None and ttl_of(ttl) is None:
        return "ttl is not a time span like P30D, of ten years at most"
    if (said is Said.UNDO) != bool(record.get("undoes")):
        return "undoes is the id of a verdict where verdict_id is 99, and null elsewhere"
    return ""


def _verdict(record: Mapping[str, Any]) -> Verdict:
    said = _said(record["verdict_id"])
    assert said is not None  # noqa: S101 - it has been looked at before
    ttl, scope = record.get("ttl"), record.get("scope")
    if said.excuses:
        scope = scope or Scope.AGENT
    return Verdict(
        case=record["alert_id"],
        said=said,
        who=record["analyst"],
        ts_us=clock.iso_us(record["ts"]) or 0,
        note=record.get("comment") or "",
        scope=None if scope is None else Scope(scope),
        ttl_s=None if ttl is None else ttl_of(ttl),
        undoes=record.get("undoes") or "",
    )


def _said(number: object) -> Said | None:
    if isinstance(number, bool):
        return None
    return next((said for said, (known, _) in _OCSF.items() if known == number), None)
