"""The lab in a notebook: columns, what they hold, and what they are drawn and handed on as."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import matplotlib as mpl
import numpy as np
import orjson
import pytest

from astray import lab
from astray.config import load_config
from astray.errors import ConfigError, SourceError
from astray.events import Event
from astray.lab import Table, plot, read_recording, score
from astray.lab.labels import read_labels
from astray.lab.replay import replay
from astray.lab.simulate import SimulationOptions, simulate, write
from running import WAIT_S, environment_with, lines
from strategies import NOW_US

_NOTEBOOK = Path(__file__).parents[2] / "models" / "default" / "example.ipynb"
mpl.use("Agg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make a small recording with attacks, its labels beside it, and a line that is no event."""
    folder = tmp_path_factory.mktemp("recording")
    options = SimulationOptions(agents=10, days=5, seed=4, attacks={"exfiltration": 6})
    write(simulate(options), folder / "fleet.events.jsonl", folder / "fleet.labels.jsonl")
    with (folder / "fleet.events.jsonl").open("ab") as file:
        file.write(b"nonsense\n\n")
    return folder


@pytest.fixture(scope="module")
def sessions(folder):
    """Score it."""
    return score(folder / "fleet.events.jsonl")


def test_events_are_columns(folder):
    """Every event is a row, with its fields as they are in the line."""
    path = folder / "fleet.events.jsonl"
    first, *others = path.read_bytes().splitlines()
    record = json.loads(first)

    events = read_recording(path).events

    assert events.rows == len(others) - 1
    assert (events["agent"][0], events["action"][0]) == (record["agent"], record["action"])
    assert events["ts"][0] == np.datetime64(round(record["ts"] * 1000), "ms")
    assert events["source"][0] == record.get("source", "")
    assert events["bytes"].dtype == np.int64


def test_scores_are_those_of_a_replay(folder, sessions):
    """A row per session, with what a replay and the labels say of it."""
    labels = read_labels(folder / "fleet.labels.jsonl")
    result = replay(folder / "fleet.events.jsonl", load_config(), labels)

    assert sessions["session"].tolist() == [one.session for one in result.sessions]
    assert sessions["n"].tolist() == [one.n for one in result.sessions]
    assert sessions["crossed_40"].tolist() == [one.crossed["40"] or "" for one in result.sessions]
    assert (sessions["bad"].sum(), set(sessions["attack"])) == (6, {"", "exfiltration"})
    assert set(sessions["phase"]) == {"warmup", "test"}
    assert (sessions["end"] >= sessions["start"]).all()
    oddest = sessions.by("score").where(slice(0, 1))
    assert oddest["agent"][0] in oddest["evidence"][0][0]
    assert max(oddest[name][0] for name in sessions if name.startswith("bits_")) > 5


def test_a_session_lasts_from_its_first_event_to_its_last(folder, sessions):
    """Start and end of every session are the times of its events."""
    events = read_recording(folder / "fleet.events.jsonl").events

    for row in range(0, sessions.rows, 25):
        own = events["ts"][events["session"] == sessions["session"][row]]
        assert (sessions["start"][row], sessions["end"][row]) == (own.min(), own.max())


def test_agents_of_two_tenants_that_have_one_name_are_two(tmp_path):
    """Their sessions, answers and evidence are told apart, whatever they are called."""
    start_us = NOW_US - 10**12
    events = [
        Event(start_us + at * 10**9, "a", action, session=f"s{at}", tenant=tenant)
        for at in range(20)
        for tenant, action in (("", "read"), ("acme", "write"))
    ]
    odd = [Event(start_us + 20 * 10**9, "a", "iam.grant", session="s20", tenant=t) for t in "xy"]
    labels = [
        *({"session": f"s{at}", "agent": "a", "label": 0} for at in range(20)),
        {"session": "s19", "agent": "a", "tenant": "acme", "label": 1, "attack": "theft"},
    ]
    (tmp_path / "e.jsonl").write_bytes(lines([*events, *odd]))
    (tmp_path / "e.labels.jsonl").write_bytes(b"\n".join(map(orjson.dumps, labels)))

    recording = read_recording(tmp_path / "e.jsonl")
    sessions = score(recording)

    assert Counter(sessions["tenant"].tolist()) == {"": 20, "acme": 20, "x": 1, "y": 1}
    bad = sessions.where(sessions["bad"])
    assert (bad["tenant"].tolist(), bad["session"].tolist()) == (["acme"], ["s19"])
    assert Counter(sessions["phase"].tolist()) == {"test": 21, "": 21}
    assert sorted(set(recording.answers["tenant"])) == ["", "acme"]


