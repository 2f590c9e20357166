"""`astray tune`: from recordings to a model that can be run, and what an interruption leaves."""

import hashlib
import os
import shlex
import signal
import subprocess
import tomllib
from pathlib import Path

import orjson
import pytest

from astray.config import load_config
from astray.lab.simulate import SimulationOptions, simulate, write
from running import COMMAND, WAIT_S, complaints, environment_with, invoked, until

_BASE = """
[baseline]
window_s = 1800

[default_policy]
never_suspend = ["pay-*"]

[[webhook]]
url = "https://idp.example.com/hooks"
secret = "env:KEY"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Make a folder with two small recordings, their labels beside them, and a configuration."""
    folder = tmp_path_factory.mktemp("tuning")
    for name, seed in (("one", 4), ("two", 5)):
        options = SimulationOptions(agents=8, days=5, seed=seed, attacks={"exfiltration": 6})
        write(
            simulate(options),
            folder / f"{name}.events.jsonl.gz",
            folder / f"{name}.labels.jsonl.gz",
        )
    (folder / "base.toml").write_text(_BASE)
    return folder


def test_the_best_becomes_a_model_that_can_be_run(site):
    """The model is the base with the chosen parameters, and its card says all it comes from."""
    result = invoked(
        "tune", "one.events.jsonl.gz", "two.events.jsonl.gz", "--config", "base.toml",
        "--sweep", "baseline.half_life_days=7,60", "--budget", 1000, "--budget", 20000,
        "--accept", 50000, "--by", "pr_auc", "--jobs", 2, "--out", "models/tuned", cwd=site,
    )  # fmt: skip

    assert result.returncode == 0, result.stderr.decode()
    folder = site / "models" / "tuned"
    assert {path.name for path in folder.iterdir()} == {"model.toml", "card.md", "card.json"}
    card = orjson.loads((folder / "card.json").read_bytes())
    config = load_config(folder / "model.toml")
    assert (card["model_hash"], card["config_hash"]) == (config.model_hash, config.config_hash)
    assert (config.baseline.window_s, config.webhook[0].secret) == (1800, "env:KEY")
    assert config.default_policy.never_suspend == ("pay-*",)
    assert config.default_policy.suspend.budget_per_million == card["budget_per_million"]
    half_life = card["parameters"].get("baseline.half_life_days", 21.0)
    assert config.baseline.half_life_days == half_life
    assert (card["trials_done"], card["trials_planned"], len(card["trials"])) == (3, 3, 3)
    scores = [trial["chosen"]["pr_auc"] for trial in card["trials"] if trial["accepted"]]
    assert scores == sorted(scores, reverse=True)
    for one, name in zip(card["recordings"], ("one", "two"), strict=True):
        data = (site / f"{name}.events.jsonl.gz").read_bytes()
        assert one["events_sha256"] == hashlib.sha256(data).hexdigest()
        assert one["bad"] == 6
        recall = one["held_out"]["recall"]
        assert recall["value"] is None or recall["low"] <= recall["value"] <= recall["high"]
    told = (folder / "card.md").read_text()
    assert card["model_hash"] in told
    assert card["recordings"][0]["events_sha256"] in told
    assert "NaN" not in (folder / "card.json").read_text()
    assert b"astray run --config models/tuned/model.toml" in result.stderr
    (command,) = [line for line in told.splitlines() if line.startswith("astray run ")]
    assert load_config(Path(shlex.split(command)[3])).model_hash == card["model_hash"]


def test_without_a_sweep_the_threshold_alone_is_tuned(site):
    """One trial, one budget, and nothing else in the model."""
    result = invoked("tune", "one.events.jsonl.gz", "--out", "models/threshold", cwd=site)

    assert result.returncode == 0, result.stderr.decode()
    model = tomllib.loads((site / "models" / "threshold" / "model.toml").read_text())
    assert list(model) == ["default_policy"]
    assert list(model["default_policy"]["suspend"]) == ["budget_per_million"]


def _sweep(site, out):
    """Start a sweep that takes long, as the leader of a group as in a terminal."""
    return subprocess.Popen(
        [
            *COMMAND, "tune", "one.events.jsonl.gz", "--out", out, "--jobs", "1",
            "--sweep", "baseline.half_life_days=5.0..90.0", "--trials", "300",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=site,
        env=environment_with(), start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_says_so(site):
    """Ctrl-C, which all processes of a terminal get, ends the sweep with the trials done so far."""
    process = _sweep(site, "models/cut")
    assert process.stderr is not None
    said = b""
    while b"replays done" not in said:
        line = process.stderr.readline()
        assert line, said.decode()
        said += line
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=WAIT_S)

    assert process.returncode == 1
    assert b"Traceback" not in said + rest
    card = orjson.loads((site / "models" / "cut" / "card.json").read_bytes())
    assert card["trials_planned"] == 301
    assert 1 <= card["trials_done"] == len(card["trials"]) < 301
    assert f"interrupted: {card['trials_done']} of 301 trials were done".encode() in rest
    assert "interrupted" in (site / "models" / "cut" / "card.md").read_text()
    until(lambda: not _members(process.pid), "all processes of the sweep to end")


def test_ctrl_c_while_the_workers_are_starting_writes_nothing(site):
    """Whoever is still starting does not complain, and no model is made of no trial."""
    process = _sweep(site, "models/early")
    until(lambda: len(_members(process.pid)) > 2, "a worker beside the sweep and its helper")
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=WAIT_S)

    assert process.returncode == 1
    assert said == b"interrupted before any trial was done; nothing is written\n"
    assert not (site / "models" / "early").exists()
    until(lambda: not _members(process.pid), "all processes of the sweep to end")


