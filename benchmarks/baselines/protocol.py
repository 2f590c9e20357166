"""What a baseline is, and how events' scores become a session's."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from astray.events import Event

Key = tuple[str, str]
"""Agent and session."""

AGGREGATIONS = ("max", "mean", "sum")


class Baseline(Protocol):
    """A detector of a stream. Higher scores are odder; only their order counts."""

    def score_one(self, event: Event) -> float:
        """Return how odd an event is by what was learnt before it; change nothing."""
        ...

    def learn_one(self, event: Event) -> None:
        """Learn an event."""
        ...


class SessionAggregates(NamedTuple):
    """A session's events in one number, in three ways."""

    largest: float
    mean: float
    total: float


def scored_sessions(
    events: Iterable[Event], baselines: Mapping[str, Baseline]
) -> dict[str, dict[Key, SessionAggregates]]:
    """Score every event before it is learnt; return each baseline's scores of the sessions."""
    sums: dict[str, dict[Key, list[float]]] = {name: {} for name in baselines}
    for event in events:
        key = (event.agent, event.session)
        for name, baseline in baselines.items():
            score = baseline.score_one(event)
            baseline.learn_one(event)
            known = sums[name].get(key)
            if known is None:
                sums[name][key] = [score, score, 1.0]
            else:
                known[0] = max(known[0], score)
                known[1] += score
                known[2] += 1.0
    return {
        name: {
            key: SessionAggregates(largest, total / count, total)
            for key, (largest, total, count) in found.items()
        }
        for name, found in sums.items()
    }
