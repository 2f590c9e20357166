"""`astray report` and `astray compare`: what they write, and what they cannot."""

import orjson
import pytest

from astray.config import default_toml
from astray.lab.simulate import SimulationOptions, simulate, write
from running import complaints, from_here, invoked


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Make a folder with a small recording, its labels beside it, and two configurations."""
    folder = tmp_path_factory.mktemp("reporting")
    options = SimulationOptions(agents=10, days=6, seed=4, attacks={"exfiltration": 8})
    write(simulate(options), folder / "fleet.events.jsonl.gz", folder / "fleet.labels.jsonl.gz")
    (folder / "a.toml").write_text(default_toml())
    (folder / "b.toml").write_text("[baseline]\nhalf_life_days = 2.0\n")
    return folder


def test_a_report_is_one_page(site):
    """The page is written where it is asked for; the labels beside the recording are its answers."""
    result = invoked("report", "fleet.events.jsonl.gz", "-o", "page.html", cwd=site)

    assert (result.returncode, result.stdout) == (0, b"")
    page = (site / "page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "<title>astray: fleet.events.jsonl.gz</title>" in page
    assert page.count("<svg") == 6
    assert "8 of them bad" in page
    assert result.stderr.startswith(b"page.html: ")


def test_misses_are_told_at_the_budget_that_is_given(site):
    """`--budget` says at which limit sessions are caught or missed."""
    told = {}
    for budget in (20, 900_000):
        invoked("report", "fleet.events.jsonl.gz", "-o", "b.html", "--budget", budget, cwd=site)
        told[budget] = (site / "b.html").read_text()

    assert "reach a budget of 20 per million" in told[20]
    assert "8 bad sessions stay below the limit" in told[20]
    assert "0 bad sessions stay below the limit" in told[900_000]


def test_a_recording_without_answers_is_reported_without_them(site, tmp_path):
    """Where no labels are named and none lie beside it, the page does without."""
    (tmp_path / "own.jsonl.gz").write_bytes((site / "fleet.events.jsonl.gz").read_bytes())

    result = invoked("report", "own.jsonl.gz", "--out", "page.html", cwd=tmp_path)

    assert result.stderr.endswith(b" sessions, without labels\n")
    assert "Without labels" in (tmp_path / "page.html").read_text()


def test_sessions_that_change_sides_are_told_with_both_reasons(site):
    """As JSON: both sides, the measures with intervals, and every session that moved."""
    result = invoked(
        "compare", "a.toml", "b.toml", "fleet.events.jsonl.gz", "--budget", 30000, "--json", cwd=site
    )  # fmt: skip

    assert result.returncode == 0, result.stderr.decode()
    found = orjson.loads(result.stdout)
    assert [side["config"] for side in found["sides"].values()] == ["a.toml", "b.toml"]
    assert found["sides"]["a"]["model_hash"] != found["sides"]["b"]["model_hash"]
    assert set(found["metrics"]) == {
        "recall", "prevented", "false_per_million", "pr_auc", "roc_auc"
    }  # fmt: skip
    for sides in found["metrics"].values():
        assert sides["b_minus_a"]["value"] == pytest.approx(
            sides["b"]["value"] - sides["a"]["value"]
        )
        for one in sides.values():
            assert one["low"] <= one["high"]
    assert found["changed"]
    least = 1e6 / 30000
    for one in found["changed"]:
        assert one["a"]["reached"] != one["b"]["reached"]
        for side in (one["a"], one["b"]):
            assert side["reached"] == (side["n"] >= least * (1 - 1e-9))
            assert side["evidence"]
            assert max(side["bits"].values()) > 0
    moved = [abs(one["a"]["score"] - one["b"]["score"]) for one in found["changed"]]
    assert moved == sorted(moved, reverse=True)


def test_a_comparison_is_told_in_words(site):
    """Without --json people read it, on standard error as all that is no data."""
    result = invoked(
        "compare", "a.toml", "b.toml", "fleet.events.jsonl.gz", "--budget", 30000, cwd=site
    )

    assert (result.returncode, result.stdout) == (0, b"")
    told = result.stderr.decode()
    assert "a: a.toml, model " in told
    assert "sessions change sides:" in told
    assert "a to b: " in told
    assert "; bits: " in told


def test_a_configuration_compared_with_itself_changes_nothing(site):
    """Equal configurations differ in no session and in no measure."""
    result = invoked("compare", "a.toml", "a.toml", "fleet.events.jsonl.gz", "--json", cwd=site)

    found = orjson.loads(result.stdout)
    assert found["changed"] == []
    for sides in found["metrics"].values():
        assert sides["a"] == sides["b"]
        assert set(sides["b_minus_a"].values()) == {0.0}


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        pytest.param(
            ["report", "missing.jsonl", "-o", "nowhere/page.html", "--labels", "none.jsonl", "--config", "no.toml", "--budget", "2e6"],
            [
                "no.toml: no such file",
                "none.jsonl: cannot be read: No such file or directory",
                "missing.jsonl: No such file or directory",
                "nowhere/page.html: cannot be written: No such file or directory",
                "--budget: from 1 to a million, not 2e+06",
            ],
            id="report",
        ),
        pytest.param(
            ["compare", "no.toml", "none.toml", "missing.jsonl", "--budget", "0"],
            [
                "no.toml: no such file",
                "none.toml: no such file",
                "missing.jsonl: No such file or directory",
                "--budget: from 1 to a million, not 0",
            ],
            id="compare",
        ),
    ],
)  # fmt: skip
def test_all_that_cannot_be_used_is_named_at_once(arguments, sentences, tmp_path):
    """Configurations, labels, recordings and outputs are checked before anything is read."""
    said = complaints(invoked(*arguments, cwd=tmp_path))

    page = from_here(tmp_path / "nowhere" / "page.html")
    assert [line.removesuffix(page) for line in said] == [f"astray: {one}" for one in sentences]
