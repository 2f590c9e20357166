"""What became of labelled sessions: measures at a budget, against what one counts by hand."""

import math

import numpy as np
import pytest

from astray.lab.labels import Label
from astray.lab.outcomes import least_n, outcomes_of
from astray.lab.sessions import SessionScore


def session(name, n, *steps, agent="a", start_us=0):
    """Return a session as it ended."""
    return SessionScore(name, agent, start_us, n=n, steps=list(steps))


def label(name, *, agent="a", bad=False, attack="", first="", phase="test"):
    """Return what is known of a session."""
    return Label(name, agent, bad=bad, attack=attack, phase=phase, first_bad_event=first)


@pytest.fixture
def outcomes():
    """Make four benign sessions, four bad ones, and some that are not measured."""
    sessions = [
        *(session(f"b{n}", float(n), agent=f"agent-{n % 2}") for n in (1, 10, 100, 1000)),
        session("early", 1000.0, (10, 999.0), (20, 1000.0)),
        session("late", 500.0, (30, 2.0), (40, 500.0)),
        session("missed", 5.0, (10, 5.0)),
        session("untimed", 2000.0, (10, 2000.0)),
        session("warm", 1e6),
        session("unknown", 1e6),
    ]
    labels = [
        *(label(f"b{n}", agent=f"agent-{n % 2}") for n in (1, 10, 100, 1000)),
        label("early", bad=True, attack="theft", first="e1"),
        label("late", bad=True, attack="theft", first="e2"),
        label("missed", bad=True, attack="abuse", first="e3"),
        label("untimed", bad=True),
        label("warm", bad=True, phase="warmup"),
    ]
    event_us = {"e1": 20, "e2": 35, "e3": 10}
    return outcomes_of(sessions, {one.key: one for one in labels}, event_us)


def test_only_tested_sessions_with_a_label_are_measured(outcomes):
    """The warm-up, and what has no label, is left out."""
    assert outcomes.name.tolist() == [
        "b1", "b10", "b100", "b1000", "early", "late", "missed", "untimed",
    ]  # fmt: skip
    assert outcomes.bad.tolist() == [False] * 4 + [True] * 4
    assert outcomes.agent.tolist() == [0, 1, 1, 1, 2, 2, 2, 2] or len(set(outcomes.agent)) == 3


@pytest.mark.parametrize(
    ("budget", "recall", "prevented", "false"),
    [
        pytest.param(1000.0, 2 / 4, 1 / 4, 250_000.0, id="1 in 1,000"),
        pytest.param(2000.0, 3 / 4, 1 / 4, 250_000.0, id="1 in 500"),
        pytest.param(200_000.0, 4 / 4, 2 / 4, 750_000.0, id="1 in 5"),
        pytest.param(1.0, 0.0, 0.0, 0.0, id="1 in a million"),
    ],
)
def test_measures_at_a_budget_worked_out_by_hand(outcomes, budget, recall, prevented, false):
    """A session reaches a budget at exactly its n; in time is by the first bad event."""
    assert outcomes.recall(budget) == recall
    assert outcomes.prevented(budget) == prevented
    assert outcomes.false_per_million(budget) == false


def test_recall_is_told_by_attack(outcomes):
    """Each kind has its own share; a bad session without a kind is unnamed."""
    assert outcomes.recall_by_attack(1000.0) == {"abuse": 0.0, "theft": 0.5, "unnamed": 1.0}


def test_a_score_of_60_is_a_budget_of_1000():
    """The n of a score reaches the budget of that score, whatever rounding does."""
    for score, budget in ((40.0, 10_000.0), (60.0, 1_000.0), (80.0, 100.0)):
        assert 10 ** (score / 20) >= least_n(budget)
        assert 10 ** ((score - 0.001) / 20) < least_n(budget)


def test_the_last_sessions_are_held_out(outcomes):
    """Division is by when sessions began, and agents are numbered anew in each part."""
    sessions = [session(f"s{at}", 1.0, agent=f"a{at}", start_us=-at) for at in range(10)]
    labels = [label(one.session, agent=one.agent) for one in sessions]

    first, last = outcomes_of(sessions, {one.key: one for one in labels}, {}).divided(0.3)

    assert sorted(last.name.tolist()) == ["s0", "s1", "s2"]
    assert (len(first), sorted(last.agent.tolist())) == (7, [0, 1, 2])


def test_nothing_to_measure_is_undefined():
    """Without sessions no measure has a value, and nothing fails."""
    nothing = outcomes_of([], {}, {})
    first, last = nothing.divided(0.5)

    assert (len(first), len(last), nothing.attacks) == (0, 0, [])
    assert math.isnan(nothing.recall(10.0))
    assert math.isnan(nothing.curve().pr_auc)
    assert isinstance(nothing.n, np.ndarray)


def test_agents_of_two_tenants_that_have_one_name_are_two():
    """Each session has its own answer, and intervals are over two agents."""
    sessions = [SessionScore("s", "a", 0, n=9.0, tenant=tenant) for tenant in ("", "acme")]
    labels = [
        Label("s", "a", bad, "", "test", "", tenant) for tenant, bad in (("", 0), ("acme", 1))
    ]

    found = outcomes_of(sessions, {one.key: one for one in labels}, {})

    assert (found.bad.tolist(), found.agent.tolist()) == ([False, True], [0, 1])
