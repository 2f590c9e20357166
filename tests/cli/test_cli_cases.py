"""`astray cases`: from a look at what was found to a webhook that takes it back."""

import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from astray.alerts.ocsf import finding
from astray.decide.decision import Decision, Level, Mode, Withheld
from astray.decide.leaving import Left, Why
from astray.respond import Endpoint, WebhookOutbox
from astray.store import DeliveryState, Result, Store, Terms
from astray.testing import Receiver, make_decision
from running import (
    SECRET,
    WHSEC,
    astray,
    attacked_fleet,
    complaints,
    from_here,
    invoked,
    quick_config,
    started,
    stopped,
    until,
)

WITHHELD = make_decision(level=Level.WITHHELD, withheld=Withheld.OBSERVE, mode=Mode.OBSERVE)
STORE = "sqlite:///cases.db"


def kept(folder: Path, *decisions: Decision) -> None:
    """Have decisions in a folder's case store, with nobody to send them to."""
    with Store.open(f"sqlite:///{folder}/cases.db") as store:
        store.record(decisions, WebhookOutbox([], finding), time.time())


def cases(folder: Path, *arguments: object, **environment: str):
    """Run a command of `astray cases` on a folder's store."""
    return invoked("cases", *arguments, "--store", STORE, cwd=folder, **environment)


def shown(folder: Path, case: str) -> dict:
    """Return all about a case."""
    return orjson.loads(cases(folder, "show", case, "--json").stdout)


def test_cases_are_listed_the_latest_first(tmp_path):
    """A line each: which case, how bad, whose; as a table or as JSON, of all or of one agent."""
    first, second = make_decision(agent="a", session="s1"), make_decision(agent="b", score=99.0)
    kept(tmp_path, first)
    kept(tmp_path, second)

    told = cases(tmp_path, "list").stdout.decode().splitlines()
    as_json = [orjson.loads(line) for line in cases(tmp_path, "list", "--json").stdout.splitlines()]
    of_a = cases(tmp_path, "list", "--agent", "a", "--json").stdout
    one = cases(tmp_path, "list", "--limit", "1", "--json").stdout

    assert [line.split()[0] for line in told] == ["case", second.case, first.case]
    assert told[2].split()[2:] == ["suspend", "83.0", "requested", "a", "s1"]
    assert [case["case_id"] for case in as_json] == [second.case, first.case]
    assert orjson.loads(of_a)["case_id"] == first.case
    assert orjson.loads(one)["case_id"] == second.case


def test_a_case_is_shown_with_all_that_belongs_to_it(tmp_path):
    """Evidence, deliveries, verdicts and who did what; names have no power over the terminal."""
    decision = make_decision(agent="\x1b[31mred")
    kept(tmp_path, decision)
    cases(tmp_path, "verdict", decision.case, "true_positive", "--who", "kim", "--note", "stolen")

    said = cases(tmp_path, "show", decision.case).stdout.decode()

    assert said.startswith(f"{decision.case}: suspend, score 83.00, 1 in 14,125\n")
    assert "session session-1 of �[31mred\n" in said
    assert f"  100% {decision.evidence[0].sentence}\n" in said
    assert "True Positive by kim\n" in said
    assert " kim: true_positive ver_" in said
    assert said.endswith(" stolen\n")


def test_a_case_tells_how_often_a_webhook_was_tried_and_why_it_waits(tmp_path):
    """Once it says what the last answer was, and before that nothing but that none was tried."""
    decision = make_decision()
    idp = Endpoint(name="idp", url="http://127.0.0.1:1/", secrets=(SECRET,))
    with Store.open(f"sqlite:///{tmp_path}/cases.db") as store:
        store.record([decision], WebhookOutbox([idp], finding), 1000.0)
        (due,) = store.due("idp", 1000.0, 10)
        before = cases(tmp_path, "show", decision.case).stdout.decode()
        later = Result(
            due.webhook_id,
            DeliveryState.PENDING,
            1001.0,
            503,
            "answered 503",
            next_attempt_s=1002.0,
        )
        store.settle([later])
        after = cases(tmp_path, "show", decision.case).stdout.decode()

    webhook = f"webhook {due.webhook_id} to idp: pending after"
    assert f"{webhook} 0 attempts\n" in before
    assert f"{webhook} 1 attempt: answered 503\n" in after


