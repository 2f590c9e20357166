"""Why sessions scored as they did: what each looked like when it was at its oddest."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.records import Finding
from astray.config_detectors import Detector
from astray.decide.decider import Ranked
from astray.decide.decision import Evidence
from astray.decide.evidence import evidence_of
from astray.detectors.telling import names_of
from astray.events import ANY_TIME_US, Event, parse_line
from astray.lab.labels import Key
from astray.lab.sessions import Names


@dataclass(slots=True)
class _Highest:
    """A session at its oddest; the line and the findings are those of an event, not of its end."""

    n: float
    row: NDArray[Any]
    bits: NDArray[np.float32]
    line: bytes = b""
    findings: tuple[Finding, ...] = ()
    shares: NDArray[np.float64] | None = None


class Explanations:
    """Takes all sessions as they are ranked, and explains each when it is asked.

    It knows as much of each session as was known when it was ranked, so an explanation is
    what a decision at that moment would have said.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._detectors: tuple[Detector, ...] = ()
        self._highest: dict[Key, _Highest] = {}

    def __call__(self, ranked: Ranked) -> None:
        """Take sessions; called by the dataflow."""
        rows, self._detectors = ranked.rows, ranked.detectors
        keys = zip(*(rows[name].tolist() for name in ("session", "agent", "start_us")), strict=True)
        for place, (key, n) in enumerate(zip(keys, ranked.n.tolist(), strict=True)):
            name = self._names.of(*key)
            known = self._highest.get(name)
            if known is None:
                known = self._highest[name] = _Highest(0.0, rows[place], ranked.bits[place])
            if n > known.n:
                known.n, known.row, known.bits = n, rows[place].copy(), ranked.bits[place].copy()
                known.shares = ranked.shares_at(place)
                if ranked.lines[place]:
                    known.line, known.findings = ranked.lines[place], ranked.findings[place]

    def evidence(self, key: Key) -> tuple[Evidence, ...]:
        """Return the evidence for a session's highest score, the weightiest first."""
        known = self._highest.get(key)
        if known is None:
            return ()
        event = parse_line(known.line, ANY_TIME_US) if known.line else None
        if not isinstance(event, Event):
            event = Event(ts_us=int(known.row["ts_us"]), agent=key[1], action="")
        why = (known.bits, known.findings, event, known.shares, self._detectors)
        return evidence_of(known.row, *why)

    @property
    def statistics(self) -> tuple[str, ...]:
        """The names of all statistics."""
        return names_of(self._detectors)

    def bits(self, key: Key) -> dict[str, float]:
        """Return what each statistic of a session said at its highest score, in bits."""
        known = self._highest.get(key)
        names = self.statistics
        values = [0.0] * len(names) if known is None else known.bits.tolist()
        return dict(zip(names, values, strict=True))
