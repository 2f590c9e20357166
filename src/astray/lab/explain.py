"""A past score derived again, from events and verdicts, or from a state and what came after it.

The events go through the dataflow of a live run, and what is ranked on the way is looked at;
so the score is the live one to the bit, and not one that is worked out anew.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.judgement import Judgement
from astray.baseline.records import Finding
from astray.config import Config
from astray.decide.decider import Ranked, Ruling
from astray.decide.decision import Decision, Evidence
from astray.decide.evidence import evidence_of
from astray.detectors.telling import names_of
from astray.events import ANY_TIME_US, Decoded, Event, clock, parse_line
from astray.flow.beginning import Beginning
from astray.flow.counters import Counters
from astray.flow.dataflow import build_flow
from astray.flow.engine import run_flow
from astray.flow.kernels import compile_kernels
from astray.flow.reading import Reading
from astray.flow.sinks import Calling, RejectsFile
from astray.flow.sources import Sources
from astray.flow.steps import Context
from astray.lab.seeking import Kind, Target, Wanted, check_is_after, seek

_EPOCH_S = 3600.0
_MILLI_US = 1000
_ENDED = -1


class Standing(StrEnum):
    """Which of a session's scores is explained.

    A session is ranked when something rare has risen in it, and when it ends. So an event has
    a score of its own, or that of an earlier one, or there was nothing to rank until the end.
    """

    OWN = "own"
    EARLIER = "earlier"
    HIGHEST = "highest"
    END = "end"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score, and all that it comes from; the shares of the evidence add up to 1.

    `event` is the one at which the session had the score; `bits` are those of its statistics.
    `whole`: none of the session's events, as far as they are there, came before a state was
    kept, so no score of it is missed.
    """

    id: str
    kind: Kind
    standing: Standing
    whole: bool
    event: Event
    session: str
    start_us: int
    ts_us: int
    events: int
    age_class: int
    score: float
    n: float
    certified: bool
    bits: Mapping[str, float]
    evidence: tuple[Evidence, ...]
    decisions: tuple[Decision, ...]
    model: str
    config: str

    @property
    def sentence(self) -> str:
        """Return what happened and how rare it is, to be read aloud."""
        if not self.evidence:
            return f"{self.event.agent} did nothing that its fleet's own sessions tell apart"
        return f"{self.evidence[0].sentence}; 1 in {round(self.n):,} sessions look like this"

    def points(self) -> list[float]:
        """Return what each piece of evidence has in the score; they add up to it."""
        return [self.score * reason.share for reason in self.evidence]

    def as_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON-ready values."""
        event = self.event
        return {
            "id": self.id,
            "kind": self.kind,
            "standing": self.standing,
            "whole": self.whole,
            "tenant": event.tenant,
            "agent": event.agent,
            "session": self.session,
            "principal": event.principal,
            "group": event.group,
            "event_id": event.event_id,
            "action": event.action,
            "ts": clock.iso_exact(self.ts_us),
            "session_start": clock.iso_exact(self.start_us),
            "session_events": self.events,
            "age_class": self.age_class,
            "score": self.score,
            "n": self.n,
            "certified": self.certified,
            "sentence": self.sentence,
            "evidence": [
                {**asdict(reason), "points": points}
                for reason, points in zip(self.evidence, self.points(), strict=True)
            ],
            "bits": dict(self.bits),
            "decisions": [decision.as_dict() for decision in self.decisions],
            "model": self.model,
            "config": self.config,
        }


def explain(
    wanted: Wanted, config: Config, beginning: Beginning, verdicts: tuple[Judgement, ...] = ()
) -> Explanation | None:
    """Derive a past score again; None where the session was not ranked since the beginning.

    `verdicts` take effect where they did; those that the state has heard of change nothing.

    Raises
    ------
    ConfigError
        The id is of nothing or of several things, or of what was before the state was kept.
    SourceError
        The events cannot be read to their end.
    RecoveryError
        The state cannot be used.
    """
    target = seek(wanted, beginning)
    whole = check_is_after(target, beginning)
    compile_kernels()
    reading = Reading(paths=beginning.paths)
    search = _Search(target, config.sessions.events_max, reading)
    names = list(beginning.names)
    context = Context(
        config, names, Counters(), flush=True, watch=search.decoded, audit=search.ranked,
        judgements=verdicts,
    )  # fmt: skip
    source = Sources(names, reading)
    flow = build_flow(context, source, Calling(search.decided), RejectsFile(None))
    with beginning.recovery(config) as recovery:
        run_flow(flow, _EPOCH_S, recovery)
    reading.raise_fault()
    return search.explanation(config, whole=whole)


@dataclass(frozen=True, slots=True)
class _Rank:
    """One session as it was ranked, and the line of the event that made the core report it."""

    row: NDArray[np.void]
    line: bytes
    findings: tuple[Finding, ...]
    n: float
    counted: float
    score: float
    bits: NDArray[np.float32]
    shares: NDArray[np.float64]

    @property
    def start_us(self) -> int:
        return int(self.row["start_us"])

    @property
    def last_us(self) -> int:
        return int(self.row["ts_us"])

    @property
    def ended(self) -> bool:
        return int(self.row["row"]) == _ENDED


class _Search:
    """Looks for the rank of a session that explains an event, or the session itself.

    It keeps no more than a session can have, and has the reading stop when it is done.
    """

    def __init__(self, target: Target, events_max: int, reading: Reading) -> None:
        self._target = target
        self._reading = reading
        self._own: _Rank | None = None
        self._highest: _Rank | None = None
        self._end: _Rank | None = None
        self._earlier: deque[_Rank] = deque(maxlen=2 * events_max)
        self._lines: deque[int] = deque(maxlen=events_max)
        self._reached = False
        self._named: set[int] = set()
        self._decisions: list[Decision] = []

    def decoded(self, decoded: Decoded) -> None:
        """Take note of the session's lines up to the event, and of what other sessions there are.

        The core has an id for what has no name, which is told from named ones by being none.
        """
        rows, target = decoded.rows, self._target
        if not target.session:
            ours = rows["agent"] == np.uint64(target.first.agent_key)
            self._named.update(rows["session"][ours].tolist())
        if target.kind is not Kind.EVENT or self._reached:
            return
        chunk = decoded.chunk
        for row in np.flatnonzero(target.has_session(rows)).tolist():
            line = decoded.line(row)
            self._lines.append(hash(line))
            place = (chunk.source, chunk.origin, chunk.offset + int(rows["line_first"][row]))
            if place == (target.first.source, target.first.file, target.first.offset):
                self._reached = True
                return

    def ranked(self, ranked: Ranked) -> None:
        """Look at what was ranked, until there is what was looked for."""
        rows = ranked.rows
        for at in np.flatnonzero(rows["agent"] == np.uint64(self._target.first.agent_key)).tolist():
            rank = _Rank(
                row=rows[at],
                line=ranked.lines[at],
                findings=ranked.findings[at],
                n=float(ranked.n[at]),
                counted=float(ranked.counted[at]),
                score=float(ranked.scores[at]),
                bits=ranked.bits[at],
                shares=ranked.shares_at(at),
            )
            if self._end is None and self._own is None and self._is_ours(rank):
                self._take(rank)

    def _is_ours(self, rank: _Rank) -> bool:
        target, session = self._target, int(rank.row["session"])
        if target.session:
            return session == target.first.session_key
        if session in self._named:
            return False
        at_start = target.first.event.ts_us // _MILLI_US == rank.start_us // _MILLI_US
        return target.kind is Kind.EVENT or at_start

    def _take(self, rank: _Rank) -> None:
        if rank.ended:
            if self._is_last(rank):
                self._end = rank
        elif self._target.kind is Kind.EVENT:
            if rank.line == self._target.first.line:
                self._own = rank
            else:
                self._earlier.append(rank)
        elif self._highest is None or rank.score > self._highest.score:
            self._highest = rank
        if self._own is not None or self._end is not None:
            self._reading.stop.set()

    def _is_last(self, rank: _Rank) -> bool:
        """Return whether nothing comes after the end of a session that could be looked for.

        A session that was cut, or fell asleep, ends more than once under its name.
        """
        target = self._target
        if target.kind is Kind.EVENT:
            return self._reached and rank.last_us >= target.first.event.ts_us
        return not target.session or rank.last_us >= target.last.event.ts_us

    def decided(self, ruling: Ruling) -> None:
        """Keep the decisions about the session."""
        event = self._target.first.event
        self._decisions += [
            decision
            for decision in ruling.decisions
            if (decision.tenant, decision.agent) == (event.tenant, event.agent)
        ]

    def explanation(self, config: Config, *, whole: bool) -> Explanation | None:
        """Return the explanation of what was found; `whole`: nothing of it came before."""
        standing, rank = self._found()
        if rank is None:
            return None
        return self._explained(standing, rank, config, whole=whole)

    def _found(self) -> tuple[Standing, _Rank | None]:
        if self._own is not None:
            return Standing.OWN, self._own
        if self._highest is not None and (
            self._end is None or self._end.score <= self._highest.score
        ):
            return Standing.HIGHEST, self._highest
        seen = set(self._lines)
        for rank in reversed(self._earlier):
            same = self._end is None or rank.start_us == self._end.start_us
            if same and hash(rank.line) in seen:
                return Standing.EARLIER, rank
        return Standing.END, self._end

    def _explained(
        self, standing: Standing, rank: _Rank, config: Config, *, whole: bool
    ) -> Explanation:
        event = self._target.last.event
        if rank.line:
            parsed = parse_line(rank.line, ANY_TIME_US)
            event = parsed if isinstance(parsed, Event) else event
        session = event.session or f"{event.agent}@{clock.iso(rank.start_us)}"
        decisions = [decision for decision in self._decisions if decision.session == session]
        if self._target.kind is Kind.EVENT:
            at = (rank.last_us, event.event_id)
            decisions = [one for one in decisions if (one.ts_us, one.event_id) == at]
        return Explanation(
            id=self._target.id,
            kind=self._target.kind,
            standing=standing,
            whole=whole,
            event=event,
            session=session,
            start_us=rank.start_us,
            ts_us=rank.last_us,
            events=int(rank.row["rows"]),
            age_class=int(rank.row["age"]),
            score=rank.score,
            n=rank.n,
            certified=rank.n <= rank.counted,
            bits=dict(zip(names_of(config.detector), rank.bits.tolist(), strict=True)),
            evidence=evidence_of(
                rank.row, rank.bits, rank.findings, event, rank.shares, config.detector
            ),
            decisions=tuple(decisions),
            model=config.model_hash,
            config=config.config_hash,
        )
