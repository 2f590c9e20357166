"""What detectors of one's own are worth: permanent rows, with what they add and what they cost."""

import pytest

from astray.detectors.models import check_detectors
from detection.card import card
from detection.jobs import jobs
from detection.plugins import DETECTORS, WITHOUT, config_with, plugin_rows

_MEASURES = {"roc_auc": 0.9, "pr_auc": 0.5, "realised_0.01": 1.0}


def rows(**measured):
    """Return the rows of a fleet that was measured with some detectors, by their ids."""
    return {row.id: row for row in plugin_rows({"simulate-11": measured})}


@pytest.mark.parametrize("name", DETECTORS)
def test_every_variant_can_be_made(name):
    """There are such detectors, and nothing else differs from the default configuration."""
    config = config_with(name)

    check_detectors(config)

    assert len(config.detector) == len(DETECTORS[name])
    assert config.model_copy(update={"detector": ()}) == config_with(WITHOUT)


def test_a_detector_is_judged_by_what_it_adds():
    """What it costs is a miss from a hundredth on, in either area."""
    found = rows(
        without=_MEASURES,
        half_space_trees={**_MEASURES, "roc_auc": 0.895, "pr_auc": 0.55},
        one_class_svm={**_MEASURES, "pr_auc": 0.485, "realised_0.01": 1.4},
    )

    told = {row.id.removeprefix("simulate-11/with/"): row.verdict for row in found.values()}
    assert found["simulate-11/with/half_space_trees/gain/pr_auc"].value == pytest.approx(0.05)
    assert found["simulate-11/with/half_space_trees/gain/pr_auc"].note == (
        "0.500 without, 0.550 with"
    )
    assert told["half_space_trees/gain/roc_auc"] == "met"
    assert told["one_class_svm/gain/roc_auc"] == "met"
    assert told["one_class_svm/gain/pr_auc"] == "MISS"
    assert told["one_class_svm/realised_0.01"] == "MISS"
    assert told["both/gain/pr_auc"] == "absent"


def test_rows_are_listed_whatever_could_be_measured():
    """Nothing to compare with is absent, and so is a recording that is not there."""
    nothing = {row.id: row.verdict for row in plugin_rows({})}

    assert rows(both=_MEASURES).keys() == nothing.keys()
    assert set(nothing.values()) == {"absent"}
    assert rows(both=_MEASURES)["simulate-11/with/both/gain/pr_auc"].verdict == "absent"
    assert len(nothing) == 2 * 3 * (len(DETECTORS) - 1)


def test_they_can_be_measured_alone(tmp_path):
    """On a recording of agents and on a simulated fleet, with each, with both, and without."""
    work = jobs(tmp_path, tmp_path, {"plugins"})

    assert {(job.recording.name, job.variant) for job in work} == {
        (name, variant) for name in ("agentdojo-fresh-dev", "simulate-11") for variant in DETECTORS
    }


def test_the_card_shows_them():
    """A table by recording, with a row for each variant."""
    others = ("sets", "baselines", "ablations", "fusions", "contamination")
    results = {name: {} for name in others}
    results |= {"rows": [], "absent": [], "plugins": {"simulate-11": {WITHOUT: _MEASURES}}}

    text = card({"commit": "abc", "dirty": False, "results": results})

    assert "## With detectors of one's own beside the default: simulate-11" in text
    assert "| without | 0.900 | 0.500 | 1.000 |" in text
