"""The charts of a report."""

import numpy as np
from numpy.typing import NDArray

from astray.lab.metrics import Scores
from astray.lab.outcomes import MILLION, Outcomes
from astray.lab.svg import Axis, Bars, Line, chart

_BUDGETS = np.geomspace(10.0, 100_000.0, 41)
_CHANCE = np.geomspace(1e-4, 1.0, 41)
_SCORE_EDGES = np.arange(0.0, 101.0, 5.0)
_EVENT_EDGES = np.array([0, 1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500, 1000], float)
_SHARE = Axis("share", 0.0, 1.0)
_FALSE_RATE = Axis("false rate", 1e-4, 1.0, log=True)
_BUDGET = Axis("budget: nominal false ones per million sessions", 10.0, 100_000.0, log=True)
_REALISED = Axis("realised per million", 10.0, 100_000.0, log=True)


def roc_chart(outcomes: Outcomes) -> str:
    """Return recall against the false rate, whose small values are what matters."""
    curve = outcomes.curve()
    chance = Line("by chance", _CHANCE, _CHANCE, faint=True)
    line = Line(f"area {curve.roc_auc:.3f}", curve.false_rate, curve.recall)
    return chart("ROC: recall against false rate", _FALSE_RATE, _SHARE, [line, chance])


def pr_chart(outcomes: Outcomes) -> str:
    """Return precision against recall."""
    curve = outcomes.curve()
    line = Line(f"area {curve.pr_auc:.3f}", curve.recall, curve.precision)
    recall = Axis("recall", 0.0, 1.0)
    return chart("Precision against recall", recall, Axis("precision", 0.0, 1.0), [line])


def budget_chart(outcomes: Outcomes) -> str:
    """Return what is caught, and what is caught in time, against the budget."""
    lines = [
        Line("reached", _BUDGETS, [outcomes.recall(budget) for budget in _BUDGETS]),
        Line("by the first bad event", _BUDGETS, [outcomes.prevented(b) for b in _BUDGETS]),
    ]
    return chart("Bad sessions caught, by budget", _BUDGET, _SHARE, lines)


def honesty_chart(n: NDArray[np.float64], name: str) -> str:
    """Return how many sessions really reach a budget, beside how many it allows."""
    rates = [MILLION * float(np.mean(n >= MILLION / budget)) for budget in _BUDGETS]
    seen = [rate if rate > 0.0 else np.nan for rate in rates] if len(n) else [np.nan] * 41
    lines = [Line(name, _BUDGETS, seen), Line("nominal", _BUDGETS, _BUDGETS, faint=True)]
    return chart("Realised against nominal false rate", _BUDGET, _REALISED, lines)


def score_chart(groups: dict[str, Scores]) -> str:
    """Return how scores are distributed in groups of sessions."""
    bars = []
    for name, scores in groups.items():
        counts, _ = np.histogram(np.minimum(scores, 99.9), _SCORE_EDGES)
        bars.append(Bars(f"{name} ({len(scores):,})", _SCORE_EDGES, counts / max(len(scores), 1)))
    share = Axis("share of the sessions", 1e-4, 1.0, log=True)
    return chart("Scores at their highest", Axis("score", 0.0, 100.0), share, bars=bars)


def crossing_chart(events: Scores) -> str:
    """Return at which of its events a session crossed."""
    counts, _ = np.histogram(np.minimum(events, 999.0) - 1, _EVENT_EDGES)
    most = Axis("sessions", 0.0, max(float(counts.max(initial=0)), 5.0))
    which = Axis("event of the session, from 1", 1.0, 1001.0, log=True)
    bars = [Bars(f"crossed ({len(events):,})", _EVENT_EDGES + 1, counts)]
    return chart("Event at which bad sessions crossed", which, most, bars=bars)