def _members(group):
    """Return the processes of a group that are still running."""
    told = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, check=True).stdout  # noqa: S607
    return [
        line
        for line in told.split(b"\n")
        if line.split()[:1] == [b"%d" % group] and b"Z" not in line
    ]


def test_all_that_keeps_a_sweep_from_starting_is_said_at_once(site):
    """Recordings, labels, sweeps, aims and the folder: one sentence each, before any work."""
    (site / "taken").mkdir()
    (site / "taken" / "card.md").touch()
    (site / "bad.labels.jsonl").write_bytes(b'{"session":"s","agent":"a","label":1}\n{}\n')
    said = complaints(
        invoked(
            "tune", "one.events.jsonl.gz", "missing.jsonl", "--labels", "bad.labels.jsonl",
            "--labels", "one.labels.jsonl.gz", "--sweep", "baseline.colour=1", "--by", "beauty",
            "--accept", "0", "--budget", "0.5", "--held-out", "1", "--out", "taken", cwd=site,
        )
    )  # fmt: skip

    assert said == [
        "astray: missing.jsonl: No such file or directory",
        "astray: bad.labels.jsonl:2: not a label: session is not a text",
        "astray: --sweep baseline.colour=1: baseline.colour = 1: there is no such key",
        "astray: --budget: from 1 to a million, not 0.5",
        "astray: --by: one of recall, mean_recall, prevented, pr_auc, roc_auc, not beauty",
        "astray: --accept: above 0 and below a million, not 0",
        "astray: --held-out: a share between 0 and 1, not 1",
        "astray: taken: there is a card.md already; name another folder",
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param(["--labels", "one.labels.jsonl.gz"] * 2, "--labels: 2 files for 1 recordings", id="labels"),
        pytest.param(["--sweep", "baseline.window_s=60..90"], "--trials: needed for the range of baseline.window_s", id="range"),
        pytest.param(["--config", "missing.toml"], "missing.toml: no such file", id="no configuration"),
        pytest.param(["--out", "base.toml/x"], "base.toml/x: cannot be made: Not a directory", id="no folder"),
        pytest.param(["--out", "models/" + "x" * 300], f"models/{'x' * 300}: cannot be made: File name too long", id="long"),
        pytest.param(["--labels", "none.jsonl"], "none.jsonl: cannot be read: No such file or directory", id="no such labels"),
        pytest.param(["--labels", "base.empty"], "base.empty: there is no label in it", id="empty labels"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_sentences(options, sentence, site):
    """Options that contradict each other, or name nothing, are told, and nothing is left behind."""
    (site / "base.empty").write_bytes(b"\n")
    given = options if "--out" in options else [*options, "--out", "models/never"]

    said = complaints(invoked("tune", "one.events.jsonl.gz", *given, cwd=site))

    assert said == [f"astray: {sentence}"]
    assert not (site / "models" / "never").exists()


def test_a_recording_without_labels_is_told_which_option_gives_them(site):
    """There is nothing to tune on; where labels would have been found is said, too."""
    (site / "own.jsonl").write_bytes(b'{"ts": 1795312800, "agent": "a", "action": "b"}\n')

    said = complaints(invoked("tune", "own.jsonl", "gone.jsonl", "--out", "models/no", cwd=site))

    assert said == [
        "astray: gone.jsonl: No such file or directory",
        (
            "astray: own.jsonl: there are no labels of it: name them with --labels, or put them into "
            "own.labels.jsonl"
        ),
    ]
    assert not (site / "models" / "no").exists()


def test_a_recording_that_breaks_off_leaves_no_folder(site):
    """That is found out at work only, and nothing has been written by then."""
    (site / "cut.jsonl.gz").write_bytes(b"not packed")

    result = invoked(
        "tune", "cut.jsonl.gz", "--labels", "one.labels.jsonl.gz", "--out", "models/cut.d",
        "--jobs", 1, cwd=site,
    )  # fmt: skip

    assert "cut.jsonl.gz: cannot be read" in complaints(result, code=1)[0]
    assert not (site / "models" / "cut.d").exists()
