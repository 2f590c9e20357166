"""Two configurations on one recording: which sessions change sides at a budget, and why."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from astray.config import Config
from astray.lab.card import measures_at
from astray.lab.curves import Weights, interval
from astray.lab.labels import Key, Labels, label_of
from astray.lab.outcomes import MILLION, Outcomes, least_n, outcomes_of
from astray.lab.replay import Replay, check_sessions, replay
from astray.lab.sessions import SessionScore

_EVIDENCE_MAX = 3
_BITS_MAX = 4


@dataclass(frozen=True)
class Side:
    """A configuration and what came of it."""

    name: str
    config: Config
    result: Replay

    @cached_property
    def sessions(self) -> dict[Key, SessionScore]:
        """The sessions by their keys."""
        return {one.key: one for one in self.result.sessions}

    def told(self, key: Key, budget: float) -> dict[str, Any]:
        """Return how a session stands on this side, and why."""
        session, why = self.sessions[key], self.result.explanations
        bits = why.bits(key) if why else {}
        evidence = why.evidence(key) if why else ()
        return {
            "reached": session.n >= least_n(budget),
            "score": session.score,
            "n": session.n,
            "certified": session.certified,
            "bits": bits,
            "evidence": [*session.wave, *(one.sentence for one in evidence[:_EVIDENCE_MAX])],
        }


@dataclass(frozen=True)
class Comparison:
    """Two sides, on the sessions that both have."""

    sides: tuple[Side, Side]
    labels: Labels | None
    budget: float

    @cached_property
    def common(self) -> list[Key]:
        """The sessions of both; when sessions end is a matter of configuration, too."""
        a, b = self.sides
        return [key for key in a.sessions if key in b.sessions]

    def summary(self) -> dict[str, Any]:
        """Return the comparison as JSON-ready values, the sessions that moved most first."""
        return {
            "budget_per_million": self.budget,
            "sessions": len(self.common),
            "sides": {
                letter: {
                    "config": side.name,
                    "model_hash": side.config.model_hash,
                    "config_hash": side.config.config_hash,
                    "only_here": len(side.sessions) - len(self.common),
                    "reached_per_million": self._reached(side),
                }
                for letter, side in zip("ab", self.sides, strict=True)
            },
            "metrics": dict(self._metrics()),
            "changed": self.changed(),
        }

    def _reached(self, side: Side) -> float:
        reached = [side.sessions[key].n >= least_n(self.budget) for key in self.common]
        return MILLION * float(np.mean(reached)) if reached else float("nan")

    def changed(self) -> list[dict[str, Any]]:
        """Return the sessions that reach the budget on one side only."""
        a, b = self.sides
        least = least_n(self.budget)
        keys = [k for k in self.common if (a.sessions[k].n >= least) != (b.sessions[k].n >= least)]
        keys.sort(key=lambda key: (-abs(a.sessions[key].score - b.sessions[key].score), key))
        return [
            {
                "tenant": key[0],
                "agent": key[1],
                "session": key[2],
                **_answer(self.labels, key),
                "a": a.told(key, self.budget),
                "b": b.told(key, self.budget),
            }
            for key in keys
        ]

    def _metrics(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each measure of both sides and of their difference, with intervals over agents.

        Both are measured on the same draws of agents, so the difference is much surer than
        either.
        """
        if self.labels is None:
            return
        of_a, of_b = (self._outcomes(side, self.labels) for side in self.sides)
        if not len(of_a):
            return
        pairs = zip(
            measures_at(of_a, self.budget).items(),
            measures_at(of_b, self.budget).values(),
            strict=True,
        )
        for (name, in_a), in_b in pairs:
            yield (
                name,
                {
                    "a": _sure(in_a, of_a),
                    "b": _sure(in_b, of_a),
                    "b_minus_a": _sure(_difference(in_a, in_b), of_a),
                },
            )

    def _outcomes(self, side: Side, labels: Labels) -> Outcomes:
        sessions = [side.sessions[key] for key in self.common]
        return outcomes_of(sessions, labels, side.result.event_us)


def compare(
    configs: tuple[tuple[str, Config], tuple[str, Config]],
    events: Path,
    labels: Labels | None,
    budget: float,
) -> Comparison:
    """Replay a recording with two configurations, each with a name.

    Raises
    ------
    ConfigError
        The recording is not there or empty.
    SourceError
        It cannot be read to its end.
    """
    results = [replay(events, config, labels, explain=True) for _, config in configs]
    check_sessions(results[0], events)
    first, second = (
        Side(name, config, result) for (name, config), result in zip(configs, results, strict=True)
    )
    return Comparison((first, second), labels, budget)


def moved_bits(changed: dict[str, Any]) -> dict[str, float]:
    """Return the statistics that moved most, in bits from a to b.

    >>> moved_bits({"a": {"bits": {"x": 1.0, "y": 2.0}}, "b": {"bits": {"x": 4.0, "y": 2.0}}})
    {'x': 3.0}
    """
    a, b = changed["a"]["bits"], changed["b"]["bits"]
    moved = {name: b.get(name, 0.0) - a.get(name, 0.0) for name in {**a, **b}}
    most = sorted(moved, key=lambda name: (-abs(moved[name]), name))[:_BITS_MAX]
    return {name: moved[name] for name in most if moved[name]}


def _answer(labels: Labels | None, key: Key) -> dict[str, Any]:
    label = label_of(labels or {}, key)
    if label is None:
        return {"bad": None, "attack": None, "phase": None}
    return {"bad": label.bad, "attack": label.attack or None, "phase": label.phase}


def _difference(
    in_a: Callable[[Weights], float], in_b: Callable[[Weights], float]
) -> Callable[[Weights], float]:
    return lambda weights: in_b(weights) - in_a(weights)


def _sure(measure: Callable[[Weights], float], outcomes: Outcomes) -> dict[str, float]:
    low, high = interval(measure, outcomes.agent)
    return {"value": measure(np.ones(len(outcomes))), "low": low, "high": high}