def test_a_verdict_goes_from_one_store_to_another(tmp_path):
    """Given, taken back and exported here; imported there, once, in the same order."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        kept(folder, WITHHELD, make_decision(session="other"))
    given = ("verdict", WITHHELD.case)
    cases(here, *given, "true_positive", "--who", "kim")
    cases(here, *given, "undo", "--who", "lee", "--note", "too quick")
    scope = ("--scope", "group", "--ttl", "P30D")
    told = cases(here, *given, "false_positive", "--who", "kim", "--note", "a job", *scope)

    exported = cases(here, "export-verdicts", "verdicts.jsonl")
    printed = cases(here, "export-verdicts").stdout
    first, second = (cases(there, "import-verdicts", "../here/verdicts.jsonl") for _ in range(2))

    lines = [orjson.loads(line) for line in (here / "verdicts.jsonl").read_bytes().splitlines()]
    assert told.stderr.decode().startswith(f"{WITHHELD.case}: false_positive, {lines[2]['id']}; ")
    assert printed == (here / "verdicts.jsonl").read_bytes()
    assert exported.stderr == b"verdicts.jsonl: 3 verdicts\n"
    assert [line["sequence"] for line in lines] == [1, 2, 3]
    assert [line["verdict"] for line in lines] == ["True Positive", "Undo", "False Positive"]
    assert lines[1]["undoes"] == lines[0]["id"]
    assert (lines[2]["scope"], lines[2]["ttl"], lines[2]["comment"]) == ("group", "P30D", "a job")
    assert first.stderr == b"../here/verdicts.jsonl: 3 verdicts, 3 of them new\n"
    assert second.stderr == b"../here/verdicts.jsonl: 3 verdicts, 0 of them new\n"
    assert cases(there, "export-verdicts").stdout == printed
    assert cases(here, "export-verdicts", "--after", "2").stdout == printed.splitlines(True)[2]


def test_lines_that_are_no_verdicts_are_all_named_before_any_is_taken(tmp_path):
    """Up to twenty by number; the others are counted."""
    kept(tmp_path, WITHHELD)
    cases(tmp_path, "verdict", WITHHELD.case, "true_positive", "--who", "kim")
    good = cases(tmp_path, "export-verdicts").stdout
    cases(tmp_path, "verdict", WITHHELD.case, "undo", "--who", "kim")
    (tmp_path / "bad.jsonl").write_bytes(good + b"\nnothing\n" + b"{}\n" * 21)

    said = complaints(cases(tmp_path, "import-verdicts", "bad.jsonl"))

    assert said[:2] == [
        "astray: bad.jsonl:3: not a verdict: not JSON",
        "astray: bad.jsonl:4: not a verdict: type is not astray.verdict",
    ]
    assert said[20:] == ["astray: bad.jsonl: and 2 more such lines"]


def test_verdicts_that_cannot_be_taken_are_named_beside_those_that_were(tmp_path):
    """A case that is not there keeps nobody else's verdict from being taken."""
    here, there = tmp_path / "here", tmp_path / "there"
    other = make_decision(session="other")
    for folder, decisions in ((here, (other, WITHHELD)), (there, (WITHHELD,))):
        folder.mkdir()
        kept(folder, *decisions)
    for case in (other.case, WITHHELD.case):
        cases(here, "verdict", case, "true_positive", "--who", "kim")
    cases(here, "export-verdicts", "../verdicts.jsonl")

    said = complaints(cases(there, "import-verdicts", "../verdicts.jsonl"))

    assert said == [
        f"astray: ../verdicts.jsonl:1: {other.case}: there is no such case in the case store",
        "astray: ../verdicts.jsonl: of 2 verdicts, 1 were new and have been taken",
    ]
    assert len(shown(there, WITHHELD.case)["verdicts"]) == 1


