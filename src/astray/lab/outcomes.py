"""What became of the labelled sessions of a replay, as columns, and measures of it.

A threshold is a budget here: false ones that are accepted per million sessions. A session
reaches it when 1 in a million / budget sessions look like it does, or fewer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from astray.lab.curves import Curve, Ranking, Weights, share
from astray.lab.labels import Label, Labels, label_of
from astray.lab.metrics import Flags
from astray.lab.sessions import SessionScore

MILLION = 1e6
_ROUNDING = 1e-9


def least_n(budget: float) -> float:
    """Return the n from which on a session reaches a budget.

    >>> round(least_n(1000.0))
    1000
    """
    return MILLION / budget * (1.0 - _ROUNDING)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Labelled sessions, an element each.

    `n`: 1 in n sessions look like this one did at its oddest. `n_in_time` is how odd it was
    when its first bad event had been scored, 0 where there is no such event. `agent` numbers
    the agents.
    """

    name: NDArray[np.str_]
    tenant: NDArray[np.str_]
    agent_name: NDArray[np.str_]
    agent: NDArray[np.int64]
    start_us: NDArray[np.int64]
    n: NDArray[np.float64]
    n_in_time: NDArray[np.float64]
    bad: Flags
    attack: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.n)

    def only(self, flags: Flags) -> Self:
        """Return those sessions that are flagged."""
        columns = {field.name: getattr(self, field.name)[flags] for field in fields(self)}
        columns["agent"] = _numbers(columns["tenant"], columns["agent_name"])
        return type(self)(**columns)

    def divided(self, held_out: float) -> tuple[Self, Self]:
        """Divide by time: the sessions that began first, and a share of them all that came last."""
        if not len(self):
            return self, self
        order = np.argsort(self.start_us, kind="stable")
        first = np.zeros(len(self), np.bool_)
        first[order[: round(len(self) * (1.0 - held_out))]] = True
        return self.only(first), self.only(~first)

    def reached(self, budget: float) -> Flags:
        """Return which sessions reach a budget."""
        return self.n >= least_n(budget)

    def recall(self, budget: float, weights: Weights | None = None) -> float:
        """Return the share of the bad sessions that reach a budget."""
        return share(self.reached(budget), self.bad, weights)

    def prevented(self, budget: float, weights: Weights | None = None) -> float:
        """Return the share of the bad sessions that reach a budget by their first bad event."""
        return share(self.n_in_time >= least_n(budget), self.bad, weights)

    def false_per_million(self, budget: float, weights: Weights | None = None) -> float:
        """Return how many of a million benign sessions reach a budget."""
        return MILLION * share(self.reached(budget), ~self.bad, weights)

    def recall_by_attack(self, budget: float) -> dict[str, float]:
        """Return the share of the sessions of each attack that reach a budget."""
        reached = self.reached(budget)
        return {kind: share(reached, self.attack == kind) for kind in self.attacks}

    def ranking(self) -> Ranking:
        """Return the sessions in the order of their oddness."""
        return Ranking(self.n, self.bad)

    def curve(self) -> Curve:
        """Return the curve of that order."""
        return self.ranking().curve()

    @property
    def attacks(self) -> list[str]:
        """The kinds of attack that there are; a bad session without one is "unnamed"."""
        return sorted(set(self.attack[self.bad].tolist()))


def outcomes_of(
    sessions: Iterable[SessionScore],
    labels: Labels,
    event_us: Mapping[str, int],
    phase: str = "test",
) -> Outcomes:
    """Return the labelled sessions of a phase."""
    known = [
        (session, label)
        for session in sessions
        if (label := label_of(labels, session.key)) and label.phase == phase
    ]
    tenant = _texts(session.tenant for session, _ in known)
    agent_name = _texts(session.agent for session, _ in known)
    return Outcomes(
        name=_texts(session.session for session, _ in known),
        tenant=tenant,
        agent_name=agent_name,
        agent=_numbers(tenant, agent_name),
        start_us=np.array([session.start_us for session, _ in known], np.int64),
        n=np.array([session.n for session, _ in known], np.float64),
        n_in_time=np.array([n_in_time(*pair, event_us) for pair in known], np.float64),
        bad=np.array([label.bad for _, label in known], np.bool_),
        attack=_texts((label.attack or "unnamed") if label.bad else "" for _, label in known),
    )


def n_in_time(session: SessionScore, label: Label, event_us: Mapping[str, int]) -> float:
    """Return how odd a session was at its first bad event; 0 where that is not known."""
    first_us = event_us.get(label.first_bad_event)
    if first_us is None:
        return 0.0
    return max((n for ts_us, n in session.steps if ts_us <= first_us), default=1.0)


def _texts(texts: Iterable[str]) -> NDArray[Any]:
    """Return texts as an array of objects: one long name does not make all of them long."""
    return np.array([*texts, None], object)[:-1]


def _numbers(tenants: NDArray[Any], names: NDArray[Any]) -> NDArray[np.int64]:
    """Return numbers of agents: those of two tenants are two, whatever they are called."""
    places: dict[tuple[str, str], int] = {}
    agents = zip(tenants.tolist(), names.tolist(), strict=True)
    return np.array([places.setdefault(agent, len(places)) for agent in agents], np.int64)
