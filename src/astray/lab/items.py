"""From what a river model is given, a dict, to events.

A dict with an `agent` or an `action` is an event, with the keys and forms of the native one.
Any other is a sample of features: a session of its own, of one agent, whose features are the
resources it touches, numbers in steps of their spread; and how far all its numbers lie from
their means, squared and summed, is the size of what it moves.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import orjson

from astray.events import ANY_TIME_US, Event, Reject, parse_line
from astray.events.schema import RESOURCES_MAX, TEXT_BYTES_MAX

FEATURES_MAX = 1024
"""Features whose spread is known; of others it only counts whether they are there."""

NOBODY = "-"
BEGIN_US = 946_684_800_000_000
"""When the first event was that does not say it, and nothing before it does: 2000-01-01."""

_EARLIEST_US = 86_400_000_000  # what is before it is no time, but a number somebody counts by
_MICROS = 1_000_000
_STEPS_PER_SD = 2.0
_DISTANCE_MAX = 20.0
_SIZE = 1000.0
_NO_SPREAD = (0.0, 0.0, 0.0)
_LEARNT_MIN = 2
_KEYS = (
    "ts", "agent", "action", "session", "resource", "resources", "outcome", "source", "principal",
    "target_agent", "bytes", "count", "tenant", "group", "kind", "event_id", "session_end",
    "delegation_depth",
)  # fmt: skip


class Items:
    """Makes events of dicts; knows the time of the last one, and the spread of features."""

    def __init__(self, step_s: float) -> None:
        self._step_us = max(int(step_s * _MICROS), 1)
        self.last_us = BEGIN_US
        self._spreads: dict[str, list[float]] = {}  # count, mean, sum of squares from it

    def events_of(self, x: Mapping[Any, Any]) -> list[Event]:
        """Return the events of a dict, all of one session, and remember nothing of it."""
        if not any(isinstance(x.get(key), str) for key in ("agent", "action")):
            return self._sample(x)
        event = self._event(x)
        return [event if event.ts_us >= _EARLIEST_US else replace(event, ts_us=self._next_us())]

    def learn(self, x: Mapping[Any, Any], events: Sequence[Event]) -> None:
        """Remember when the events of a dict were, and how far its numbers spread."""
        self.last_us = max(self.last_us, events[-1].ts_us)
        if events[0].agent != NOBODY or events[0].action != NOBODY:
            return
        for name, value in x.items():
            number = _number(value)
            known = self._spreads.get(str(name))
            if number is None or (known is None and len(self._spreads) >= FEATURES_MAX):
                continue
            spread = self._spreads.setdefault(str(name), [0.0, 0.0, 0.0])
            spread[0] += 1.0
            step = number - spread[1]
            spread[1] += step / spread[0]
            spread[2] += step * (number - spread[1])

    def _event(self, x: Mapping[Any, Any]) -> Event:
        """Return the event of a dict; what cannot be read of it is as if it were not there."""
        record = {"agent": NOBODY, "action": NOBODY, "ts": self._next_us()}
        record |= {key: _plain(x[key]) for key in _KEYS if not _is_missing(x.get(key))}
        for _ in _KEYS:
            try:
                event = parse_line(orjson.dumps(record), ANY_TIME_US)
            except TypeError:  # a value that JSON has no form for
                record = {key: value for key, value in record.items() if _is_json(value)}
                event = parse_line(orjson.dumps(self._whole(record)), ANY_TIME_US)
            if isinstance(event, Event):
                return event
            record = self._whole(self._without(record, event))
        return Event(self._next_us(), NOBODY, NOBODY)

    def _whole(self, record: dict[str, Any]) -> dict[str, Any]:
        return {"agent": NOBODY, "action": NOBODY, "ts": self._next_us()} | record

    @staticmethod
    def _without(record: dict[str, Any], reject: Reject) -> dict[str, Any]:
        bad = {"resource", "resources"} if reject.key.startswith("resource") else {reject.key}
        return {key: value for key, value in record.items() if key not in bad}

    def _next_us(self) -> int:
        return self.last_us + self._step_us

    def _sample(self, x: Mapping[Any, Any]) -> list[Event]:
        texts = sorted(
            self._item(str(name), value) for name, value in x.items() if not _is_missing(value)
        )
        event = Event(self._next_us(), NOBODY, NOBODY)
        parts = [texts[at : at + RESOURCES_MAX] for at in range(0, len(texts), RESOURCES_MAX)]
        events = [replace(event, resources=tuple(part)) for part in parts or [[]]]
        size = round(
            _SIZE * sum(self._distance(str(name), value) ** 2 for name, value in x.items())
        )
        return [*events[:-1], replace(events[-1], bytes=size, session_end=True)]

    def _distance(self, name: str, value: Any) -> float:
        """Return how far a number lies from its mean, in standard deviations; 0: it is unknown."""
        number = _number(value)
        count, mean, squares = self._spreads.get(name, _NO_SPREAD)
        if number is None or count < _LEARNT_MIN or squares == 0.0:
            return 0.0
        distance = (number - mean) / math.sqrt(squares / count)
        return min(max(distance, -_DISTANCE_MAX), _DISTANCE_MAX)

    def _item(self, name: str, value: Any) -> str:
        number = _number(value)
        told = str(value) if number is None else self._step_of(name, number)
        item = f"{name}={told}".encode(errors="replace")[:TEXT_BYTES_MAX]
        return item.decode(errors="ignore")

    def _step_of(self, name: str, number: float) -> str:
        count, mean, squares = self._spreads.get(name, _NO_SPREAD)
        if count < _LEARNT_MIN:
            return "any"
        if squares == 0.0:
            return "same" if number == mean else "other"
        return str(round(_STEPS_PER_SD * self._distance(name, number)))

    def dump(self) -> dict[str, Any]:
        """Return what is remembered as JSON."""
        return {"last_us": self.last_us, "spreads": self._spreads}

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Take what a dump remembers."""
        self.last_us = dumped["last_us"]
        self._spreads = {name: list(spread) for name, spread in dumped["spreads"].items()}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    return float(value) if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """Return a value of numpy's as Python's own, a tuple as a list, a time as text."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return list(value) if isinstance(value, tuple | set) else value


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_json(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True
