"""One session against its policy: which level it has reached, and the decision about it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astray.baseline.records import Finding
from astray.config import Config
from astray.decide.decision import Decision, Level, Mode, Withheld, case_id, decision_id
from astray.decide.evidence import evidence_of
from astray.decide.limits import Exceeded, exceeded, limit_evidence
from astray.decide.policies import CompiledPolicy, compile_policies, policy_of
from astray.events import Event, clock, known_event

OPEN_MAX = 100_000
"""Open sessions that are remembered; beyond it those that began first are forgotten."""

_FORGOTTEN_AT_ONCE = 16
"""Beyond a bound, one part in so many goes at once, so that sorting costs little."""

BREAKER_TENANTS_MAX = 10_000
"""Tenants whose suspensions are counted; beyond it those of the earliest hours are forgotten."""

_HOUR_US = 3_600_000_000
_YOUNG = 0
_LEVELS = list(Level)
_OBSERVED_LATER = "observed"
"""In the id of a decision, for its level: it was withheld before for another reason."""


Explained = tuple[NDArray[np.float64] | None, str]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A session that may have reached a level: where it stands and the event it got there with.

    `certified_score` is what of the score has been counted, and not extrapolated. `explain`
    tells the shares of its statistics in the score, and the kind of attack it looks like.
    """

    record: NDArray[np.void]
    line: bytes
    findings: tuple[Finding, ...]
    n: float
    score: float
    certified_score: float
    bits: NDArray[np.float32]
    explain: Callable[[], Explained]


@dataclass(slots=True)
class _Open:
    """What is remembered of an open session: its policy, and the highest level decided.

    `observed`: nothing but the mode has kept it from being suspended.
    """

    policy: int
    start_us: int
    level: int = -1
    observed: bool = False


