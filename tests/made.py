"""Sessions and their records as a shard would report them, made by hand."""

from collections.abc import Mapping, Sequence

import numpy as np

from astray.baseline.buffers import RECORD
from astray.baseline.layout import STATISTICS, TOTALS
from astray.baseline.records import Finding, Records
from astray.decide.rules import Candidate
from astray.events import Event, encode_event
from astray.events.ids import ABSENT, stable_id

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
START_US = 1_795_312_800_000_000
"""2026-11-22T02:00:00Z, a Sunday: the first moment of an hour."""

SETTLED = 2
"""The age class of an agent with more than 30 sessions."""

NO_LINE = b""


def row_of(event: Event, *, ended: bool = False, age: int = SETTLED, **values) -> np.void:
    """Return the record of the event's session, which began then; totals and statistics by name."""
    row = np.zeros(1, RECORD)[0]
    row["tenant"] = stable_id(event.tenant) if event.tenant else ABSENT
    row["agent"] = stable_id(event.agent)
    row["session"] = stable_id(f"{event.tenant}/{event.agent}/{event.session}")
    row["row"], row["age"], row["rows"] = -1 if ended else 0, age, 1
    row["ts_us"] = row["start_us"] = event.ts_us
    for name, value in values.items():
        if name in TOTALS:
            row["total"][TOTALS.index(name)] = value
        elif name in STATISTICS:
            row["statistic"][STATISTICS.index(name)] = value
        else:
            row[name] = value
    return row


def ended_rows(levels: Sequence[Sequence[float] | float], **values) -> np.ndarray:
    """Return the records of ended sessions; a level is all statistics, or the first ones."""
    rows = np.zeros(len(levels), RECORD)
    rows["row"], rows["age"] = -1, SETTLED
    rows["session"] = np.arange(1, len(levels) + 1)
    for name, value in values.items():
        rows[name] = value
    for row, level in zip(rows, levels, strict=True):
        if isinstance(level, Sequence):
            row["statistic"][: len(level)] = level
        else:
            row["statistic"] = level
    return rows


def candidate_of(
    event: Event,
    score: float = 0.0,
    certified_score: float | None = None,
    bits: Mapping[str, float] | None = None,
    findings: Sequence[Finding] = (),
    **values,
) -> Candidate:
    """Return a session that stands at an event with a score; all of it counted, unless said."""
    each = np.zeros(len(STATISTICS), np.float32)
    for name, value in (bits or {"novelty_sum": 10.0}).items():
        each[STATISTICS.index(name)] = value
    return Candidate(
        record=row_of(event, **values),
        line=encode_event(event),
        findings=tuple(findings),
        n=10 ** (score / 20),
        score=score,
        certified_score=score if certified_score is None else certified_score,
        bits=each,
        explain=lambda: (None, ""),
    )


def records_of(shard: int, window_us: int, *sessions: tuple[Event, np.void]) -> Records:
    """Return what a shard reports in a window: sessions with the events they stand at."""
    rows = np.array([row for _, row in sessions], RECORD)
    lines = tuple(encode_event(event) if row["row"] >= 0 else NO_LINE for event, row in sessions)
    return Records(shard, window_us, rows, lines, ((),) * len(sessions))
