"""One line, read carefully: any bytes give an `Event` or a `Reject`.

This is the reference for what an event is. The compiled scanner (`scan`) reads the plain
form of a line much faster and hands every line it is not sure of to this module, so the
two must agree; a property test holds them together.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from astray.events import clock
from astray.events.schema import (
    COUNT_MAX,
    DEPTH_MAX,
    EVENT_BYTES_MAX,
    FUTURE_US_MAX,
    KINDS,
    OUTCOMES,
    RESOURCES_MAX,
    TEXT_BYTES_MAX,
    Event,
    Reason,
    Reject,
)

ANY_TIME_US = 2**62
"""A `now_us` that no time is after."""

_BOM = b"\xef\xbb\xbf"
_TEXTS = ("session", "source", "principal", "target_agent", "tenant", "group", "event_id")


class EventNames(NamedTuple):
    """The names of an event; those it need not have are empty then."""

    agent: str
    action: str
    tenant: str
    session: str


class _RefusedError(Exception):
    """Carries the reason and the key from a check up to `parse_line`, never further."""

    def __init__(self, reason: Reason, key: str = "") -> None:
        self.reason = reason
        self.key = key


def parse_line(raw: bytes, now_us: int, offset: int = 0) -> Event | Reject:
    """Return the event in one line, or why it is none; never raises."""
    try:
        return _event(raw, now_us)
    except _RefusedError as refused:
        return Reject(refused.reason, refused.key, offset, raw)


def known_event(line: bytes) -> Event:
    """Return the event of a line that has become one before."""
    event = parse_line(line, ANY_TIME_US)
    assert isinstance(event, Event)  # noqa: S101 - the line has been decoded before
    return event


def known_names(line: bytes) -> EventNames:
    """Return who did what in a line that has become an event before; ten times as fast."""
    record = orjson.loads(line.removeprefix(_BOM))
    texts = (record.get(name) or "" for name in ("tenant", "session"))
    return EventNames(record["agent"], record["action"], *texts)


def _event(raw: bytes, now_us: int) -> Event:
    if len(raw) > EVENT_BYTES_MAX:
        raise _RefusedError(Reason.OVERSIZED)
    try:
        record = orjson.loads(raw.removeprefix(_BOM))
    except orjson.JSONDecodeError:
        raise _RefusedError(Reason.NOT_JSON) from None
    if not isinstance(record, dict):
        raise _RefusedError(Reason.NOT_OBJECT)
    return event_of(record, now_us)


def event_of(record: Mapping[str, Any], now_us: int) -> Event:
    """Return the event in a decoded native record; a refusal is raised to `parse_line`."""
    texts = {name: _text(record, name) for name in _TEXTS}
    return Event(
        ts_us=_time(record, now_us),
        agent=_required_text(record, "agent"),
        action=_required_text(record, "action"),
        resources=_resources(record),
        outcome=_choice(record, "outcome", OUTCOMES),
        kind=_choice(record, "kind", KINDS),
        bytes=_number(record, "bytes", 0),
        count=_number(record, "count", 1),
        delegation_depth=min(_number(record, "delegation_depth", 0), DEPTH_MAX),
        session_end=_flag(record, "session_end"),
        **texts,
    )


def _time(record: Mapping[str, Any], now_us: int) -> int:
    value = record.get("ts")
    if value is None:
        raise _RefusedError(Reason.MISSING_FIELD, "ts")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _RefusedError(Reason.WRONG_TYPE, "ts")
    ts_us = clock.iso_us(value) if isinstance(value, str) else clock.epoch_us(value)
    if ts_us is None:
        raise _RefusedError(Reason.BAD_TIME, "ts")
    if ts_us > now_us + FUTURE_US_MAX:
        raise _RefusedError(Reason.FUTURE_TIME, "ts")
    return ts_us


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return "" if value is None else _checked_text(value, name)


def _required_text(record: Mapping[str, Any], name: str) -> str:
    text = _text(record, name)
    if not text:
        raise _RefusedError(Reason.MISSING_FIELD, name)
    return text


def _checked_text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _RefusedError(Reason.WRONG_TYPE, name)
    # A character is at least one byte, so only texts near the limit are encoded.
    if len(value) * 4 > TEXT_BYTES_MAX and len(value.encode()) > TEXT_BYTES_MAX:
        raise _RefusedError(Reason.TOO_LONG, name)
    return value


def _resources(record: Mapping[str, Any]) -> tuple[str, ...]:
    single = _text(record, "resource")
    several = record.get("resources")
    if several is None:
        several = []
    if not isinstance(several, list):
        raise _RefusedError(Reason.WRONG_TYPE, "resources")
    texts = [single, *(_checked_text(value, "resources") for value in several)]
    found = tuple(text for text in texts if text)
    if len(found) > RESOURCES_MAX:
        raise _RefusedError(Reason.TOO_MANY_RESOURCES, "resources")
    return found


def _choice(record: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> str:
    value = _text(record, name)
    if value and value not in choices:
        raise _RefusedError(Reason.BAD_VALUE, name)
    return value or choices[0]


def _number(record: Mapping[str, Any], name: str, absent: int) -> int:
    value = record.get(name)
    if value is None:
        return absent
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _RefusedError(Reason.WRONG_TYPE, name)
    if not 0 <= value <= COUNT_MAX or value != int(value):
        raise _RefusedError(Reason.BAD_NUMBER, name)
    return int(value)


def _flag(record: Mapping[str, Any], name: str) -> bool:
    value = record.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _RefusedError(Reason.WRONG_TYPE, name)
    return value


def encode_event(event: Event) -> bytes:
    """Return the event as one native line without the line break; `parse_line` inverts it."""
    record: dict[str, Any] = {"ts": clock.iso_exact(event.ts_us)}
    record |= {"agent": event.agent, "action": event.action}
    record |= {name: text for name in _TEXTS if (text := getattr(event, name))}
    if event.resources:
        record["resources"] = event.resources
    if event.outcome != OUTCOMES[0]:
        record["outcome"] = event.outcome
    if event.kind != KINDS[0]:
        record["kind"] = event.kind
    if event.bytes:
        record["bytes"] = event.bytes
    if event.count != 1:
        record["count"] = event.count
    if event.delegation_depth:
        record["delegation_depth"] = event.delegation_depth
    if event.session_end:
        record["session_end"] = True
    return orjson.dumps(record)
