"""What tags are worth: permanent rows, over the fleets that were measured with and without."""

import pytest

from astray.lab.simulate.catalog import PRIVILEGED
from detection.jobs import jobs
from detection.recordings import SEEDS
from detection.tagging import tagging, tagging_rows

_ID = "simulate/privileged_action"


def measured(recall, realised=1.0):
    """Return what a fleet's numbers have of it."""
    return {
        "by_attack": {"privileged_action": {"recall_at_0.001": recall}},
        "measures": {"realised_0.01": realised},
    }


def test_powerful_actions_are_tagged_and_nothing_else_changes():
    """All that intruders reach for."""
    config = tagging()

    assert set(config.sensitive.actions) == set(PRIVILEGED)
    assert config.sensitive.resources == ()


def test_tags_are_compared_over_the_fleets_that_have_both():
    """The mean and the spread of the seeds; a rate that is not what it says is a miss."""
    sets = {"simulate-11": measured(0.25), "simulate-12": measured(0.5), "darpa98": {}}
    tagged = {
        name: {"recall_at_0.001": recall, "realised_0.01": 1.4}
        for name, recall in (("simulate-11", 0.75), ("simulate-12", 1.0))
    }

    found = {row.id: row for row in tagging_rows(sets, tagged)}

    assert found[f"{_ID}/untagged/recall_at_0.001"].value == pytest.approx(0.375)
    assert found[f"{_ID}/tagged/recall_at_0.001"].value == pytest.approx(0.875)
    assert found[f"{_ID}/tagged/recall_at_0.001"].interval == (0.75, 1.0)
    assert found[f"{_ID}/tagged/realised_0.01"].verdict == "MISS"


def test_what_was_not_measured_is_absent():
    """The rows are there all the same."""
    assert {row.verdict for row in tagging_rows({}, {})} == {"absent"}


def test_every_fleet_is_measured_with_tags(tmp_path):
    """One piece of work for each seed."""
    work = jobs(tmp_path, tmp_path, {"tagging"})

    assert [job.recording.name for job in work] == [f"simulate-{seed}" for seed in SEEDS]
