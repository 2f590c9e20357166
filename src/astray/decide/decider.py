"""From sessions as they stand to decisions.

    ruling = decider.decide(records)

A decider sees whole tenants. What it ranks against changes only at the turn of a window,
which comes when every shard has reached it: neither the order of shards nor that of
sessions inside a window matters. Once the breaker of a tenant is open it does: those who
came first have been suspended.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from operator import add
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from astray import blob
from astray.baseline.layout import AGE_CLASSES
from astray.baseline.records import Finding, Records
from astray.baseline.rehearsal import FIRST_ROW, KINDS, RESTORED_ROW, STRUCK_ROW
from astray.calibrate.reference import Counts, Reference
from astray.config import Config
from astray.config_detectors import Detector
from astray.decide.blindness import Blindness
from astray.decide.decision import Decision
from astray.decide.drift import Drift
from astray.decide.floods import Floods, Lost
from astray.decide.held import Held
from astray.decide.leaving import Left, left_of
from astray.decide.limits import lowest_limits, possibly_beyond
from astray.decide.newcomers import Newcomers, Wave
from astray.decide.review import Review
from astray.decide.rules import Candidate, Rules
from astray.decide.silence import Silence
from astray.detectors.panel import Panel

TENANTS_MAX = 1000
"""Tenants that have a reference; beyond it the longest silent one's is forgotten."""

_SCORE_MAX = 100.0
_LIKE_MIN = 0.5
_KIND = "decider"
_BLINDNESS = "blindness:"
_DETECTORS = "detectors:"
_DRIFT = "drift:"
_FLOODS = "floods:"
_NEWCOMERS = "newcomers:"

