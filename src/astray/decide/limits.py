"""Hard limits: what no session may do, whatever is usual."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.layout import BYTES, DENIALS, EVENTS, SENSITIVE_BIT
from astray.config import Config, Limits
from astray.decide import wording
from astray.decide.decision import Evidence
from astray.decide.policies import any_of
from astray.events import Event

DENIED_EVENTS_MIN = 10
"""A share of denials means something from so many events on."""

_MICROS = 1_000_000
_FOREVER_US = 2**62

_BY_NAME = ("forbidden_actions", "forbidden_resources")
_EARLIER = "something earlier in this session"
_ITEMS_TOLD_MAX = 3
"""Forbidden things that are named; an event has up to 32 resources of up to a kilobyte."""
_DID = {
    "events_per_minute": "had {} within a minute",
    "bytes_per_session": "moved {} in this session",
    "events_per_session": "had {} in this session",
    "session_length_s": "has kept this session open for {}",
    "denied_share": "was denied {} of the events of this session",
    "forbidden_actions": "did {}",
    "forbidden_resources": "touched {}",
}


def lowest_limits(config: Config) -> dict[str, float]:
    """Return, for the hot loop, the lowest value that any policy sets for each limit."""

    def lowest(name: str) -> float:
        values = [getattr(policy.limits, name) for policy in config.policies]
        return min((value for value in values if value is not None), default=np.inf)

    return {
        "limit_minute": lowest("events_per_minute"),
        "limit_bytes": lowest("bytes_per_session"),
        "limit_events": lowest("events_per_session"),
        "limit_denied": min(lowest("denied_share"), 1.0),  # infinity times no events is no number
        "limit_denied_events": DENIED_EVENTS_MIN,
        "limit_length_us": min(lowest("session_length_s") * _MICROS, _FOREVER_US),
    }


def tag_patterns(config: Config) -> dict[str, list[tuple[int, Any]]]:
    """Return, per field, the tag bit and pattern of what is sensitive or some policy forbids."""
    found: dict[str, list[tuple[int, Any]]] = {"action": [], "resource": []}
    sensitive = config.sensitive
    for field, globs in (("action", sensitive.actions), ("resource", sensitive.resources)):
        if globs:
            found[field].append((SENSITIVE_BIT, any_of(globs)))
    for place, policy in enumerate(config.policies):
        for field, globs in (
            ("action", policy.limits.forbidden_actions),
            ("resource", policy.limits.forbidden_resources),
        ):
            pattern = any_of(globs)
            if pattern is not None:
                found[field].append((2 * place + (field == "resource"), pattern))
    return found


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A hard limit that a session is beyond; `forbidden_*` have no value."""

    name: str
    value: float
    limit: float


def exceeded(limits: Limits, place: int, record: NDArray[np.void]) -> Exceeded | None:
    """Return the first hard limit of a policy that a session is beyond, or None.

    `place` is the policy's place, which its tags carry.
    """
    tags = int(record["tags"]) >> (2 * place)
    if tags & 3:
        return Exceeded("forbidden_actions" if tags & 1 else "forbidden_resources", 0.0, 0.0)
    total = record["total"]
    events = float(total[EVENTS])
    values = {
        "events_per_minute": float(record["minute_events"]),
        "bytes_per_session": float(total[BYTES]),
        "events_per_session": events,
        "session_length_s": int(record["ts_us"] - record["start_us"]) / _MICROS,
        "denied_share": float(total[DENIALS]) / events if events >= DENIED_EVENTS_MIN else 0.0,
    }
    for name, value in values.items():
        limit = getattr(limits, name)
        if limit is not None and value > limit:
            return Exceeded(name, value, limit)
    return None


def limit_evidence(beyond: Exceeded, limits: Limits, event: Event) -> Evidence:
    """Return what to tell of a hard limit; the event is where the session stands now."""
    items: list[str] = []
    if beyond.name in _BY_NAME:
        items = _forbidden(beyond.name, limits, event)
        # A session that is beyond a limit stays so: an earlier event may have been the one.
        seen, usual = wording.some_of(items, _ITEMS_TOLD_MAX) or _EARLIER, "never"
        allowed = ", which its policy forbids"
    else:
        seen, usual = _excess(beyond), f"at most {_amount(beyond.name, beyond.limit)}"
        allowed = f"; its policy allows {usual}"
    return Evidence(
        channel=beyond.name,
        item=items[0] if items else "",
        level="policy",
        seen=seen,
        usual=usual,
        bits=0.0,
        share=1.0,
        event_ids=(event.event_id,) if event.event_id else (),
        sentence=f"{event.agent} {_DID[beyond.name].format(seen)}{allowed}",
    )


def _forbidden(name: str, limits: Limits, event: Event) -> list[str]:
    """Return what the event does of what is forbidden."""
    by_action = name == "forbidden_actions"
    pattern = any_of(getattr(limits, name))
    texts = (event.action,) if by_action else event.resources
    return [text for text in texts if pattern is not None and pattern.match(text)]


def _amount(name: str, value: float) -> str:
    """Return a value of a limit with its unit."""
    if name == "bytes_per_session":
        return wording.size(value)
    if name == "session_length_s":
        return wording.duration(value)
    if name == "denied_share":
        return f"{100 * value:.3g} %"
    return wording.counted(value, "event", "events")


def _excess(beyond: Exceeded) -> str:
    """Return a value beyond its limit, so that it does not sound like the limit."""
    seen, limit = (_amount(beyond.name, value) for value in (beyond.value, beyond.limit))
    return seen if seen != limit else f"a little more than {limit}"


def possibly_beyond(records: NDArray[Any], lowest: Mapping[str, float]) -> NDArray[np.bool_]:
    """Return which sessions are beyond the lowest limit of any policy."""
    total = records["total"]
    events = total[:, EVENTS]
    denied = (total[:, DENIALS] > lowest["limit_denied"] * events) & (events >= DENIED_EVENTS_MIN)
    return np.asarray(
        (records["tags"] != 0)
        | (records["minute_events"] > lowest["limit_minute"])
        | (total[:, BYTES] > lowest["limit_bytes"])
        | (events > lowest["limit_events"])
        | (records["ts_us"] - records["start_us"] > lowest["limit_length_us"])
        | denied
    )
