"""What a shard sends on: sessions whose statistics have risen, and sessions that ended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from astray.baseline.activity import Shown
from astray.baseline.buffers import RECORD
from astray.baseline.swarms import Swarming
from astray.baseline.upgrading import upgraded


class Finding(NamedTuple):
    """Something in a session that its agent had never done, with the line that shows it.

    `channel`, `level` are places in `layout.CHANNELS`, `layout.LEVELS`; `place` tells which
    of the line's resources it is (-1: none); `rate` and `peer_rate` are how often agent and
    peers meet something new on the channel, per distinct item of a session; `marks` are those of
    the event (`layout.SENSITIVE_MARK`).
    """

    bits: float
    channel: int
    level: int
    place: int
    rate: float
    peer_rate: float
    marks: int
    line: bytes


class OpenSessions(NamedTuple):
    """How many sessions are open of a tenant's agents, by age class; of an agent only so many."""

    tenant: int
    by_age: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Records:
    """Sessions of one shard as they stand, in one event-time window.

    `rows` is a structured array of `buffers.RECORD`; `lines` and `findings` have an element
    per row: the bytes of the event that made the report (empty at a session's end), and what
    was new in the session so far, the most surprising first. `shown`, where there is any, has
    nothing to do with the rows: who and what has shown itself in the window, for the first time.
    `open_sessions`, neither, is what was open as the shard entered the window, and `swarming` is
    what ever more of its agents do.
    """

    shard: int
    window_us: int
    rows: NDArray[Any]
    lines: tuple[bytes, ...] = field(repr=False)
    findings: tuple[tuple[Finding, ...], ...] = field(repr=False)
    shown: Shown | None = None
    open_sessions: tuple[OpenSessions, ...] = ()
    swarming: Swarming | None = None

    def only(self, places: NDArray[np.intp]) -> "Records":
        """Return the records at these places."""
        if len(places) == len(self.rows):
            return self
        return Records(
            self.shard,
            self.window_us,
            self.rows.take(places),
            tuple(self.lines[place] for place in places.tolist()),
            tuple(self.findings[place] for place in places.tolist()),
            open_sessions=self.open_sessions,
        )

    @classmethod
    def together(cls, several: Sequence[Self]) -> Self:
        """Return several records' rows as those of one, in their order; there must be one."""
        if len(several) == 1:
            return several[0]
        ends = np.cumsum([len(records.rows) for records in several]).tolist()
        rows = np.empty(ends[-1], several[0].rows.dtype)  # numpy takes long to join their fields
        for end, records in zip(ends, several, strict=True):
            rows[end - len(records.rows) : end] = records.rows
        return cls(
            several[0].shard,
            several[0].window_us,
            rows,
            tuple(chain.from_iterable(records.lines for records in several)),
            tuple(chain.from_iterable(records.findings for records in several)),
        )

    def dump(self) -> dict[str, Any]:
        """Return all but `rows` as JSON."""
        return {
            "shard": self.shard,
            "window_us": self.window_us,
            "lines": [line.decode() for line in self.lines],
            "findings": [dump_findings(found) for found in self.findings],
            "open_sessions": [tuple(found) for found in self.open_sessions],
        }

    @classmethod
    def load(cls, dumped: dict[str, Any], rows: NDArray[Any]) -> Self:
        """Return the records of a dump and their rows."""
        lines = tuple(line.encode() for line in dumped["lines"])
        findings = tuple(map(load_findings, dumped["findings"]))
        open_sessions = [
            OpenSessions(tenant, tuple(by_age)) for tenant, by_age in dumped["open_sessions"]
        ]
        window_us, rows = dumped["window_us"], upgraded(rows, RECORD)
        return cls(
            dumped["shard"], window_us, rows, lines, findings, open_sessions=tuple(open_sessions)
        )


def dump_findings(findings: Iterable[Finding]) -> list[Any]:
    """Return findings as JSON; lines are text, as whatever has become an event is UTF-8."""
    return [(*finding[:-1], finding.line.decode()) for finding in findings]


def load_findings(dumped: Iterable[Any]) -> tuple[Finding, ...]:
    """Return the findings of a dump."""
    return tuple(Finding._make((*rest, line.encode())) for *rest, line in dumped)
