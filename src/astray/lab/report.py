"""A replay as one page of HTML that needs nothing but itself."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from astray.config import Config
from astray.decide.decision import Decision, Level, Withheld
from astray.events import clock
from astray.lab.card import number, with_intervals
from astray.lab.figures import (
    budget_chart,
    crossing_chart,
    honesty_chart,
    pr_chart,
    roc_chart,
    score_chart,
)
from astray.lab.labels import Key, Label, Labels, label_of
from astray.lab.outcomes import MILLION, Outcomes, least_n, outcomes_of
from astray.lab.page import Html, charts, element, page, points, table
from astray.lab.replay import Replay
from astray.lab.sessions import SessionScore

BUDGETS = (100.0, 1_000.0, 10_000.0)
WORST = 10
SUSPENDED_MAX = 100
_MINUTE_US = 60_000_000
_EVIDENCE_MAX = 4
_DELAYS = (
    (0, "by its first bad event"),
    (10_000_000, "within 10 s of it"),
    (60_000_000, "within 1 min of it"),
    (600_000_000, "within 10 min of it"),
    (2**62, "later"),
)
_PROTECTED = {
    Withheld.OBSERVE: "its policy only observes",
    Withheld.UNCERTIFIED: "the reference was too short to certify the score",
    Withheld.YOUNG: "the agent had fewer than 5 sessions",
    Withheld.NEVER_SUSPEND: "the agent is never suspended",
    Withheld.BREAKER: "its policy allowed no more suspensions in the hour",
    Withheld.PAST: "it lay too far in the past",
}


@dataclass(frozen=True)
class Report:
    """What a report is made of: a replay with explanations, and the answers if there are any.

    `at` is the budget that delays, misses and false alarms are told at; without one it is
    where everyone's policy suspends.
    """

    name: str
    config: Config
    result: Replay
    labels: Labels | None
    at: float | None = None

    @cached_property
    def outcomes(self) -> Outcomes | None:
        """The tested sessions."""
        if self.labels is None:
            return None
        return outcomes_of(self.result.sessions, self.labels, self.result.event_us)

    @cached_property
    def budget(self) -> float:
        """The budget that counts as the limit."""
        if self.at is not None:
            return self.at
        return MILLION / 10.0 ** (self.config.default_policy.suspend.as_score / 20.0)

    def label(self, session: SessionScore) -> Label | None:
        """Return what is known of a session."""
        return label_of(self.labels or {}, session.key)

    def tested(self, *, bad: bool) -> list[SessionScore]:
        """Return the tested sessions that are bad, or benign."""
        return [
            session
            for session in self.result.sessions
            if (label := self.label(session)) and label.phase == "test" and label.bad is bad
        ]

    def html(self) -> bytes:
        """Return the page."""
        parts = [*self._head(), *self._suspended()]
        if self.outcomes is None or not len(self.outcomes):
            parts += self._unlabelled()
        else:
            parts += [*self._measures(self.outcomes), *self._delays(), *self._worst()]
        return page(f"astray: {self.name}", *parts)

    def _head(self) -> Iterator[Html]:
        summary = self.result.summary()
        yield element(
            "p",
            f"{summary['events']:,} events, {summary['sessions']:,} sessions of "
            f"{summary['agents']:,} agents; {summary['rejects']:,} lines are no events. Model "
            f"{self.config.model_hash}, configuration {self.config.config_hash}, astray "
            f"{version('astray')}.",
            kind="small",
        )

    def _suspended(self) -> Iterator[Html]:
        yield element("h2", "What would have been suspended")
        suspended = dict(_suspensions(self.result.decisions))
        known = {one.key: one for one in self.result.sessions}
        rows = [
            (known[key], decision)
            for key, decision in sorted(suspended.items(), key=_moment)
            if key in known
        ]
        agents = len({(session.tenant, session.agent) for session, _ in rows})
        alerted = len({decision.case for decision in self.result.decisions})
        yield element(
            "p",
            f"{len(suspended):,} sessions of {agents:,} agents, of {alerted:,} sessions that "
            "alerted. ",
            self._lost(rows),
        )
        if len(rows) > SUSPENDED_MAX:
            yield element("p", f"The first {SUSPENDED_MAX} of {len(rows):,}:", kind="small")
        yield table(
            ("when", "agent", "session", "score", "answer", "minutes cut off", "why"),
            (
                (
                    clock.iso(decision.ts_us), session.agent, session.session,
                    f"{decision.score:.0f}", self._answer(session),
                    f"{_minutes(session, decision):,.1f}", decision.sentence,
                )
                for session, decision in rows[:SUSPENDED_MAX]
            ),
        )  # fmt: skip
        yield element("h2", "Who was protected")
        yield element("p", "Sessions that reached their limit and would not have been suspended:")
        protected = Counter(_withheld(self.result.decisions, suspended).values())
        yield table(
            ("sessions", "because"),
            ((f"{n:,}", _PROTECTED.get(why, str(why))) for why, n in protected.most_common()),
        )

    def _lost(self, rows: Sequence[tuple[SessionScore, Decision]]) -> str:
        """Return how much work of whom a suspension would have cut off."""
        lost = {True: 0.0, False: 0.0}
        for session, decision in rows:
            label = self.label(session)
            lost[label is not None and label.bad] += _minutes(session, decision)
        if self.labels is None:
            return f"{lost[False]:,.0f} minutes of what they did came after it."
        return (
            f"{lost[True]:,.0f} minutes of bad sessions would have been cut off, and "
            f"{lost[False]:,.0f} minutes of others' work lost."
        )

    def _answer(self, session: SessionScore) -> str:
        label = self.label(session)
        if label is None:
            return "-"
        return f"bad: {label.attack or 'unnamed'}" if label.bad else "benign"

    def _unlabelled(self) -> Iterator[Html]:
        sessions = self.result.sessions
        n = np.array([session.n for session in sessions])
        scores = np.array([session.score for session in sessions])
        yield element("h2", "Scores")
        yield element("p", "Without labels every session counts as benign here.", kind="small")
        yield charts(honesty_chart(n, "all sessions"), score_chart({"all sessions": scores}))
        yield element("h2", f"The {WORST} highest scores")
        yield self._explained(sorted(sessions, key=_oddness)[::-1][:WORST])

    def _measures(self, outcomes: Outcomes) -> Iterator[Html]:
        yield element("h2", "How good the scores are")
        yield element(
            "p",
            f"{len(outcomes):,} tested sessions, {int(outcomes.bad.sum()):,} of them bad. In "
            "brackets: where 95 of 100 values lie when agents are drawn anew.",
        )
        at = {budget: with_intervals(outcomes, budget) for budget in BUDGETS}
        names = list(next(iter(at.values())))
        yield table(
            ("budget per million", *(name.replace("_", " ") for name in names)),
            (
                (f"{b:,.0f}", *(_bracketed(found[name]) for name in names))
                for b, found in at.items()
            ),
        )
        scores = 20.0 * np.log10(np.maximum(outcomes.n, 1.0))
        groups = {"benign": scores[~outcomes.bad], "bad": scores[outcomes.bad]}
        yield charts(
            roc_chart(outcomes), pr_chart(outcomes), budget_chart(outcomes),
            honesty_chart(outcomes.n[~outcomes.bad], "benign sessions"), score_chart(groups),
        )  # fmt: skip
        recalls = {budget: outcomes.recall_by_attack(budget) for budget in BUDGETS}
        yield table(
            ("attack", "sessions", *(f"reached at {budget:,.0f}" for budget in BUDGETS)),
            (
                (
                    kind.replace("_", " "), f"{int((outcomes.attack == kind).sum()):,}",
                    *(number(recall[kind]) for recall in recalls.values()),
                )
                for kind in outcomes.attacks
            ),
        )  # fmt: skip

    def _delays(self) -> Iterator[Html]:
        yield element("h2", "How soon")
        yield element("p", f"When bad sessions reach a budget of {self.budget:,.0f} per million.")
        found: Counter[str] = Counter()
        events = []
        for session in self.tested(bad=True):
            crossed = crossing(session, self.budget)
            found[self._soon(session, crossed)] += 1
            if crossed is not None:
                events.append(crossed[1])
        order = [*(name for _, name in _DELAYS), "at an unknown time of it", "never"]
        yield table(("crossed", "bad sessions"), ((n, f"{found[n]:,}") for n in order if found[n]))
        yield charts(crossing_chart(np.array(events, float)))

    def _soon(self, session: SessionScore, crossed: tuple[int, int] | None) -> str:
        label = self.label(session)
        first_us = self.result.event_us.get(label.first_bad_event) if label else None
        if crossed is None:
            return "never"
        if first_us is None:
            return "at an unknown time of it"
        return next(name for delay_us, name in _DELAYS if crossed[0] - first_us <= delay_us)

    def _worst(self) -> Iterator[Html]:
        missed = [one for one in self.tested(bad=True) if one.n < least_n(self.budget)]
        alarms = [one for one in self.tested(bad=False) if one.n >= least_n(self.budget)]
        yield element("h2", "Worst misses")
        yield element("p", f"{len(missed):,} bad sessions stay below the limit; the lowest first.")
        yield self._explained(sorted(missed, key=_oddness)[:WORST])
        yield element("h2", "Worst false alarms")
        yield element("p", f"{len(alarms):,} benign sessions reach the limit; the highest first.")
        yield self._explained(sorted(alarms, key=_oddness)[::-1][:WORST])

    def _explained(self, sessions: Sequence[SessionScore]) -> Html:
        return table(
            ("agent", "session", "answer", "score", "crossed at", "first bad event", "evidence"),
            (self._explained_row(session) for session in sessions),
        )

    def _explained_row(self, session: SessionScore) -> tuple[Any, ...]:
        label, crossed = self.label(session), crossing(session, self.budget)
        return (
            session.agent,
            session.session,
            self._answer(session),
            f"{session.score:.1f}",
            f"event {crossed[1]:,} of {session.events:,}" if crossed else "-",
            (label.first_bad_event if label else "") or "-",
            self._evidence(session),
        )

    def _evidence(self, session: SessionScore) -> Html:
        why = self.result.explanations
        found = why.evidence(session.key) if why else ()
        told = [f"{one.share:.0%}: {one.sentence}" for one in found[:_EVIDENCE_MAX]]
        told[:0] = session.wave
        return points(told or ["nothing about it was unusual"])


def crossing(session: SessionScore, budget: float) -> tuple[int, int] | None:
    """Return when a session reached a budget, and at which of its events, counted from 1."""
    least = least_n(budget)
    steps = zip(session.steps, session.events_at, strict=True)
    return next(((ts_us, events) for (ts_us, n), events in steps if n >= least), None)


def _oddness(session: SessionScore) -> tuple[float, str, str, str]:
    return session.n, session.agent, session.session, session.tenant


def _suspensions(decisions: Sequence[Decision]) -> Iterator[tuple[Key, Decision]]:
    for decision in reversed(decisions):  # the first of a session is the last to be given
        if decision.suspends:
            yield _key(decision), decision


def _moment(suspended: tuple[Key, Decision]) -> tuple[int, Key]:
    key, decision = suspended
    return decision.ts_us, key


def _withheld(
    decisions: Sequence[Decision], suspended: Mapping[Key, Decision]
) -> dict[Key, Withheld]:
    return {
        _key(one): one.withheld
        for one in decisions
        if one.level is Level.WITHHELD and _key(one) not in suspended
    }


def _key(decision: Decision) -> Key:
    return decision.tenant, decision.agent, decision.session


def _minutes(session: SessionScore, decision: Decision) -> float:
    return max(session.end_us - decision.ts_us, 0) / _MINUTE_US


def _bracketed(found: Mapping[str, float]) -> str:
    return f"{number(found['value'])} ({number(found['low'])} to {number(found['high'])})"