class Breaker:
    """Counts suspensions per tenant and hour of event time."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}  # the hour and its suspensions

    def admits(self, tenant: str, ts_us: int, most: int) -> bool:
        """Count a suspension, and return whether the hour has room for it."""
        hour = ts_us // _HOUR_US
        last, count = self._counts.get(tenant, (hour, 0))
        count = 0 if hour > last else count
        self._counts[tenant] = (max(hour, last), count + 1)
        if len(self._counts) > BREAKER_TENANTS_MAX:
            self._forget_earliest()
        return count < most

    def _forget_earliest(self) -> None:
        by_hour = sorted(self._counts, key=lambda tenant: (self._counts[tenant][0], tenant))
        for tenant in by_hour[: BREAKER_TENANTS_MAX // _FORGOTTEN_AT_ONCE]:
            del self._counts[tenant]

    def dump(self) -> list[tuple[str, int, int]]:
        """Return the counts as JSON."""
        return [(tenant, *count) for tenant, count in sorted(self._counts.items())]

    def load(self, dumped: Iterable[tuple[str, int, int]]) -> None:
        """Take the counts of a dump."""
        self._counts = {tenant: (hour, count) for tenant, hour, count in dumped}


class Rules:
    """The policies of a configuration, and what has been decided of the open sessions.

    `breaker` counts real suspensions; `foreseen` what there would be if all policies enforced.
    """

    def __init__(self, config: Config) -> None:
        self.policies = compile_policies(config)
        self.floor_score = min(policy.alert_score for policy in self.policies)
        self.breaker = Breaker()
        self.foreseen = Breaker()
        self._hashes = {"model": config.model_hash, "config": config.config_hash}
        self._detectors = config.detector
        self._open: dict[int, _Open] = {}

    def decide(self, candidate: Candidate) -> Decision | None:
        """Return the decision about a session, or None where nothing new has been reached."""
        event = None
        session = int(candidate.record["session"])
        known = self._open.get(session)
        if known is None:
            event = known_event(candidate.line)
            known = self._remember(session, event, int(candidate.record["start_us"]))
        policy = self.policies[known.policy]
        beyond = exceeded(policy.limits, known.policy, candidate.record)
        if policy.limits.then == "alert" and candidate.score >= policy.suspend_score:
            beyond = None  # the score asks for more
        reached = _reached(policy, candidate.score, beyond)
        if reached is None or _LEVELS.index(reached) <= known.level:
            return None
        if known.observed and policy.mode is Mode.OBSERVE:
            return None
        event = event or known_event(candidate.line)
        withheld = Withheld.NOTHING
        if reached is Level.SUSPEND:
            withheld = self._withheld(policy, candidate, beyond, event)
            reached = Level.WITHHELD if withheld else Level.SUSPEND
            observed = withheld is Withheld.OBSERVE and not known.observed
            if _LEVELS.index(reached) <= known.level and not observed:
                return None
            known.observed |= observed
        name = _OBSERVED_LATER if _LEVELS.index(reached) == known.level else reached
        known.level = _LEVELS.index(reached)
        return self._decision(policy, candidate, beyond, event, reached, withheld, name)

    def end(self, session: int) -> None:
        """Forget an ended session."""
        self._open.pop(session, None)

    def _remember(self, session: int, event: Event, start_us: int) -> _Open:
        place = self.policies.index(policy_of(self.policies, event))
        known = self._open[session] = _Open(place, start_us)
        if len(self._open) > OPEN_MAX:
            for forgotten in self._oldest_first()[: OPEN_MAX // _FORGOTTEN_AT_ONCE]:
                del self._open[forgotten]
        return known

    def _oldest_first(self) -> list[int]:
        """Return the open sessions in an order that does not depend on who came first."""
        return sorted(self._open, key=lambda session: (self._open[session].start_us, session))

    def _withheld(
        self, policy: CompiledPolicy, candidate: Candidate, beyond: Exceeded | None, event: Event
    ) -> Withheld:
        """Return why a session at its suspension limit is not suspended, if it is not.

        That a policy only observes is said last: of what would be suspended if it enforced.
        """
        if policy.never_suspends(event.agent):
            return Withheld.NEVER_SUSPEND
        if beyond is None and candidate.record["age"] == _YOUNG:
            return Withheld.YOUNG
        certified = candidate.certified_score >= policy.suspend_score
        if beyond is None and not certified and not policy.enforce_uncertified:
            return Withheld.UNCERTIFIED
        at = (event.tenant, int(candidate.record["ts_us"]), policy.suspensions_per_hour_max)
        foreseen = self.foreseen.admits(*at)
        if policy.mode is Mode.OBSERVE:
            return Withheld.OBSERVE if foreseen else Withheld.BREAKER
        return Withheld.NOTHING if self.breaker.admits(*at) else Withheld.BREAKER

    def _decision(
        self,
        policy: CompiledPolicy,
        candidate: Candidate,
        beyond: Exceeded | None,
        event: Event,
        level: Level,
        withheld: Withheld,
        name: str,
    ) -> Decision:
        record = candidate.record
        session = event.session or f"{event.agent}@{clock.iso(int(record['start_us']))}"
        limit = policy.alert_score if level is Level.ALERT else policy.suspend_score
        shares, looks_like = candidate.explain()
        evidence = evidence_of(
            record, candidate.bits, candidate.findings, event, shares, self._detectors
        )
        if beyond is not None:
            evidence, looks_like = (limit_evidence(beyond, policy.limits, event),), ""
        return Decision(
            id=decision_id(event.tenant, event.agent, session, policy.name, name),
            case=case_id(event.tenant, event.agent, session),
            level=level,
            withheld=withheld,
            ts_us=int(record["ts_us"]),
            tenant=event.tenant,
            agent=event.agent,
            session=session,
            principal=event.principal,
            group=event.group,
            kind=event.kind,
            event_id=event.event_id,
            score=candidate.score,
            n=candidate.n,
            certified=beyond is not None or candidate.certified_score >= limit,
            limit=limit if beyond is None else beyond.limit,
            reason="score" if beyond is None else beyond.name,
            policy=policy.name,
            mode=policy.mode,
            age_class=int(record["age"]),
            evidence=evidence,
            looks_like=looks_like,
            **self._hashes,
        )

    def dump(self) -> list[tuple[int, str, int, int]]:
        """Return what is remembered of the open sessions as JSON; policies by their names."""
        return [
            (session, self.policies[known.policy].name, known.start_us, known.level)
            for session in self._oldest_first()
            for known in (self._open[session],)
        ]

    def dump_observed(self) -> list[int]:
        """Return the open sessions that nothing but the mode has kept from being suspended."""
        return [session for session in self._oldest_first() if self._open[session].observed]

    def load(
        self, dumped: Iterable[tuple[int, str, int, int]], observed: Iterable[int] | None = None
    ) -> None:
        """Take what dumps remember, as far as its policies are still there.

        Where nothing is said of who was `observed`, the mode was said before most reasons.
        """
        places = {policy.name: place for place, policy in enumerate(self.policies)}
        withheld = _LEVELS.index(Level.WITHHELD)
        known = None if observed is None else set(observed)
        for session, policy, start_us, level in dumped:
            if policy in places:
                is_observed = level == withheld if known is None else session in known
                self._open[session] = _Open(places[policy], start_us, level, is_observed)


def _reached(policy: CompiledPolicy, score: float, beyond: Exceeded | None) -> Level | None:
    if score >= policy.suspend_score or (beyond and policy.limits.then == "suspend"):
        return Level.SUSPEND
    if score >= policy.alert_score or beyond:
        return Level.ALERT
    return None
