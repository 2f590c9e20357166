"""What counts as met, as a miss, as absent; and the card that says so."""

import pytest

from detection.card import card
from detection.recordings import KINDS
from detection.targets import Row, rows_of


def found(sessions=20_000, bad=100, attack=0.5, young=0, **measures):
    """Return what the bench finds on one set."""
    numbers = {"roc_auc": 0.9, "pr_auc": 0.5, "recall_at_0.01": 0.4, "recall_at_0.05": 0.6,
               "recall_at_0.001": 0.1, "realised_0.01": 1.0, "realised_0.001": 1.0, **measures}  # fmt: skip
    recalls = {f"recall_at_{rate}": attack for rate in (0.05, 0.01, 0.001)}
    return {
        "sessions": sessions,
        "bad": bad,
        "measures": numbers,
        "intervals": {name: [value - 0.1, value + 0.1] for name, value in numbers.items()},
        "by_attack": {kind: {"sessions": 20, **recalls} for kind in KINDS},
        "by_age": {
            age: {"benign": 50, "reaching_1_in_100": young, "reaching_1_in_1000": 0, "suspended": 0}
            for age in ("below 5", "5 to 30", "above 30")
        },
        "new_agents": {"agents": 4, "alerts": 0, "median_score": 20.0},
        "in_time": 0.6,
        "above_40": 0.01,
    }


def verdicts(sets, baselines=None):
    """Return the verdicts of all rows by their ids."""
    return {row.id: row.verdict for row in rows_of(sets, baselines or {})}


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        pytest.param(Row("x", 0.5, 0.5), "met", id="as high as it must be"),
        pytest.param(Row("x", 0.499, 0.5), "MISS", id="too low"),
        pytest.param(Row("x", 0.02, None, 0.02), "met", id="as low as it must be"),
        pytest.param(Row("x", 0.021, None, 0.02), "MISS", id="too high"),
        pytest.param(Row("x", 1.4, 0.5, 1.3), "MISS", id="beyond a range"),
        pytest.param(Row("x", 0.4, 0.5, 1.3), "MISS", id="below a range"),
        pytest.param(Row("x", None, 0.5), "absent", id="not measured"),
    ],
)
def test_a_row_is_met_missed_or_absent(row, verdict):
    """A value on the target meets it; what was not measured is never met."""
    assert row.verdict == verdict
    assert row.as_dict()["verdict"] == verdict


def test_sets_that_are_not_there_are_absent():
    """Every permanent row is listed, whatever could be measured."""
    nothing = verdicts({})

    assert set(nothing.values()) == {"absent"}
    assert {"agentdojo-fresh-dev/pr_auc", "darpa98/roc_auc", "taubench/above_40",
            "simulate/six_kinds/recall_at_0.001"} <= set(nothing)  # fmt: skip


def test_rows_are_judged_by_their_own_targets():
    """Each set has targets of its own."""
    sets = {
        "agentdojo-fresh-dev": found(pr_auc=0.73, roc_auc=0.96),
        "taubench": found() | {"above_40": 0.03},
    }

    judged = verdicts(sets)

    assert judged["agentdojo-fresh-dev/pr_auc"] == "met"
    assert judged["agentdojo-fresh-dev/roc_auc"] == "MISS"
    assert judged["agentdojo-fresh-dev/in_time_at_0.05"] == "met"
    assert judged["taubench/above_40"] == "MISS"
    assert judged["agentdojo-dev/roc_auc"] == "absent"


def test_the_six_kinds_are_a_mean_over_kinds_and_seeds():
    """Campaigns and contaminated streams do not count among the seeds."""
    sets = {
        "simulate-11": found(attack=0.9),
        "simulate-12": found(attack=1.0),
        "simulate-campaigns-11": found(attack=0.0),
    }

    row = {row.id: row for row in rows_of(sets, {})}["simulate/six_kinds/recall_at_0.01"]

    assert row.value == pytest.approx(0.95)
    assert row.interval == pytest.approx((0.9, 1.0))
    assert row.verdict == "met"


def test_young_agents_are_judged_over_all_seeds():
    """Four of 200 sessions at 1 in 100 are twice as many as promised; one alert is one too many."""
    sets = {f"simulate-{seed}": found(young=1) for seed in (11, 12, 13, 14)}
    sets["simulate-11"]["new_agents"]["alerts"] = 1

    rows = {row.id: row for row in rows_of(sets, {})}

    assert rows["simulate/below_5/realised_0.01"].value == pytest.approx(2.0)
    assert rows["simulate/below_5/realised_0.01"].verdict == "MISS"
    assert rows["simulate/below_5/suspended"].verdict == "met"
    assert rows["simulate/new_agents/alerts"].verdict == "MISS"
    assert "16 new agents" in rows["simulate/new_agents/alerts"].note


@pytest.mark.parametrize(
    ("benign", "judged"),
    [pytest.param(9_999, False, id="too few"), pytest.param(10_000, True, id="enough")],
)
def test_one_in_a_thousand_needs_ten_thousand(benign, judged):
    """The realised rate at 0.1 % is judged only where it says something."""
    ids = verdicts({"darpa98": found(sessions=benign + 5, bad=5)})

    assert ("darpa98/realised_0.001" in ids) is judged
    assert "darpa98/realised_0.01" in ids


def test_ahead_means_in_both_areas():
    """A lead in one area does not make up for the other."""
    better = {"value": 0.8, "by": "max"}
    ahead = {"roc_auc": better, "pr_auc": {"value": 0.3, "by": "sum"}}
    behind = {"roc_auc": better, "pr_auc": {"value": 0.6, "by": "sum"}}

    judged = verdicts({"darpa98": found()}, {"darpa98": {"a": ahead, "b": behind}})

    assert judged["darpa98/ahead_of/a"] == "met"
    assert judged["darpa98/ahead_of/b"] == "MISS"


def test_the_card_says_what_was_missed_and_what_is_absent():
    """Misses are counted and named, sets that were not there too."""
    sets = {"simulate-11": found()}
    measures = {
        name: {"value": 0.4, "by": "mean"} for name in ("roc_auc", "pr_auc", "recall_at_0.01")
    }
    baselines = {"simulate-11": {"markov": measures}}
    rows = [row.as_dict() for row in (*rows_of(sets, baselines), Row("only/told", 0.25))]
    results = {
        "rows": rows, "sets": sets, "baselines": baselines, "absent": ["darpa98"],
        "ablations": {"simulate-11": {"without peers": {"pr_auc": 0.25}}},
        "fusions": {}, "contamination": {"simulate": {"20 %": {"realised_0.01": 0.1}}},
        "plugins": {},
    }  # fmt: skip

    text = card({"commit": "abc", "dirty": True, "results": results})

    assert f"{len(rows)} rows, 4 missed" in text
    assert "with changes that are not in it" in text
    assert "| simulate/six_kinds/recall_at_0.01 | 0.500 | 0.500 to 0.500 | >= 0.92 | MISS |" in text
    assert "| only/told | 0.250 |  |  |  |" in text
    assert "Not there, so not measured: darpa98." in text
    assert "| without peers | 0.250 |" in text
    assert "| 20 % | 0.100 |" in text
    assert "| simulate-11 | markov | 0.400 | 0.400 | 0.400 | mean |" in text