SCORED = np.dtype(
    [
        ("session", np.uint64),
        ("agent", np.uint64),
        ("start_us", np.int64),
        ("ts_us", np.int64),
        ("rows", np.int32),
        ("live", np.bool_),  # False: as it stood at its end
        ("certified", np.bool_),  # n has been counted
        ("n", np.float64),
        ("score", np.float64),
        ("together", np.int64),  # ranked as one of so many newcomers at once; 0: for itself
    ]
)
"""A ranked session."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What came of some records: decisions, and for measuring every ranked session.

    `lines` has an element per row of `scored`: the bytes of the event it stood at. `silences`
    are those that have begun or ended, `reviews` what people are asked to look at, `left` the
    sessions that have left quarantine. `again`, like `scored` but without lines, are sessions
    that ended before and are ranked once more, as a wave of newcomers.
    """

    decisions: list[Decision] = field(default_factory=list)
    scored: list[NDArray[Any]] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    silences: list[Silence] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    again: list[NDArray[Any]] = field(default_factory=list)

    @property
    def every(self) -> tuple[list[NDArray[Any]], list[bytes]]:
        """Return all that was ranked, and the lines."""
        return [*self.scored, *self.again], [*self.lines, *[b""] * sum(map(len, self.again))]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Sessions as they were ranked, with all that evidence is made of; an element per session.

    `counted` is what of `n` has been counted. `shares_at` tells of one what each statistic
    makes up of its score; it must be asked at once, before the reference changes. `detectors`
    are those whose statistics stand last.
    """

    rows: NDArray[Any]
    lines: list[bytes]
    findings: list[tuple[Finding, ...]]
    n: Counts
    counted: Counts
    scores: Counts
    bits: NDArray[np.float32]
    shares_at: Callable[[int], NDArray[np.float64]]
    detectors: tuple[Detector, ...] = ()


class Decider:
    """The references and open cases of some tenants; `audit` is shown all that it ranks."""

    def __init__(self, config: Config) -> None:
        self.rules = Rules(config)
        self.blindness = Blindness(config)
        self.drift = Drift(config)
        self.floods = Floods(config)
        self.newcomers = Newcomers(config)
        self.panel = Panel(config.detector, config.learning.suspicious_bits)
        self.audit: Callable[[Ranked], None] | None = None
        self._detectors = config.detector
        self._lowest = lowest_limits(config)
        self._sessions_max = config.reference.sessions_max
        self._window_us = 0
        self._shard_window_us = [0] * config.events.shards
        self._held = Held()
        self._references: dict[int, Reference] = {}
        self._used_us: dict[int, int] = {}

    def decide(self, incoming: Iterable[Records]) -> Ruling:
        """Rank sessions and decide; records of a window that others have yet to reach wait."""
        ruling = Ruling()
        for records in incoming:
            if records.shown is not None:
                self.blindness.show(records.window_us, records.shown)
                self.drift.show(records.shown)
                self.floods.show(records.window_us, records.shown)
                continue
            if records.swarming is not None:
                ruling.reviews.extend(self.floods.tell(records))
                continue
            self._shard_window_us[records.shard] = records.window_us
            self._held.put(records)
        while True:
            self._rule_window(ruling)
            reached_us = min(self._shard_window_us)
            if reached_us <= self._window_us:
                return ruling
            first_us = self._held.first_us
            self._window_us = reached_us if first_us is None else min(reached_us, first_us)
            ruling.silences.extend(self.blindness.turn(self._window_us))
            ruling.reviews.extend(self.drift.turn(self._window_us))
            ruling.reviews.extend(self.floods.turn(self._window_us))
            ruling.again.extend(map(_ranked_again, self.newcomers.turn(self._window_us)))
            self.panel.turn(self._window_us)
            still_open = self._open_sessions()
            for tenant, reference in self._references.items():
                reference.turn(still_open.get(tenant, ()))

    def _open_sessions(self) -> dict[int, tuple[int, ...]]:
        """Return how many were open as the shards entered the present window, by tenant and age."""
        counts: dict[int, tuple[int, ...]] = {}
        for held in self._held.of(self._window_us):
            for tenant, by_age in held.open_sessions:
                before = counts.get(tenant, (0,) * AGE_CLASSES)
                counts[tenant] = tuple(map(add, before, by_age))
        return counts

    def _rule_window(self, ruling: Ruling) -> None:
        """Rule what belongs to the present window, or to one before it."""
        due = self._held.take(self._window_us)
        if due:  # at once: ranking many costs little more than ranking one
            self._rule(Records.together(sorted(due, key=_place)), ruling)

    def _rule(self, records: Records, ruling: Ruling) -> None:
        tenants = records.rows["tenant"]
        for tenant in dict.fromkeys(tenants.tolist()):
            self._rule_tenant(records, np.flatnonzero(tenants == tenant), tenant, ruling)

    def _rule_tenant(
        self, records: Records, places: NDArray[np.intp], tenant: int, ruling: Ruling
    ) -> None:
        rows = records.rows.take(places)
        reference = self._reference(tenant)
        told = rows["row"] <= STRUCK_ROW
        if told.any():
            reference.hear(rows[told & (rows["row"] >= RESTORED_ROW)])
            for at in np.flatnonzero(rows["row"] < RESTORED_ROW).tolist():
                ruling.left.append(left_of(rows[at], records.lines[places[at]]))
            places, rows = places[~told], rows[~told]
        levels = self.panel.detect(rows)
        ended = np.flatnonzero(rows["row"] < 0)
        reference.add(rows.take(ended), levels[ended])
        real = np.flatnonzero(rows["row"] > FIRST_ROW)
        places, rows = places[real], rows.take(real)
        n, counted, bits = reference.rank(rows, levels[real])
        scores, certified = _scores(n), _scores(counted)
        live = rows["row"] >= 0
        over = rows.take(np.flatnonzero(~live))
        self.panel.note(over, n[~live])
        self.drift.note(over, n[~live])
        self.newcomers.note(over)
        lines = [records.lines[place] for place in places.tolist()]
        worth = live & ((scores >= self.rules.floor_score) | possibly_beyond(rows, self._lowest))
        is_live, sessions = live.tolist(), rows["session"].tolist()
        # In their order: a session's end makes way for the next one of the same name.
        for at in np.flatnonzero(worth | ~live).tolist():
            if not is_live[at]:
                self.rules.end(sessions[at])
                continue
            candidate = Candidate(
                record=rows[at],
                line=lines[at],
                findings=records.findings[places[at]],
                n=float(n[at]),
                score=float(scores[at]),
                certified_score=float(certified[at]),
                bits=bits[at],
                explain=partial(_explained, reference, rows[at], bits[at]),
            )
            decision = self.rules.decide(candidate)
            if decision is not None:
                ruling.decisions.append(decision)
        if self.audit is not None:
            findings = [records.findings[place] for place in places.tolist()]

            def shares_at(place: int) -> NDArray[np.float64]:
                return reference.explain(rows[place], bits[place])[0]

            ranked = Ranked(
                rows, lines, findings, n, counted, scores, bits, shares_at, self._detectors
            )
            self.audit(ranked)
        ruling.scored.append(_scored(rows, live, counted, n, scores))
        ruling.lines.extend(lines)

    def standing(self, rows: NDArray[Any]) -> tuple[Counts, Counts]:
        """Return n of a tenant's sessions as they stand, what of it is counted; change nothing."""
        reference = self._references.get(int(rows["tenant"][0]))
        if reference is None:
            return np.ones(len(rows)), np.ones(len(rows))
        n, counted, _ = reference.rank(rows, self.panel.detect(rows, keep=False))
        return n, counted

    def _reference(self, tenant: int) -> Reference:
        self._used_us[tenant] = self._window_us
        reference = self._references.get(tenant)
        if reference is None:
            reference = self._references[tenant] = Reference(self._sessions_max, self.panel.columns)
            if len(self._references) > TENANTS_MAX:
                self._forget_another_than(tenant)
        return reference

    def _forget_another_than(self, tenant: int) -> None:
        """Forget a tenant of those that have been silent for the most windows."""
        others = (other for other in self._references if other != tenant)
        silent = min(others, key=lambda other: (self._used_us[other], other))
        del self._references[silent], self._used_us[silent]
        self.newcomers.forget(silent)

    def reference_sessions(self) -> list[tuple[int, ...]]:
        """Return, tenant by tenant, the sessions it ranks against by age class of the agent.

        Any thread may ask, also while the decider is at work.
        """
        references = list(self._references.values())
        return [tuple(map(reference.sessions, range(AGE_CLASSES))) for reference in references]

    @property
    def size_bytes(self) -> int:
        """The memory that all it remembers and what waits take; any thread may ask."""
        held = sum(int(records.rows.nbytes) for records in self._held)
        references = list(self._references.values())
        others = self.blindness.size_bytes + self.drift.size_bytes + self.floods.size_bytes
        others += self.newcomers.size_bytes
        return held + others + sum(each.size_bytes for each in references)

    @property
    def floods_lost(self) -> dict[Lost, int]:
        """What was lost of floods for want of room, in this run; any thread may ask."""
        return self.floods.lost | {Lost.NEWCOMERS: self.newcomers.lost}

    def dump(self) -> bytes:
        """Return everything the decider knows as bytes."""
        tenants = sorted(self._references)
        arrays = {
            f"reference{tenant}": np.frombuffer(self._references[tenant].dump(), np.uint8)
            for tenant in tenants
        }
        waiting = sorted(self._held, key=_place)
        arrays |= {f"held{place}": held.rows for place, held in enumerate(waiting)}
        blindness, rhythms = self.blindness.dump()
        arrays |= {f"{_BLINDNESS}{name}": array for name, array in rhythms.items()}
        drift, followed = self.drift.dump()
        arrays |= {f"{_DRIFT}{name}": array for name, array in followed.items()}
        floods, usual = self.floods.dump()
        arrays |= {f"{_FLOODS}{name}": array for name, array in usual.items()}
        newcomers, waiting_for = self.newcomers.dump()
        arrays |= {f"{_NEWCOMERS}{name}": array for name, array in waiting_for.items()}
        detectors, learnt = self.panel.dump()
        arrays |= {f"{_DETECTORS}{name}": array for name, array in learnt.items()}
        meta = {
            "window_us": self._window_us,
            "shard_window_us": self._shard_window_us,
            "tenants": [(tenant, self._used_us[tenant]) for tenant in tenants],
            "held": [held.dump() for held in waiting],
            "open": self.rules.dump(),
            "observed": self.rules.dump_observed(),
            "breaker": self.rules.breaker.dump(),
            "foreseen": self.rules.foreseen.dump(),
            "blindness": blindness,
            "drift": drift,
            "floods": floods,
            "newcomers": newcomers,
        }
        if detectors:
            meta["detectors"] = detectors
        return blob.pack(_KIND, meta, arrays)

    @classmethod
    def load(cls, data: bytes, config: Config) -> Self:
        """Return the decider of a dump; raises `StateError` where the bytes are not one."""
        meta, arrays = blob.unpack(data, _KIND)
        decider = cls(config)
        decider._window_us = meta["window_us"]
        decider._shard_window_us = meta["shard_window_us"]
        for tenant, used_us in meta["tenants"]:
            dumped = arrays[f"reference{tenant}"].tobytes()
            decider._used_us[tenant] = used_us
            decider._references[tenant] = Reference.load(
                dumped, config.reference.sessions_max, decider.panel.columns
            )
        for place, held in enumerate(meta["held"]):
            decider._held.put(Records.load(held, arrays[f"held{place}"]))
        decider.rules.load(meta["open"], meta.get("observed"))  # older dumps have none
        decider.rules.breaker.load(meta["breaker"])
        decider.rules.foreseen.load(meta.get("foreseen", meta["breaker"]))
        rhythms = {name.removeprefix(_BLINDNESS): arrays[name] for name in arrays}
        decider.blindness.load(meta.get("blindness", {}), rhythms)
        followed = {name.removeprefix(_DRIFT): arrays[name] for name in arrays}
        decider.drift.load(meta.get("drift", {}), followed)
        usual = {name.removeprefix(_FLOODS): arrays[name] for name in arrays}
        decider.floods.load(meta.get("floods", {}), usual)
        waiting = {name.removeprefix(_NEWCOMERS): arrays[name] for name in arrays}
        decider.newcomers.load(meta.get("newcomers", {}), waiting)
        learnt = {name.removeprefix(_DETECTORS): arrays[name] for name in arrays}
        decider.panel.load(meta.get("detectors", {}), learnt)
        return decider


