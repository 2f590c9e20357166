"""A recording's sessions after a replay: one row each, with names and first crossings."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from astray.events import ANY_TIME_US, Decoded, Event, clock, parse_line
from astray.events.ids import stable_ids
from astray.lab.labels import Key

LEVELS = (40.0, 60.0, 80.0)
"""Scores whose first crossing is noted."""


@dataclass(slots=True)
class SessionScore:
    """A session as it ended: its final score, and where it first reached each level.

    `steps` are the (time, n) at which it rose, for measuring delay, and `events_at` how many
    events it had by then. With `together` it has the score of a wave of so many newcomers, which
    is known too late for a step.
    """

    session: str
    agent: str
    start_us: int
    score: float = 0.0
    n: float = 1.0
    certified: bool = True
    events: int = 0
    crossed: dict[str, str | None] = field(
        default_factory=lambda: {f"{level:.0f}": None for level in LEVELS}
    )
    steps: list[tuple[int, float]] = field(default_factory=list)
    together: int = 0
    end_us: int = 0
    events_at: list[int] = field(default_factory=list)
    tenant: str = ""

    @property
    def key(self) -> Key:
        """Return its tenant, its agent and its name: no two sessions have all of them."""
        return self.tenant, self.agent, self.session

    @property
    def wave(self) -> tuple[str, ...]:
        """Return the reason of a score that is not the session's own, but a wave's it came with."""
        if not self.together:
            return ()
        return (f"one of {self.together:,} agents, hardly seen before, that began at once",)

    def as_json(self) -> bytes:
        """Return the session as one line; of how many a wave was whose score it has, if one was."""
        names = ["session", "agent", "tenant", "score", "n", "certified", "events", "crossed"]
        names += ["together"] if self.together else []
        return orjson.dumps({name: getattr(self, name) for name in names}) + b"\n"


class Names:
    """Learns names of sessions and times of wanted events while a recording is decoded."""

    def __init__(self, wanted_events: Collection[str] = ()) -> None:
        self._names: dict[int, Key] = {}
        events = sorted(wanted_events)
        self._wanted = dict(zip(stable_ids(events).tolist(), events, strict=True))
        self._wanted_ids = np.array(sorted(self._wanted), np.uint64)
        self.event_us: dict[str, int] = {}

    def __call__(self, decoded: Decoded) -> None:
        """Look at a chunk."""
        rows = decoded.rows
        keys = np.where(rows["session"] != 0, rows["session"], rows["agent"])
        distinct, first = np.unique(keys, return_index=True)
        for key, row in zip(distinct.tolist(), first.tolist(), strict=True):
            if key not in self._names:
                event = parse_line(decoded.line(row), ANY_TIME_US)
                if isinstance(event, Event):
                    self._names[key] = (event.tenant, event.agent, event.session)
        for row in np.flatnonzero(np.isin(rows["event"], self._wanted_ids)).tolist():
            self.event_us[self._wanted[int(rows["event"][row])]] = int(rows["ts_us"][row])

    def of(self, session: int, agent: int, start_us: int) -> Key:
        """Return the key of a session; without a name it is called by its start."""
        named = self._names.get(session)
        if named is not None and named[-1]:
            return named
        tenant, agent_name, _ = self._names[agent]
        return tenant, agent_name, f"{agent_name}@{clock.iso(start_us)}"


def session_scores(
    scored: NDArray[Any], lines: Sequence[bytes], names: Names
) -> list[SessionScore]:
    """Return the sessions of a replay in the order in which they began.

    `scored` are rows of `decider.SCORED`, `lines` the events they stood at.
    """
    found: dict[tuple[int, str], SessionScore] = {}
    pieces: dict[tuple[int, int], int] = {}
    columns = (
        "session", "agent", "start_us", "ts_us", "rows", "live", "certified", "n", "score",
        "together",
    )  # fmt: skip
    for place, row in enumerate(zip(*(scored[name].tolist() for name in columns), strict=True)):
        session, agent, start_us, ts_us, events, live, certified, n, score, together = row
        tenant, agent_name, name = names.of(session, agent, start_us)
        known = found.get((agent, name))
        if known is None:
            known = found[agent, name] = SessionScore(name, agent_name, start_us, tenant=tenant)
        known.start_us = min(known.start_us, start_us)
        known.end_us = max(known.end_us, ts_us)
        if not together:  # a wave's are ranked again, and have been counted
            known.events += events - pieces.get((session, start_us), 0)
            pieces[session, start_us] = events if live else 0  # the next piece begins anew
        if n > known.n:
            known.n, known.score, known.certified, known.together = n, score, certified, together
            if not together:
                known.steps.append((ts_us, n))
                known.events_at.append(known.events)
            if live and score >= LEVELS[0]:
                _cross(known, score, lines[place])
    return sorted(found.values(), key=attrgetter("start_us", "agent", "session", "tenant"))


def _cross(session: SessionScore, score: float, line: bytes) -> None:
    event = parse_line(line, ANY_TIME_US)
    if not isinstance(event, Event):
        return
    for level in LEVELS:
        if score >= level and session.crossed[f"{level:.0f}"] is None:
            session.crossed[f"{level:.0f}"] = event.event_id or None
