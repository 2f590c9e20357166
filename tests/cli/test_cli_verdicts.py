"""Verdicts on the command line: a replay and a run that are told, and what a verdict will do."""

import time

import orjson
import pytest

from astray.alerts.ocsf import finding
from astray.decide.decision import case_id
from astray.events import Event, clock
from astray.respond import WebhookOutbox
from astray.store import Store
from astray.testing import make_decision
from running import complaints, invoked, lines
from strategies import NOW_US

_HOUR_US = 3_600_000_000
_START_US = NOW_US - NOW_US % _HOUR_US - 900 * _HOUR_US
_EVENTS = [
    Event(_START_US + n * _HOUR_US, "bot", "read", session=f"s{n}", session_end=True)
    for n in range(30)
]
_VERDICT = {
    "type": "astray.verdict", "ts": "2026-11-01T02:10:00Z", "alert_id": "case_6e68c33234525943",
    "verdict_id": 1, "verdict": "False Positive", "analyst": "kim", "scope": "agent",
    "ttl": "P30D", "agent": "bot", "session": "s3",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a recording, and with verdicts, one of them damaged."""
    (tmp_path / "events.jsonl").write_bytes(lines(_EVENTS))
    (tmp_path / "told.jsonl").write_bytes(orjson.dumps(_VERDICT) + b"\n{}\n")
    return tmp_path


def test_a_replay_takes_verdicts_and_names_what_is_none(folder):
    """The damaged line is said and counted among the rejects; the replay goes on."""
    told = invoked(
        "replay", "events.jsonl", "--verdicts", "told.jsonl", "--json", "out.json", cwd=folder
    )

    assert told.returncode == 0
    assert b"told.jsonl:2: not a verdict: type is not astray.verdict" in told.stderr
    numbers = orjson.loads((folder / "out.json").read_bytes())
    assert numbers["rejects_by_reason"] == {"not_a_verdict": 1}
    assert numbers["events"] == len(_EVENTS)
    assert numbers["verdicts"] == {"took_effect": 0, "found_nothing": 0, "beyond_the_end": 1}
    assert b"0 took effect, 0 found nothing, 1 beyond the end" in told.stderr


def test_a_run_takes_verdicts_and_names_what_is_none(folder):
    """As a replay does."""
    told = invoked(
        "run", "--source", "events.jsonl", "--verdicts", "told.jsonl",
        "--store", "sqlite:///cases.db", cwd=folder,
    )  # fmt: skip

    assert told.returncode == 0
    assert b"told.jsonl:2: not a verdict: type is not astray.verdict" in told.stderr
    assert b"rejects: 1 not_a_verdict" in told.stderr


@pytest.fixture
def topic(folder):
    """Return the folder with verdicts as a topic has them: they name their cases only."""
    known = {key: value for key, value in _VERDICT.items() if key not in ("agent", "session")}
    known |= {"alert_id": case_id("", "bot", "s3"), "ts": clock.iso(_EVENTS[5].ts_us)}
    unknown = {**known, "alert_id": _VERDICT["alert_id"]}
    (folder / "topic.jsonl").write_bytes(b"\n".join(map(orjson.dumps, (known, unknown))))
    return folder


def test_a_replay_takes_verdicts_as_a_topic_has_them(topic):
    """It looks for the sessions that cases are about in its own recording; a case may have none."""
    told = invoked(
        "replay", "events.jsonl", "--verdicts", "topic.jsonl", "--json", "out.json", cwd=topic
    )

    assert b"not a verdict" not in told.stderr
    numbers = orjson.loads((topic / "out.json").read_bytes())
    assert (numbers["rejects"], numbers["verdicts"]["beyond_the_end"]) == (0, 0)
    assert sum(numbers["verdicts"].values()) == 2


def test_a_run_says_how_such_verdicts_get_their_sessions(topic):
    """It cannot read ahead; the case store knows whose session a case is about."""
    told = invoked("run", "--source", "events.jsonl", "--verdicts", "topic.jsonl", cwd=topic)

    said = told.stderr.decode()
    assert "topic.jsonl:1: not a verdict: it names a case, but no agent and session" in said
    assert "`astray cases import-verdicts`; `astray cases export-verdicts` writes both" in said
    assert "rejects: 2 not_a_verdict" in said


@pytest.mark.parametrize(
    "command", [("replay", "events.jsonl"), ("run", "--source", "events.jsonl")]
)
def test_an_undoing_of_no_verdict_is_told_with_its_place(folder, command):
    """It is a verdict, and no reject, but it will find nothing."""
    undo = {**_VERDICT, "verdict_id": 99, "undoes": "ver_00000000000000aa"}
    undo = {key: value for key, value in undo.items() if key not in ("scope", "ttl")}
    (folder / "told.jsonl").write_bytes(orjson.dumps(_VERDICT) + b"\n" + orjson.dumps(undo))

    told = invoked(*command, "--verdicts", "told.jsonl", cwd=folder).stderr.decode()

    assert "told.jsonl:2: undoes ver_00000000000000aa, which no line is: nothing is taken" in told
    assert "not_a_verdict" not in told


@pytest.mark.parametrize(
    "command", [("replay", "events.jsonl"), ("run", "--source", "events.jsonl")]
)
def test_verdicts_that_are_not_there_are_a_sentence(folder, command):
    """Nothing begins."""
    said = complaints(invoked(*command, "--verdicts", "nothing.jsonl", cwd=folder))

    assert said == ["astray: nothing.jsonl: cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    ("arguments", "follows"),
    [
        (("false_positive",), "new to the agent any more, until this is undone"),
        (("benign_change",), "new to the agent any more, until this is undone"),
        (("false_positive", "--ttl", "P7D"), "new to the agent any more, until P7D are over"),
        (("false_positive", "--scope", "group"), "new to any of its group any more, until this"),
        (("true_positive",), "what was learnt from the session is taken back"),
    ],
)
def test_a_verdict_says_what_comes_of_it(tmp_path, arguments, follows):
    """For whom, when and for how long; and so does taking it back."""
    decision = make_decision()
    with Store.open(f"sqlite:///{tmp_path}/cases.db") as store:
        store.record([decision], WebhookOutbox([], finding), time.time())
    at = ("cases", "verdict", decision.case)
    options = ("--who", "kim", "--store", "sqlite:///cases.db")

    given = invoked(*at, *arguments, *options, cwd=tmp_path).stderr.decode()
    undone = invoked(*at, "undo", *options, cwd=tmp_path).stderr.decode()

    assert "when the stream turns to its next 3600 s" in given
    assert follows in given
    assert "what was known before is known again" in undone
