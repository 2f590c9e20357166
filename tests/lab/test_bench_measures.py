"""The bench's measures agree with the lab's, and its intervals with what draws of agents give."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.lab.metrics import pr_auc, roc_auc, threshold_at
from detection.measures import FALSE_RATES, Ranking, flags_at, intervals, measured

rows = st.lists(
    st.tuples(st.integers(0, 6).map(float), st.booleans(), st.integers(0, 3)), max_size=40
)


def ranking_of(found) -> Ranking:
    """Return rows of (score, bad, agent) as a ranking."""
    scores, bad, agents = zip(*found, strict=True) if found else ((), (), ())
    return Ranking(np.array(scores, float), np.array(bad, bool), np.array(agents, np.int64))


@given(rows)
def test_one_pass_gives_what_the_definitions_give(found):
    """ROC-AUC, PR-AUC and recall in one pass are those of `astray.lab.metrics`."""
    ranking = ranking_of(found)

    measures = measured(ranking)

    if not ranking.bad.any() or ranking.bad.all():
        assert not {"roc_auc", "pr_auc"} & set(measures)
        return
    assert measures["roc_auc"] == pytest.approx(roc_auc(ranking.scores, ranking.bad))
    assert measures["pr_auc"] == pytest.approx(pr_auc(ranking.scores, ranking.bad))
    for rate in FALSE_RATES:
        threshold = threshold_at(ranking.scores[~ranking.bad], rate)
        caught = np.mean(ranking.scores[ranking.bad] > threshold)
        assert measures[f"recall_at_{rate}"] == pytest.approx(caught)


@given(rows)
def test_flags_are_what_recall_counts(found):
    """The sessions that are flagged at a rate are those that the recall is made of."""
    ranking = ranking_of(found)
    measures = measured(ranking)

    for rate in FALSE_RATES:
        flags = flags_at(ranking, rate)

        if "roc_auc" in measures:
            assert np.mean(flags[ranking.bad]) == pytest.approx(measures[f"recall_at_{rate}"])
        if not ranking.bad.all():
            assert np.mean(flags[~ranking.bad]) <= rate


def test_realised_is_a_multiple_of_nominal():
    """Of 1,000 benign sessions 20 at 1 in 100 and 3 at 1 in 1,000: twice and three times over."""
    scores = np.concatenate((np.full(3, 1000.0), np.full(17, 100.0), np.ones(980)))
    ranking = Ranking(scores, np.zeros(1000, bool), np.arange(1000))

    measures = measured(ranking)

    assert measures["realised_0.01"] == pytest.approx(2.0)
    assert measures["realised_0.001"] == pytest.approx(3.0)
    assert "roc_auc" not in measures


def test_intervals_are_of_agents_and_not_of_sessions():
    """Where everything hangs on one agent of five, the interval says so; sessions do not help."""
    generator = np.random.default_rng(2)
    agents = np.repeat(np.arange(5), 400)
    bad = np.tile(np.arange(400) < 40, 5)
    scores = generator.random(2000)
    scores[(agents == 0) & bad] += 1.0  # one agent's attacks alone are caught
    narrow = Ranking(scores, bad, np.arange(2000))

    by_agent = intervals(Ranking(scores, bad, agents))["recall_at_0.01"]
    by_session = intervals(narrow)["recall_at_0.01"]

    assert by_agent[1] - by_agent[0] > 3 * (by_session[1] - by_session[0])
    assert by_session[0] < measured(narrow)["recall_at_0.01"] < by_session[1]


def test_intervals_are_the_same_every_time():
    """Draws follow from a seed."""
    ranking = ranking_of([(at % 7 + (at % 5 == 0), at % 5 == 0, at % 4) for at in range(60)])

    assert intervals(ranking, 20) == intervals(ranking, 20)


def test_nothing_to_measure_is_left_out():
    """An empty ranking has no measure, and nothing is NaN."""
    empty = Ranking(np.zeros(0), np.zeros(0, bool), np.zeros(0, np.int64))

    assert measured(empty) == {}
    found = measured(ranking_of([(1.0, True, 0)]))
    assert all(math.isfinite(value) for value in found.values())
