"""`astray explain`: what people and scripts are told of a past score."""

import re
import shutil
from pathlib import Path

import orjson
import pytest

from astray.events import Event
from running import astray, attacked_fleet, complaints, decisions, from_here, invoked, lines
from strategies import NOW_US

_CONFIG = """
[default_policy]
alert = { score = 25.0 }

[store]
url = "sqlite:///c.db"
"""
RUN = ("run", "--source", "events.jsonl", "--config", "astray.toml")
EXPLAIN = ("explain", "--events", "events.jsonl", "--config", "astray.toml")


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """Return a folder in which a run has read most of a fleet's events, and kept its state."""
    folder = tmp_path_factory.mktemp("begun")
    data = attacked_fleet(tmp_path_factory.mktemp("fleet"), days=2.0)
    (folder / "astray.toml").write_text(_CONFIG)
    (folder / "events.jsonl").write_bytes(data[: data.index(b"\n", len(data) * 2 // 3) + 1])
    result = invoked(*RUN, "--recovery", "state", cwd=folder)
    assert result.returncode == 0, result.stderr.decode()
    (folder / "events.jsonl").write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def gone_on(begun, tmp_path_factory) -> tuple[Path, list[dict]]:
    """Return a copy of the folder in which the run went on, and the decisions it took then."""
    folder = Path(shutil.copytree(begun, tmp_path_factory.mktemp("later") / "folder"))
    before = decisions(folder / "c.db")
    result = invoked(*RUN, "--recovery", "state", cwd=folder)
    assert result.returncode == 0, result.stderr.decode()
    after = decisions(folder / "c.db")
    taken = [orjson.loads(body) for known, body in after.items() if known not in before]
    assert len(taken) > 2
    return folder, taken


def test_the_decisions_of_a_run_are_explained_from_the_state_before_it(begun, gone_on):
    """Score, n and evidence of what the case store has are derived again, to the bit."""
    _, taken = gone_on
    for decision in taken[:4]:
        result = invoked(*EXPLAIN, decision["event_id"], "--recovery", "state", "--json", cwd=begun)

        told = orjson.loads(result.stdout)
        assert (told["standing"], told["score"], told["n"]) == (
            "own", decision["score"], decision["n"],
        )  # fmt: skip
        shares = [reason.pop("points") / told["score"] for reason in told["evidence"]]
        assert told["evidence"] == decision["evidence"]
        assert shares == pytest.approx([reason["share"] for reason in told["evidence"]])
        assert [one["id"] for one in told["decisions"]] == [decision["id"]]
        assert told["decisions"] == [decision]
        assert (told["model"], told["config"]) == (decision["model"], decision["config"])


@pytest.mark.slow
def test_the_same_bytes_are_printed_every_time(begun, gone_on):
    """By another process, and from another place of the same state."""
    _, taken = gone_on
    asked = (*EXPLAIN, taken[0]["event_id"], "--json")
    invoked("state", "export", "state", "exported", cwd=begun)

    first, second = (astray(*asked, "--recovery", "state", cwd=begun) for _ in range(2))
    third = invoked(*asked, "--state", "exported", cwd=begun)

    assert first.returncode == 0, first.stderr.decode()
    assert first.stdout == second.stdout == third.stdout != b""


def test_people_are_told_why_and_the_numbers_add_up(begun, gone_on):
    """The sentence comes first, then score and session, then a table whose columns add up."""
    _, taken = gone_on
    decision = taken[0]

    result = invoked(*EXPLAIN, decision["event_id"], "--recovery", "state", cwd=begun)

    said = result.stdout.decode().splitlines()
    assert result.returncode == 0
    assert said[0].startswith(decision["evidence"][0]["sentence"])
    assert said[0].endswith(f"1 in {round(decision['n']):,} sessions look like this")
    assert said[1].startswith(f"score {decision['score']:.2f} (")
    assert said[1].endswith("): its score at this event")
    assert said[2].startswith(f"session {decision['session']} of {decision['agent']}, begun 20")
    assert said[3] == f"model {decision['model']}, config {decision['config']}"
    assert any(decision["id"] in line and line.startswith("decided at ") for line in said)
    rows = [re.match(r"([\d.]+)% +(\d+\.\d) ", line + " ") for line in said]
    *points, total = [float(row[2]) for row in rows if row]
    assert round(sum(points), 1) == total == round(decision["score"], 1)
    assert len(points) == len(decision["evidence"])
    for reason in decision["evidence"]:
        assert any(line.endswith(reason["sentence"]) for line in said)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return a folder with a few events of an agent whose names would like to be commands."""
    events = [
        Event(ts_us=NOW_US - 10**12 + at, agent="\x1b[31ma", action="read", session="s", event_id=e)
        for at, e in enumerate(("e1", "e2", "\u202edne"))
    ]
    (tmp_path / "events.jsonl").write_bytes(lines(events))
    (tmp_path / "astray.toml").write_text("[default_policy.limits]\nevents_per_session = 2\n")
    return tmp_path


def test_names_have_no_power_over_the_terminal(folder):
    """What comes from outside is shown without its control characters."""
    result = invoked(*EXPLAIN, "s", cwd=folder)

    said = result.stdout.decode()
    assert "�[31ma" in said
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_what_scores_nothing_says_so(folder):
    """Without a past to compare with there is nothing to tell; a limit's decision is told."""
    result = invoked(*EXPLAIN, "s", cwd=folder)

    said = result.stdout.decode().splitlines()
    assert said[0].endswith("did nothing that its fleet's own sessions tell apart")
    assert said[1].startswith("score 0.00 (certified; 1 in 1): its highest score, at ")
    assert "events_per_session, policy default, dec_" in said[-1]


def test_an_event_that_raised_nothing_says_where_its_score_is_from(folder):
    """The score of the session was reached before, or only at its end."""
    first = invoked(*EXPLAIN, "e1", "--json", cwd=folder)
    told = invoked(*EXPLAIN, "e1", cwd=folder)

    assert orjson.loads(first.stdout)["standing"] == "end"
    said = told.stdout.decode().splitlines()
    assert said[0].startswith("nothing rare had risen by e1 (")
    assert said[2].endswith(": its score at its end")


def test_refusals_are_sentences(folder):
    """Unknown ids, ids of several things, missing files and options that exclude each other."""
    ambiguous = lines(
        [Event(ts_us=NOW_US - 10**12, agent=a, action="x", session="s") for a in "ab"]
    )
    (folder / "two.jsonl").write_bytes(ambiguous)

    unknown = invoked(*EXPLAIN, "nothing", cwd=folder)
    several = invoked("explain", "s", "--events", "two.jsonl", cwd=folder)
    missing = invoked(
        "explain", "s", "--events", "no.jsonl", "--state", "a", "--recovery", "b", cwd=folder
    )
    no_state = invoked(*EXPLAIN, "s", "--recovery", "astray.toml", cwd=folder)
    no_export = invoked(*EXPLAIN, "s", "--state", "astray.toml", cwd=folder)
    no_text = invoked(*EXPLAIN, "\udcff", cwd=folder)

    assert complaints(unknown) == [
        "astray: nothing: no event and no session has this id in events.jsonl"
    ]
    (said,) = complaints(several)
    assert said.startswith("astray: s: means more than one thing: session of a; session of b; say")
    assert complaints(missing) == [
        "astray: --recovery and --state: one or the other",
        "astray: no.jsonl: No such file or directory",
    ]
    assert complaints(no_state) == ["astray: astray.toml: cannot be read: Not a directory"]
    assert complaints(no_text) == ["astray: the id is not UTF-8, as those of all events are"]
    (said,) = complaints(no_export)
    assert said.startswith("astray: astray.toml: cannot be imported: ")


def test_verdicts_of_the_case_store_or_a_file_are_known(begun, gone_on, tmp_path):
    """Where there is neither, this is said beside the answer; a store that is named must be there.

    One that no run has heard of has changed nothing.
    """
    folder = Path(shutil.copytree(begun, tmp_path / "folder"))
    event_id = gone_on[1][0]["event_id"]
    asked = (*EXPLAIN, event_id, "--json", "--recovery", "state")
    case = next(iter(decisions(folder / "c.db").values()))
    judged = ("cases", "verdict", orjson.loads(case)["case"], "true_positive", "--who", "kim")
    invoked(*judged, "--config", "astray.toml", cwd=folder)
    (folder / "told.jsonl").write_bytes(b"{}\n")

    known = invoked(*asked, cwd=folder)
    (folder / "c.db").rename(folder / "moved.db")
    unknown = invoked(*asked, cwd=folder)
    told = invoked(*asked, "--verdicts", "told.jsonl", cwd=folder)
    moved = invoked(*asked, "--store", "sqlite:///moved.db", cwd=folder)
    missing = invoked(*asked, "--store", "sqlite:///none.db", cwd=folder)

    assert known.stderr == moved.stderr == b""
    assert unknown.stderr == b"there is no case store sqlite:///c.db: no verdict is known\n"
    assert told.stderr == b"told.jsonl:1: not a verdict: type is not astray.verdict\n"
    assert known.stdout == unknown.stdout == told.stdout
    assert {**orjson.loads(moved.stdout), "config": 0, "decisions": 0} == (
        {**orjson.loads(known.stdout), "config": 0, "decisions": 0}
    )
    nowhere = from_here(folder / "none.db")
    assert complaints(missing) == [f"astray: there is no case store none.db{nowhere}"]


def test_what_verdicts_have_changed_is_explained_with_them(begun, gone_on, tmp_path):
    """A run that went on with verdicts has other scores, and they are derived again, to the bit."""
    untold = {one["id"]: one["score"] for one in gone_on[1]}
    folder = Path(shutil.copytree(begun, tmp_path / "folder"))
    before, data = decisions(folder / "c.db"), (folder / "events.jsonl").read_bytes()
    for case in {orjson.loads(body)["case"] for body in before.values()}:
        judged = ("cases", "verdict", case, "true_positive", "--who", "kim")
        assert invoked(*judged, "--config", "astray.toml", cwd=folder).returncode == 0
    hears_of_them = data.index(b"\n", len(data) * 2 // 3 + 1) + 1
    for end in (data.index(b"\n", hears_of_them) + 1, len(data)):
        (folder / "events.jsonl").write_bytes(data[:end])
        assert invoked(*RUN, "--recovery", "state", cwd=folder).returncode == 0
    after = decisions(folder / "c.db")
    taken = [orjson.loads(body) for known, body in after.items() if known not in before]
    changed = [one for one in taken if one["score"] != untold.get(one["id"])]
    shutil.rmtree(folder / "state")
    shutil.copytree(begun / "state", folder / "state")
    asked = (*EXPLAIN, changed[0]["event_id"], "--recovery", "state", "--json")

    told = orjson.loads(invoked(*asked, cwd=folder).stdout)

    assert (told["score"], told["n"]) == (changed[0]["score"], changed[0]["n"])
    assert told["decisions"] == [changed[0]]


def test_what_was_before_the_state_is_refused(begun):
    """The state knows nothing any more of an event that it has behind it."""
    first = orjson.loads((begun / "events.jsonl").read_bytes().splitlines()[0])["event_id"]

    (said,) = complaints(invoked(*EXPLAIN, first, "--recovery", "state", cwd=begun))

    assert said.startswith(f"astray: {first}: lies before state was kept, with events.jsonl read")


def test_what_a_state_is_taken_to_have_read_is_said(begun, gone_on, tmp_path):
    """Which file a moved one is taken for is told beside the answer, not in it."""
    _, taken = gone_on
    shutil.copy(begun / "events.jsonl", tmp_path / "events.jsonl")
    asked = ("explain", taken[0]["event_id"], "--recovery", "state", "--config", "astray.toml")

    moved = invoked(*asked, "--json", "--events", tmp_path / "events.jsonl", cwd=begun)
    here = invoked(*asked, "--json", "--events", "events.jsonl", cwd=begun)

    assert f"{tmp_path}/events.jsonl: taken for events.jsonl, which state has read" in (
        moved.stderr.decode().replace("\n", " ")
    )
    assert moved.stdout == here.stdout


def test_one_event_is_told_of_as_one(tmp_path):
    """A count has the noun that suits it."""
    event = Event(ts_us=NOW_US, agent="bot", action="read", session="s", event_id="e")
    (tmp_path / "events.jsonl").write_bytes(lines([event]))

    said = invoked("explain", "e", "--events", "events.jsonl", cwd=tmp_path).stdout

    assert b", 1 event by then\n" in said