@pytest.mark.parametrize("form", ["sections", "file", "text", "config"])
def test_a_configuration_comes_in_any_form(form, folder, tmp_path):
    """Sections, a file or a whole configuration say the same."""
    sections = {"baseline": {"half_life_days": 2.0}}
    file = tmp_path / "own.toml"
    file.write_text("[baseline]\nhalf_life_days = 2.0\n")
    given = {"sections": sections, "file": file, "text": str(file)}
    recording = read_recording(folder / "fleet.events.jsonl")

    found = score(recording, given.get(form, load_config(file)))

    expected = replay(recording.paths, load_config(overrides=sections))
    assert found["score"].tolist() == [one.score for one in expected.sessions]


def test_without_labels_there_is_a_row_per_session_still(folder, tmp_path):
    """Nothing is bad, no phase is known, and there are no answers."""
    (tmp_path / "own.jsonl").write_bytes((folder / "fleet.events.jsonl").read_bytes())

    recording = read_recording(tmp_path / "own.jsonl")
    found = score(recording)

    assert (recording.labels, recording.answers.rows) == (None, 0)
    assert (found["bad"].any(), set(found["phase"])) == (False, {""})


def test_other_libraries_get_the_same_columns(sessions):
    """A frame of pandas or polars has the rows and the names of the table."""
    pandas, polars = sessions.to_pandas(), sessions.to_polars()

    assert list(pandas) == polars.columns == list(sessions)
    assert pandas["score"].tolist() == polars["score"].to_list() == sessions["score"].tolist()
    assert polars["evidence"].to_list() == [list(one) for one in sessions["evidence"]]


def test_the_lab_needs_none_of_these_libraries():
    """Nothing is imported before it is asked for, and what is missing is a sentence."""
    code = (
        "import sys\n"
        "sys.modules['matplotlib.pyplot'] = sys.modules['pandas'] = sys.modules['polars'] = None\n"
        "import numpy as np\n"
        "from astray.errors import ConfigError\n"
        "from astray.lab import Table, plot\n"
        "table = Table({'phase': np.array(['test'])})\n"
        "for ask in (table.to_pandas, table.to_polars, lambda: plot.roc(table)):\n"
        "    try:\n        ask()\n    except ConfigError as error:\n        print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, env=environment_with()
    )

    assert result.stdout.decode().splitlines() == [
        f"{name} is not installed: pip install 'astray[lab]'"
        for name in ("pandas", "polars", "matplotlib")
    ], result.stderr


@pytest.mark.parametrize("draw", [plot.roc, plot.precision_recall, plot.budgets, plot.false_rate, plot.scores])  # fmt: skip
def test_plots_draw_what_the_table_says(draw, sessions):
    """Each plot is on axes of its own, with something drawn and its axes named."""
    axes = draw(sessions)

    assert axes.lines or axes.patches
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert draw(sessions, axes) is axes
    mpl.pyplot.close(axes.figure)


def test_a_table_is_columns_of_one_length():
    """Rows are chosen in all columns at once; unequal columns are refused."""
    table = Table({"name": np.array(["a", "b", "c"]), "value": np.array([1, 3, 3])})

    assert (table.rows, list(table), repr(table)) == (
        3,
        ["name", "value"],
        "Table(3 rows: name, value)",
    )
    assert table.by("value")["name"].tolist() == ["b", "c", "a"]
    assert table.by("value", falling=False)["name"].tolist() == ["a", "b", "c"]
    assert Table({}).rows == 0
    with pytest.raises(ValueError, match="different lengths"):
        Table({"a": np.zeros(1), "b": np.zeros(2)})


def test_what_cannot_be_read_is_named(tmp_path):
    """A missing recording, bad labels and a damaged file are sentences."""
    damaged = tmp_path / "damaged.jsonl.gz"
    damaged.write_bytes(b"not packed")
    (tmp_path / "labels.jsonl").write_bytes(b"{}\n")

    with pytest.raises(ConfigError, match=r"missing\.jsonl: No such file"):
        read_recording(tmp_path / "missing.jsonl")
    with pytest.raises(ConfigError, match=r"labels\.jsonl:1: not a label"):
        read_recording(damaged, labels=tmp_path / "labels.jsonl")
    with pytest.raises(SourceError, match=r"damaged\.jsonl\.gz: cannot be read: "):
        _ = read_recording(damaged).events


def test_what_is_exported_is_what_a_notebook_needs():
    """The list of exports is the one that is documented."""
    assert lab.__all__ == ["Recording", "Table", "plot", "read_recording", "score"]


@pytest.mark.slow
def test_the_example_notebook_runs(tmp_path):
    """All cells of the example run one after the other, and keep no output in the file."""
    cells = json.loads(_NOTEBOOK.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (tmp_path / "example.py").write_text("\n\n".join(code))

    result = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, check=False,
        env=environment_with(MPLBACKEND="Agg"), timeout=4 * WAIT_S,
    )  # fmt: skip

    assert result.returncode == 0, result.stderr.decode()
    assert b"bad" in result.stdout
    assert not any(cell.get("outputs") for cell in cells)
