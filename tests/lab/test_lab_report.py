"""A report: its numbers are those of the replay, and its words those of the decisions."""

import re
from html import unescape

import pytest

from astray.config import load_config
from astray.events import Event
from astray.lab.labels import Label, read_labels
from astray.lab.replay import replay
from astray.lab.report import BUDGETS, Report, crossing
from astray.lab.sessions import SessionScore
from astray.lab.simulate import SimulationOptions, simulate, write
from running import lines
from strategies import NOW_US

LOW = {"alert": {"score": 25.0}, "suspend": {"score": 30.0}, "enforce_uncertified": True}


def said(page):
    """Return the text of a page, a line per row, paragraph or heading."""
    text = re.sub(r"<(svg|style).*?</\1>", "", page.decode(), flags=re.DOTALL)
    text = re.sub(r"</t[dh]>", " | ", text)
    return unescape(re.sub(r"<[^>]+>", "", re.sub(r"</(tr|p|h\d|li)>", "\n", text)))


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Make a small recording with attacks, as events and labels."""
    folder = tmp_path_factory.mktemp("recording")
    options = SimulationOptions(
        agents=12, days=6, seed=4, attacks={"enumeration": 5, "exfiltration": 5}
    )
    write(simulate(options), folder / "events.jsonl.gz", folder / "labels.jsonl")
    return folder


@pytest.fixture(scope="module")
def report(recording):
    """Replay it with low thresholds, so that much is suspended."""
    config = load_config(overrides={"default_policy": LOW})
    labels = read_labels(recording / "labels.jsonl")
    result = replay(recording / "events.jsonl.gz", config, labels, explain=True)
    return Report("a recording", config, result, labels)


def test_what_would_have_been_suspended_is_what_the_replay_suspended(report):
    """Every suspended session has a row, with its answer and the sentence of its decision."""
    told = said(report.html())
    suspended = {d.case: d for d in report.result.decisions if d.suspends}

    assert suspended
    assert f"{len(suspended):,} sessions of " in told
    rows = [line for line in told.splitlines() if line.startswith("2026-01-") and " | " in line]
    assert len(rows) == len(suspended)
    assert rows == sorted(rows), "they are told in the order in which they happened"
    for decision in suspended.values():
        (row,) = [row for row in rows if f"{decision.agent} | {decision.session} |" in row]
        bad = report.labels[None, decision.agent, decision.session].bad
        assert ("bad: " in row) == bad
        assert decision.sentence in row


def test_the_measures_are_those_of_the_replay(report):
    """The areas and the attacks on the page are those that `astray replay` tells."""
    told = said(report.html())
    quality = report.result.summary(report.labels)["quality"]

    (row,) = [line for line in told.splitlines() if line.startswith(f"{BUDGETS[1]:,.0f} | ")]
    assert f"{quality['roc_auc']:.3g} (" in row
    assert f"{quality['pr_auc']:.3g} (" in row
    assert {"enumeration | 5", "exfiltration | 5"} <= {
        line.rsplit(" | ", 4)[0] for line in told.splitlines()
    }


def test_every_bad_session_crossed_some_time_or_never(report):
    """The table of delays counts each bad session once."""
    told = said(report.html())
    after = told.partition("crossed | bad sessions | ")[2].partition("Worst misses")[0]

    assert sum(int(count) for count in re.findall(r" \| (\d+) \| ", after)) == 10


def test_misses_and_false_alarms_come_with_their_evidence(report):
    """The worst of both are there in their order, each with sentences about its agent."""
    told = said(report.html())
    missed = [s for s in report.tested(bad=True) if s.score < 30.0]
    alarms = [s for s in report.tested(bad=False) if s.score >= 30.0]
    misses, _, false = told.partition("Worst misses")[2].partition("Worst false alarms")

    assert f"{len(missed):,} bad sessions stay below the limit" in misses
    assert f"{len(alarms):,} benign sessions reach the limit" in false
    most = max(session.n for session in alarms)
    first = next(line for line in false.splitlines() if " | benign | " in line)
    worst = next(s for s in alarms if s.n == most and f"{s.agent} | {s.session} | " in first)
    assert f"{worst.agent} | {worst.session} | benign | {worst.score:.1f} | event " in first
    assert len(re.findall(rf"\d+%: {worst.agent}", first + false)) >= 1


def test_explanations_agree_with_decisions(report):
    """A session whose score is that of its last decision is explained as the decision was."""
    why = report.result.explanations
    by_name = {one.key: one for one in report.result.sessions}
    compared = 0
    for decision in report.result.decisions:
        key = decision.tenant, decision.agent, decision.session
        if decision.score == by_name[key].score:
            assert why.evidence(key) == decision.evidence
            compared += 1

    assert compared
    assert why.evidence(("", "nobody", "nothing")) == ()
    assert set(why.bits(("", "nobody", "nothing")).values()) == {0.0}


def test_without_labels_what_is_odd_is_told(recording):
    """Scores, what would be suspended and the highest sessions need no labels."""
    config = load_config(overrides={"default_policy": LOW})
    result = replay(recording / "events.jsonl.gz", config, explain=True)

    told = said(Report("a recording", config, result, None).html())

    assert "Without labels every session counts as benign here." in told
    highest = max(result.sessions, key=lambda one: (one.n, one.agent, one.session))
    after = told.partition("The 10 highest scores")[2]
    assert f"{highest.agent} | {highest.session} | - | {highest.score:.1f}" in after
    assert "minutes of what they did came after it" in told


def test_who_was_protected_is_told_with_the_reason(tmp_path):
    """Sessions that only their policy kept from being suspended are counted by reason."""
    events = [
        Event(ts_us=NOW_US - 10**12 + at * 60_000_000, agent=agent, action="read", session="s")
        for at in range(5)
        for agent in ("kept", "<b>cut</b>")
    ]
    (tmp_path / "events.jsonl").write_bytes(lines(events))
    policy = {"never_suspend": ["kept"], "limits": {"events_per_session": 2}}
    config = load_config(overrides={"default_policy": policy})
    label = Label("s", "<b>cut</b>", False, "", "warmup", "")

    result = replay(tmp_path / "events.jsonl", config, explain=True)
    page = Report("x", config, result, {label.key: label}).html()

    told = said(page)
    assert "1 sessions of 1 agents, of 2 sessions that alerted. " in told
    assert "2 minutes of others' work lost" in told
    assert "1 | the agent is never suspended" in told
    assert b"<b>" not in page


def test_a_crossing_is_the_first_event_at_which_a_budget_is_reached():
    """The step that reaches the n of the budget counts, with the number of its event."""
    session = SessionScore(
        "s", "a", 0, n=5000.0, steps=[(10, 900.0), (20, 1000.0), (30, 5000.0)], events_at=[1, 4, 6]
    )

    assert crossing(session, 1000.0) == (20, 4)
    assert crossing(session, 200.0) == (30, 6)
    assert crossing(session, 100.0) is None
