"""What is said of dormancy, of what is sensitive, and of permissions that were never used."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from astray.baseline.layout import (
    DORMANCY,
    LISTED_MARK,
    PERMISSION,
    SENSITIVE,
    SENSITIVE_MARK,
    UNLISTED_MARK,
)
from astray.baseline.records import Finding
from astray.decide import wording
from astray.decide.decision import Evidence
from astray.events import ANY_TIME_US, Event, parse_line

_LN2 = math.log(2.0)


def ids_of(event: Event) -> tuple[str, ...]:
    """Return the id of an event, if it has one."""
    return (event.event_id,) if event.event_id else ()


def _event_of(findings: Sequence[Finding]) -> Event | None:
    """Return the event of the first of these; a line that was too long to keep tells of none."""
    event = parse_line(findings[0].line, ANY_TIME_US) if findings else None
    return event if isinstance(event, Event) else None


def dormancy(
    record: NDArray[np.void], bits: NDArray[np.float32], shares: NDArray[np.float64], event: Event
) -> Iterator[Evidence]:
    """Tell how long the agent was silent before the session."""
    silent, most = (
        wording.duration(math.expm1(float(record[name]) * _LN2))
        for name in ("silence", "usual_silence")
    )
    usual = f"usually it is silent for {most} at most"
    yield Evidence(
        channel="dormancy",
        item="",
        level="agent",
        seen=f"after {silent} of silence",
        usual=usual,
        bits=float(bits[DORMANCY]),
        share=float(shares[DORMANCY]),
        event_ids=(),
        sentence=f"{event.agent} began this session after {silent} of silence; {usual}",
    )


def sensitive(
    bits: NDArray[np.float32],
    shares: NDArray[np.float64],
    findings: Sequence[Finding],
    event: Event,
) -> Iterator[Evidence]:
    """Tell of the sensitive event that was most surprising."""
    found = [finding for finding in findings if finding.marks & SENSITIVE_MARK]
    known = _event_of(found)
    item, seen, ids = "", "something", tuple[str, ...]()
    if known is not None:
        touched = known.resources[max(found[0].place, 0) :][:1]
        item, seen, ids = known.action, " on ".join((known.action, *touched)), ids_of(known)
    yield Evidence(
        channel="sensitive",
        item=item,
        level="agent",
        seen=seen,
        usual="not what it usually does",
        bits=float(bits[SENSITIVE]),
        share=float(shares[SENSITIVE]),
        event_ids=ids,
        sentence=f"{event.agent} did {seen}, which is sensitive and not what it usually does",
    )


def permission(
    bits: NDArray[np.float32],
    shares: NDArray[np.float64],
    findings: Sequence[Finding],
    event: Event,
) -> Iterator[Evidence]:
    """Tell of an action that was never used before: the first that no grant lists, if there is."""
    unlisted = [finding for finding in findings if finding.marks & UNLISTED_MARK]
    listed = [finding for finding in findings if finding.marks & LISTED_MARK]
    known = _event_of(unlisted or listed)
    item, seen, ids, usual = "", "something", tuple[str, ...](), "never used before"
    if known is not None:
        item, seen, ids = known.action, known.action, ids_of(known)
        usual += ", and no grant lists it" if unlisted else ", though its grants list it"
    yield Evidence(
        channel="permission",
        item=item,
        level="agent",
        seen=seen,
        usual=usual,
        bits=float(bits[PERMISSION]),
        share=float(shares[PERMISSION]),
        event_ids=ids,
        sentence=f"{event.agent} did {seen}, a permission {usual}",
    )
