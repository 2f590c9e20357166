"""From what was counted to what is said: the evidence of a decision.

A score's square is the sum of its statistics' squared bits, so every statistic has its
share in it; the shares of all evidence add up to 1.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from astray.baseline.evidence import RATE_MIN
from astray.baseline.layout import (
    ACTION,
    BURST,
    BYTES,
    CALLEE,
    CALLEES,
    CHANNELS,
    DENIALS,
    DEPTH,
    EVENTS,
    FAILURES,
    FIRST_TOTAL,
    IMPERSONATION,
    LARGEST,
    LEVELS,
    NEW_ITEMS,
    PAIR,
    PATTERN,
    PLACE,
    PRINCIPAL,
    RESOURCE,
    RHYTHM,
    SOURCE,
    STATISTICS,
    TOTALS,
    TRANSITION,
    USE,
)
from astray.baseline.records import Finding
from astray.baseline.session import hour_of
from astray.config_detectors import Detector
from astray.decide import marked, wording
from astray.decide.decision import Evidence
from astray.decide.marked import ids_of
from astray.detectors.telling import found_by, seen_by
from astray.events import ANY_TIME_US, Event, parse_line

_FINDINGS_MAX = 4
_SHARE_MIN = 0.01
_P99 = 2.326
"""Standard deviations to the 99th centile of a normal distribution."""

_LOG_MAX = 60.0
"""Totals are 64-bit numbers; no usual one is beyond e**60."""

_DAY_HOURS = 24

_DID = {
    ACTION: ("did {}, which", "done"),
    TRANSITION: ("took a step to {} that", "taken"),
    RESOURCE: ("touched {}, which", "touched"),
    PAIR: ("did {}, which", "done"),
    SOURCE: ("came from {}, which", "come from"),
    PRINCIPAL: ("acted for {}, whom", "acted for"),
    CALLEE: ("called {}, which", "called"),
    PATTERN: ("touched {}, a kind of resource that", "touched"),
    PLACE: ("touched {}, which lies where", "touched anything"),
    USE: ("did {}, something that", "done to such a resource"),
}
"""What a session did with something new, and what nobody had ever done."""

_UNNAMED = {
    ACTION: "an action",
    TRANSITION: "an action",
    RESOURCE: "a resource",
    PAIR: "something on a resource",
    SOURCE: "a source",
    PRINCIPAL: "somebody",
    CALLEE: "an agent",
    PATTERN: "a resource",
    PLACE: "a resource",
    USE: "something on a resource",
}
_THINGS = {
    ACTION: "actions",
    TRANSITION: "steps",
    RESOURCE: "resources",
    PAIR: "uses of resources",
    SOURCE: "sources",
    PRINCIPAL: "principals",
    CALLEE: "callees",
    PATTERN: "kinds of new resources",
    PLACE: "places of new resources",
    USE: "uses of new resources",
}
_WHO = {
    "agent": "it had never",
    "group": "no agent of its group had ever",
    "fleet": "nobody in the fleet had ever",
}
_COUNTS = {
    EVENTS: ("event", "events"),
    FAILURES: ("failure", "failures"),
    DENIALS: ("denial", "denials"),
    BURST: ("event", "events"),
    NEW_ITEMS: ("thing that was new to it", "things that were new to it"),
    CALLEES: ("agent", "agents"),
    DEPTH: ("agent", "agents"),
}
_HAD = {
    EVENTS: "had {} in this session",
    BYTES: "moved {} in this session",
    LARGEST: "moved {} in one event of this session",
    FAILURES: "had {} in this session",
    DENIALS: "had {} in this session",
    BURST: "had up to {} within 10 s",
    NEW_ITEMS: "met {} in this session",
    CALLEES: "called {} in this session",
    DEPTH: "acted in this session at the end of a chain of {}",
}
"""What a session added up to."""


def evidence_of(
    record: NDArray[np.void],
    bits: NDArray[np.float32],
    findings: Sequence[Finding],
    event: Event,
    shares: NDArray[np.float64] | None = None,
    detectors: Sequence[Detector] = (),
) -> tuple[Evidence, ...]:
    """Return the evidence for a session's score, the weightiest first.

    `record` is one of `buffers.RECORD`; `bits` has an element per statistic, those of
    `detectors` last, and so have `shares`, which are those of the norm unless they are given.
    """
    squares = np.square(bits.astype(np.float64))
    total = float(squares.sum())
    if total == 0.0:
        return ()
    if shares is None:
        shares = squares / total
    found = [
        *_novelty(record, bits, shares, findings, event),
        *_likeness(record, bits, shares, event),
        *_totals(record, bits, shares, event),
        *_rhythm(record, bits, shares, event),
        *marked.dormancy(record, bits, shares, event),
        *marked.sensitive(bits, shares, findings, event),
        *marked.permission(bits, shares, findings, event),
        *_detected(detectors, bits, shares, event),
    ]
    return _whole(sorted(found, key=_weight), event)


def _weight(reason: Evidence) -> float:
    return -reason.share


def _whole(found: Sequence[Evidence], event: Event) -> tuple[Evidence, ...]:
    """Leave out what weighs next to nothing; say how much that is, or divide it if it is little."""
    told = [reason for reason in found if reason.share >= _SHARE_MIN]
    share = sum(reason.share for reason in told)
    rest = 1.0 - share
    if rest < _SHARE_MIN:
        return tuple(replace(reason, share=reason.share / share) for reason in told)
    sentence = f"{event.agent} did more that is a little unusual, each thing too little to tell"
    return (*told, Evidence("other", "", "agent", "", "", 0.0, rest, (), sentence))


def _novelty(
    record: NDArray[np.void],
    bits: NDArray[np.float32],
    shares: NDArray[np.float64],
    findings: Sequence[Finding],
    event: Event,
) -> Iterator[Evidence]:
    """Divide what novelty has in the score among the findings, by their bits."""
    share, told = float(shares[:IMPERSONATION].sum()), findings[:_FINDINGS_MAX]
    weight = sum(finding.bits for finding in told)
    if weight > 0.0:
        for finding in told:
            yield _new(finding, share * finding.bits / weight, event)
        return
    most = float(bits[:IMPERSONATION].max())
    things = wording.counted(float(record["total"][NEW_ITEMS]), *_COUNTS[NEW_ITEMS])
    sentence = f"{event.agent} met {things}; no single one of them says much"
    yield Evidence("novelty", "", "agent", things, "fewer", most, share, (), sentence)


def _new(finding: Finding, share: float, event: Event) -> Evidence:
    line = parse_line(finding.line, ANY_TIME_US)
    known = line if isinstance(line, Event) else None
    item = _item(finding, known) if known else ""
    action = known.action if known else ""
    seen = f"{action} on {item}" if item and finding.channel in (PAIR, USE) else item
    event_id = known.event_id if known else ""
    channel, level = CHANNELS[finding.channel], LEVELS[finding.level]
    verb, done = _DID[finding.channel]
    did = verb.format(seen or _UNNAMED[finding.channel])
    usual = wording.share_new(max(finding.rate, RATE_MIN), _THINGS[finding.channel])
    return Evidence(
        channel=channel,
        item=item,
        level=level,
        seen=seen,
        usual=usual,
        bits=finding.bits,
        share=share,
        event_ids=(event_id,) if event_id else (),
        sentence=f"{event.agent} {did} {_WHO[level]} {done}; {usual}",
    )


def _item(finding: Finding, line: Event) -> str:
    """Return what was new, as the line names it; nothing where it does not."""
    if finding.channel in (RESOURCE, PAIR, PATTERN, PLACE, USE):
        if not 0 <= finding.place < len(line.resources):
            return ""
        return line.resources[finding.place]
    texts = {SOURCE: line.source, PRINCIPAL: line.principal, CALLEE: line.target_agent}
    return texts.get(finding.channel, line.action)


def _likeness(
    record: NDArray[np.void], bits: NDArray[np.float32], shares: NDArray[np.float64], event: Event
) -> Iterator[Evidence]:
    for statistic, what in (
        (IMPERSONATION, "what it does"),
        (IMPERSONATION + 1, "the order in which it acts"),
    ):
        likeness = float(record["statistic"][statistic])
        yield Evidence(
            channel=STATISTICS[statistic],
            item="",
            level="group",
            seen=f"{likeness:.2f} bits an event towards its group",
            usual="about 0",
            bits=float(bits[statistic]),
            share=float(shares[statistic]),
            event_ids=ids_of(event),
            sentence=f"{event.agent}: {what} is more typical of its group than of itself",
        )


def _totals(
    record: NDArray[np.void], bits: NDArray[np.float32], shares: NDArray[np.float64], event: Event
) -> Iterator[Evidence]:
    for total, name in enumerate(TOTALS):
        location, spread = float(record["expected"][total]), float(record["spread"][total])
        median = _from_log(location)
        most = _from_log(location + _P99 * spread)
        seen, usual = _amounts(total, float(record["total"][total]), median, most)
        yield Evidence(
            channel=name,
            item="",
            level="agent",
            seen=seen,
            usual=usual,
            bits=float(bits[FIRST_TOTAL + total]),
            share=float(shares[FIRST_TOTAL + total]),
            event_ids=ids_of(event),
            sentence=f"{event.agent} {_HAD[total].format(seen)}; {usual}",
        )


def _from_log(value: float) -> float:
    return math.expm1(min(max(value, 0.0), _LOG_MAX))


def _amounts(total: int, value: float, median: float, most: float) -> tuple[str, str]:
    """Return a total and what is usual of it."""
    if total in _COUNTS:
        # The leaky bucket of a burst holds parts of events.
        return wording.counted(round(value), *_COUNTS[total]), wording.usual_count(median, most)
    return wording.size(value), wording.usual_size(median, most)


def _rhythm(
    record: NDArray[np.void], bits: NDArray[np.float32], shares: NDArray[np.float64], event: Event
) -> Iterator[Evidence]:
    hour = int(hour_of(int(record["start_us"])))
    day = "on a weekday" if hour < _DAY_HOURS else "at the weekend"
    first = hour % _DAY_HOURS
    seen = f"{day} between {first:02d}:00 and {(first + 1) % _DAY_HOURS:02d}:00 UTC"
    yield Evidence(
        channel="rhythm",
        item="",
        level="agent",
        seen=seen,
        usual="at other hours",
        bits=float(bits[RHYTHM]),
        share=float(shares[RHYTHM]),
        event_ids=(),
        sentence=f"{event.agent} began this session {seen}, when it is rarely active",
    )


def _detected(
    detectors: Sequence[Detector],
    bits: NDArray[np.float32],
    shares: NDArray[np.float64],
    event: Event,
) -> Iterator[Evidence]:
    for place, detector in enumerate(detectors, len(STATISTICS)):
        seen, usual = seen_by(detector), wording.one_in(float(bits[place]))
        yield Evidence(
            channel=detector.name,
            item="",
            level=detector.per,
            seen=seen,
            usual=usual,
            bits=float(bits[place]),
            share=float(shares[place]),
            event_ids=ids_of(event),
            sentence=f"{event.agent}: {found_by(detector)} {seen} unusual; {usual}",
        )