def _explained(
    reference: Reference, row: NDArray[Any], bits: NDArray[np.float32]
) -> tuple[NDArray[np.float64], str]:
    shares, likeness = reference.explain(row, bits)
    return shares, _kind_of(likeness)


def _kind_of(likeness: NDArray[np.float64]) -> str:
    """Return the kind of attack that a session is more like than all others, if there is one."""
    most = int(likeness.argmax())
    return KINDS[most] if likeness[most] > _LIKE_MIN else ""


def _place(records: Records) -> tuple[int, int]:
    """Return the place of records among others; those of one shard stay in their order."""
    return records.window_us, records.shard


def _scores(n: Counts) -> Counts:
    return np.minimum(20.0 * np.log10(n), _SCORE_MAX)


def _ranked_again(wave: Wave) -> NDArray[Any]:
    again = np.zeros(len(wave.sessions), SCORED)
    for name in wave.sessions.dtype.names or ():
        again[name] = wave.sessions[name]
    again["certified"], again["n"], again["together"] = True, wave.n, wave.agents
    again["score"] = _scores(again["n"])
    return again


def _scored(
    rows: NDArray[Any], live: NDArray[np.bool_], counted: Counts, n: Counts, scores: Counts
) -> NDArray[Any]:
    scored = np.zeros(len(rows), SCORED)
    for name in ("session", "agent", "start_us", "ts_us", "rows"):
        scored[name] = rows[name]
    scored["live"], scored["certified"] = live, n <= counted
    scored["n"], scored["score"] = n, scores
    return scored
