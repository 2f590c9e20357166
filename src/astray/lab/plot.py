"""Plots of scored sessions with matplotlib, which comes with `pip install 'astray[lab]'`.

Each takes what `score` returns and draws on the axes that are given, or on new ones, which
it returns. Those about quality look at labelled sessions of the test phase.
"""

import importlib
from typing import Any

import numpy as np

from astray.errors import ConfigError
from astray.lab.curves import Ranking, share
from astray.lab.outcomes import MILLION, least_n
from astray.lab.table import Table

_BUDGETS = np.geomspace(10.0, 100_000.0, 41)
_SCORE_EDGES = np.arange(0.0, 101.0, 5.0)


def roc(sessions: Table, axes: Any = None) -> Any:
    """Draw recall against the false rate, on a logarithmic scale: small rates matter."""
    axes, tested = _axes(axes), _tested(sessions)
    curve = Ranking(tested["n"], tested["bad"]).curve()
    axes.plot(curve.false_rate, curve.recall, label=f"area {curve.roc_auc:.3f}")
    axes.set(xscale="log", xlim=(1e-4, 1.0), ylim=(0.0, 1.0), xlabel="false rate", ylabel="recall")
    axes.legend()
    return axes


def precision_recall(sessions: Table, axes: Any = None) -> Any:
    """Draw precision against recall."""
    axes, tested = _axes(axes), _tested(sessions)
    curve = Ranking(tested["n"], tested["bad"]).curve()
    axes.plot(curve.recall, curve.precision, label=f"area {curve.pr_auc:.3f}")
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.02), xlabel="recall", ylabel="precision")
    axes.legend()
    return axes


def budgets(sessions: Table, axes: Any = None) -> Any:
    """Draw which share of the bad sessions is caught, and caught in time, against the budget."""
    axes, tested = _axes(axes), _tested(sessions)
    for column, name in (("n", "reached"), ("n_in_time", "by the first bad event")):
        caught = [share(tested[column] >= least_n(b), tested["bad"]) for b in _BUDGETS]
        axes.plot(_BUDGETS, caught, label=name)
    axes.set(xscale="log", ylim=(0.0, 1.0), xlabel="budget per million", ylabel="share of the bad")
    axes.legend()
    return axes


def false_rate(sessions: Table, axes: Any = None) -> Any:
    """Draw how many benign sessions really reach a budget beside how many it allows."""
    axes, tested = _axes(axes), _tested(sessions)
    benign = ~tested["bad"]
    rates = [MILLION * share(tested["n"] >= least_n(b), benign) for b in _BUDGETS]
    axes.plot(_BUDGETS, rates, label="realised")
    axes.plot(_BUDGETS, _BUDGETS, linestyle="--", color="grey", label="nominal")
    axes.set(xscale="log", yscale="log", xlabel="budget per million", ylabel="per million")
    axes.legend()
    return axes


def scores(sessions: Table, axes: Any = None) -> Any:
    """Draw how scores are distributed among benign and bad sessions, or all without labels."""
    axes = _axes(axes)
    tested = _tested(sessions) if (sessions["phase"] != "").any() else sessions
    for flags, name in ((~tested["bad"], "benign"), (tested["bad"], "bad")):
        if flags.any():
            axes.hist(tested["score"][flags], _SCORE_EDGES, density=True, alpha=0.5, label=name)
    axes.set(yscale="log", xlabel="score", ylabel="density")
    axes.legend()
    return axes


def _tested(sessions: Table) -> Table:
    return sessions.where(sessions["phase"] == "test")


def _axes(axes: Any) -> Any:
    if axes is not None:
        return axes
    try:
        pyplot = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise ConfigError(["matplotlib is not installed: pip install 'astray[lab]'"]) from None
    return pyplot.subplots()[1]
