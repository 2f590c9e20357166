"""An open session: how it begins, what an event adds to its totals, and its statistics.

`items` has what is new in it.
"""

import math
from typing import Any

import numpy as np

from astray.baseline.dormancy import measure_silence
from astray.baseline.evidence import (
    predictive,
    tail_bits,
)
from astray.baseline.items import likeness, weight_of
from astray.baseline.layout import (
    BURST,
    BYTES,
    CALLEE,
    CALLEES,
    COMPARED_CHANNELS,
    DENIALS,
    DEPTH,
    EVENTS,
    FAILURES,
    FIRST_TOTAL,
    HOUR,
    IMPERSONATION,
    IMPLICIT,
    LARGEST,
    NEW_ITEMS,
    PATTERN,
    RHYTHM,
    TOTALS,
)
from astray.baseline.pages import (
    Pages,
    add,
    fingerprint,
    reserve,
    set_note,
)
from astray.baseline.ranking import Ranks, bin_of
from astray.compiled import compiled, float64, inner, int64
from astray.events.ids import mix

_RUN_BITS = 1
"""A session begins with two pages: most have more items than fit into one."""

_BURST_US = 10_000_000.0
_MINUTE_US = 60_000_000
_HOUR_US = 3_600_000_000
_DAY_HOURS = 24
_FIRST_DAY = 3  # 1970-01-01 was a Thursday; weeks begin on Monday
_FRIDAY = 4
_LIKENESS_EVENTS = 4.0
_RARE_BITS = 3.0
_NONE = np.uint64(0)
_FAILED, _DENIED = 2, 3  # places in schema.OUTCOMES


@inner
def session_key(event: Any) -> np.uint64:
    """Return the key of the event's session; without one, all of the agent's events share it."""
    return event["session"] if event["session"] != _NONE else mix(event["agent"], IMPLICIT)


@inner
def add_totals(session: Any, event: Any) -> None:
    """Add an event to the session's totals; its clock never runs back."""
    ts_us, count = event["ts_us"], float64(event["count"])
    total = session["total"]
    past_us = max(ts_us - session["last_us"], 0)
    session["burst"] = session["burst"] * math.exp(-past_us / _BURST_US) + count
    if ts_us >= session["minute_first_us"] + _MINUTE_US:
        session["minute_first_us"] = ts_us
        session["minute_events"] = 0.0
    session["minute_events"] += count
    session["minute_events_most"] = max(session["minute_events_most"], session["minute_events"])
    total[EVENTS] += count
    total[BYTES] += event["bytes"]
    total[LARGEST] = max(total[LARGEST], float64(event["bytes"]))
    total[FAILURES] += count if event["outcome"] == _FAILED else 0.0
    total[DENIALS] += count if event["outcome"] == _DENIED else 0.0
    total[BURST] = max(total[BURST], session["burst"])
    new_items = 0
    for channel in range(PATTERN):
        new_items += session["items_new"][channel]
    total[NEW_ITEMS] = new_items
    total[CALLEES] = session["items"][CALLEE]
    total[DEPTH] = max(total[DEPTH], float64(event["depth"]))
    session["rows"] += 1
    session["last_us"] = max(session["last_us"], ts_us)


@inner
def raise_statistics(session: Any, ranks: Ranks) -> bool:
    """Bring the statistics up to date; return whether one that is rare has risen."""
    statistic = session["statistic"]
    for channel in range(COMPARED_CHANNELS):
        likeness = session["likeness"][channel] / (session["rows"] + _LIKENESS_EVENTS)
        place = IMPERSONATION + channel
        statistic[place] = max(likeness, float64(statistic[place]))
    for total in range(len(TOTALS)):
        reached = session["total"][total]
        if reached <= session["rated"][total]:
            continue
        session["rated"][total] = reached
        bits = tail_bits(
            math.log1p(reached),
            float64(session["expected"][total]),
            float64(session["spread"][total]),
            float64(session["freedom"]),
        )
        place = FIRST_TOTAL + total
        statistic[place] = max(bits, float64(statistic[place]))
    return _have_risen(session) and _is_rare(session, ranks)


@inner
def _have_risen(session: Any) -> bool:
    """Return whether a statistic has left its bin: most events change none."""
    risen = 0
    for place in range(len(session["statistic"])):  # without a break: vector instructions
        now = bin_of(place, float64(session["statistic"][place]))
        risen += 1 if now > session["bin"][place] else 0
    return risen > 0


@inner
def _is_rare(session: Any, ranks: Ranks) -> bool:
    """Note the bins of the statistics; return whether one that is rare has risen."""
    rare = False
    for place in range(len(session["statistic"])):
        bin_now = bin_of(place, float64(session["statistic"][place]))
        if bin_now > session["bin"][place]:
            session["bin"][place] = bin_now
            rare = rare or ranks[session["age"], place, bin_now] >= _RARE_BITS
    return rare


@inner
def _expect_totals(session: Any, agent: Any, group: Any, window: Any) -> None:
    weight = window["weight"]
    sessions = float64(agent["totals"]) / weight
    of_group = float64(group["totals"])
    for total in range(len(TOTALS)):
        group_mean = float64(group["mean"][total]) if of_group > 0.0 else 1.0
        group_variance = float64(group["square"][total]) / of_group if of_group > 0.0 else 1.0
        location, scale, freedom = predictive(
            sessions,
            float64(agent["mean"][total]),
            float64(agent["square"][total]) / weight,
            group_mean,
            group_variance,
        )
        session["expected"][total] = location
        session["spread"][total] = scale
        session["rated"][total] = math.expm1(location)
        session["freedom"] = freedom


@compiled
def hour_of(ts_us: int) -> int:
    """Return the hour in its kind of day (UTC): 0 to 23 on weekdays, 24 to 47 at weekends.

    With 168 hours of the week every hour of a baseline's first week is new, and the second
    week then looks calm: its sessions would be ranked against noise.
    """
    hours = ts_us // _HOUR_US
    weekend = (hours // _DAY_HOURS + _FIRST_DAY) % 7 > _FRIDAY
    return hours % _DAY_HOURS + (_DAY_HOURS if weekend else 0)


@inner
def begin(
    session: Any,
    event: Any,
    agent: Any,
    group: Any,
    pages: Pages,
    settings: Any,
    window: Any,
) -> None:
    """Begin a session at its first event: what is expected of it, how usual are hour and pause."""
    ts_us = event["ts_us"]
    reserve(pages, session, min(_RUN_BITS, int64(settings["session_bits_max"])))
    session["start_us"] = ts_us
    session["last_us"] = ts_us
    session["minute_first_us"] = ts_us
    session["tenant"] = event["tenant"]
    _expect_totals(session, agent, group, window)
    measure_silence(session, agent, group, settings, window)
    hour = fingerprint(int64(HOUR), np.uint64(hour_of(ts_us)))
    set_note(pages, add(pages, session, hour, settings["session_bits_max"], math.inf), int64(HOUR))
    of_agent = weight_of(pages, agent, hour, window)
    session["statistic"][RHYTHM] = likeness(
        pages, agent, group, window, int64(HOUR), hour, of_agent
    )