def test_refusals_are_sentences(tmp_path):
    """All that is wrong with a command is said at once, and what a case is not ready for, too."""
    kept(tmp_path, WITHHELD)
    case, who = WITHHELD.case, ("--who", "kim")
    (tmp_path / "astray.toml").write_text(quick_config("http://127.0.0.1:9/"))
    config = ("--config", "astray.toml")

    wrong = cases(
        tmp_path, "verdict", "case_x", "undo", "--who", " ", "--note", "n" * 1025, "--ttl", "P1Y"
    )
    no_text = cases(tmp_path, "verdict", "case_\udcff", "undo", "--who", "\udcff")
    missing = cases(tmp_path, "show", "case_0000000000000000")
    nothing = cases(tmp_path, "verdict", case, "undo", *who)
    no_webhook = cases(tmp_path, "approve", case, *who)
    secret = {"ASTRAY_WEBHOOK_SECRET": WHSEC}
    not_suspended = cases(tmp_path, "release", case, *who, *config, **secret)
    no_store = invoked("cases", "list", "--store", "sqlite:///none.db", cwd=tmp_path)
    cases(tmp_path, "verdict", case, "true_positive", *who)
    again = cases(tmp_path, "verdict", case, "true_positive", *who)
    cases(tmp_path, "export-verdicts", "out")
    there = cases(tmp_path, "export-verdicts", "out")

    assert complaints(wrong) == [
        "astray: case_x: not the id of a case, like case_6e68c33234525943",
        "astray: --note: at most 1024 bytes",
        "astray: --who: a name",
        "astray: --scope, --ttl: only for a false_positive or a benign_change",
        "astray: --ttl: a time span like P30D, of ten years at most, not P1Y",
    ]
    assert complaints(no_text) == [
        "astray: case_\\udcff: not the id of a case, like case_6e68c33234525943",
        "astray: --who: not UTF-8",
    ]
    assert complaints(missing) == [
        "astray: case_0000000000000000: there is no such case in the case store"
    ]
    assert complaints(nothing) == [
        f"astray: {case}: has no such verdict in force that could be taken back"
    ]
    assert complaints(no_webhook) == [
        "astray: no webhook is configured: name the --config that `astray run` has"
    ]
    assert complaints(not_suspended) == [
        f"astray: {case}: no suspension has been asked for that could be taken back"
    ]
    nowhere = from_here(tmp_path / "none.db")
    assert complaints(no_store) == [f"astray: there is no case store none.db{nowhere}"]
    assert complaints(again) == [
        f"astray: {case}: has a verdict already: take it back first, with `undo`"
    ]
    assert complaints(there) == ["astray: out: cannot be written: File exists"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a receiver that accepts all that is genuine."""
    with Receiver([SECRET]) as receiver:
        yield receiver


def test_people_suspend_and_release_while_astray_runs(tmp_path, receiver):
    """A withheld session is approved and released again: both arrive, signed, in their order."""
    data = attacked_fleet(tmp_path)
    (tmp_path / "events.jsonl").write_bytes(data[: data.index(b"\n", 100_000) + 1])
    (tmp_path / "astray.toml").write_text(quick_config(receiver.url))
    kept(tmp_path, WITHHELD)
    secret = {"ASTRAY_WEBHOOK_SECRET": WHSEC}
    act = (WITHHELD.case, "--who", "kim", "--note", "as agreed", "--config", "astray.toml")
    run = (
        "run", "--source", "events.jsonl", "--follow", "--config", "astray.toml",
        "--store", STORE, "--mode", "observe",
    )  # fmt: skip

    with started(*run, cwd=tmp_path, **secret) as process:
        approved = astray("cases", "approve", *act, "--store", STORE, cwd=tmp_path, **secret)
        until(lambda: len(receiver.deliveries) == 1, "the suspension")
        released = cases(tmp_path, "release", *act, **secret)
        until(lambda: len(receiver.deliveries) == 2, "the release")
        until(
            lambda: (
                {one["state"] for one in shown(tmp_path, WITHHELD.case)["deliveries"]}
                == {"delivered"}
            ),
            "both to be settled",
        )
        stopped(process)

    assert (approved.returncode, released.returncode) == (0, 0), approved.stderr
    bodies = [orjson.loads(received.body) for received in receiver.deliveries.values()]
    assert [body["type"] for body in bodies] == ["astray.session.suspend", "astray.session.resume"]
    assert {body["data"]["session"]["id"] for body in bodies} == {WITHHELD.session}
    assert (bodies[1]["data"]["released_by"], bodies[1]["data"]["note"]) == ("kim", "as agreed")
    found = shown(tmp_path, WITHHELD.case)
    assert found["case"]["suspension"] == "released"
    assert [(act["who"], act["did"]) for act in found["acts"]] == [
        ("kim", "approve"),
        ("kim", "release"),
    ]
    assert {attempt.flaw for attempt in receiver.attempts} == {None}


def test_who_left_quarantine_can_be_seen(tmp_path):
    """Whose session it was and why; with its case, if it has one, which shows it too."""
    judged = make_decision(level=Level.ALERT, mode=Mode.OBSERVE)
    kept(tmp_path, judged)
    before = cases(tmp_path, "learnt").stdout
    left = Left("", judged.agent, judged.session, start_us=5, ts_us=9, why=Why.AGREED)
    with Store.open(f"sqlite:///{tmp_path}/cases.db") as store:
        store.record_left([left], time.time())

    (told,) = cases(tmp_path, "learnt").stdout.decode().splitlines()
    (as_json,) = cases(tmp_path, "learnt", "--json").stdout.splitlines()
    shown = cases(tmp_path, "show", judged.case).stdout.decode()

    assert before == b""
    assert told.endswith(f"Z {left.sentence} ({judged.case})")
    assert orjson.loads(as_json)["case"] == judged.case
    assert left.sentence in shown.replace("\n", " ")


def test_what_was_removed_can_be_seen(tmp_path):
    """When, how much and under which terms; the case itself is not there any more."""
    gone = make_decision(level=Level.ALERT, mode=Mode.OBSERVE)
    kept(tmp_path, gone)
    before = cases(tmp_path, "removed").stdout
    now_s = time.time()
    with Store.open(f"sqlite:///{tmp_path}/cases.db") as store:
        store.remove_cases(Terms(before_s=now_s), now_s)

    (told,) = cases(tmp_path, "removed").stdout.decode().splitlines()
    (as_json,) = cases(tmp_path, "removed", "--json").stdout.splitlines()
    (said,) = complaints(cases(tmp_path, "show", gone.case))

    assert before == b""
    assert told.endswith(": alerts 1, decisions 1, cases 1")
    assert orjson.loads(as_json)["who"] == "astray"
    assert said == f"astray: {gone.case}: there is no such case in the case store"
