"""`astray run` on what falls silent: agents and actions by event time, sources by the clock."""

import orjson
import pytest

from astray.events import Event, encode_event
from running import alerts, decisions, invoked, rows, started, until

_HOUR_US = 3_600_000_000
_START_US = 1_767_571_200_000_000
"""2026-01-05T00:00:00Z, a Monday."""

_DAYS = 21
_STOP = 24 * 18


def hourly(agent, hours, action="read"):
    """Return an event every hour."""
    return [
        Event(_START_US + hour * _HOUR_US, agent, action, event_id=f"{agent}-{hour}")
        for hour in hours
    ]


def written(*streams):
    """Return the lines of streams, in the order of their times."""
    events = sorted((e for stream in streams for e in stream), key=lambda event: event.ts_us)
    return b"".join(encode_event(event) + b"\n" for event in events)


@pytest.fixture
def stopped(tmp_path):
    """Return a folder with a fleet of which one agent stops, and what only it did."""
    steady = hourly("steady", range(24 * _DAYS))
    (tmp_path / "events.jsonl").write_bytes(
        written(steady, hourly("job", range(_STOP), action="audit.export"))
    )
    return tmp_path


def silences(folder):
    """Return the silences of the case store."""
    query = "SELECT kind, name, ended FROM silences ORDER BY kind, rowid"
    return rows(folder / "cases.db", query)


def options(folder, **blindness):
    """Return the arguments of a run in a folder, configured so."""
    told = "\n".join(f"{key} = {value}" for key, value in blindness.items())
    quiet = "[default_policy]\nalert = { score = 120.0 }\nsuspend = { score = 120.0 }\n"
    (folder / "astray.toml").write_text(f"{quiet}[blindness]\n{told}\n")
    return (
        "--source", folder / "events.jsonl", "--config", folder / "astray.toml",
        "--recovery", folder / "state", "--store", f"sqlite:///{folder}/cases.db",
        "--alerts", folder / "alerts.jsonl",
    )  # fmt: skip


def test_an_agent_and_an_action_that_stop_have_their_cases(stopped):
    """They are alerts of their own kind, and no decisions; a second run adds nothing."""
    for _ in range(2):
        done = invoked("run", *options(stopped), cwd=stopped)
        assert done.returncode == 0, done.stderr

    told = [orjson.loads(line) for line in (stopped / "alerts.jsonl").read_bytes().splitlines()]
    assert silences(stopped) == [("action", "audit.export", ""), ("agent", "job", "")]
    assert {finding["finding_info"]["title"] for finding in told} == {
        "job has fallen silent",
        "Action audit.export has fallen silent",
    }
    assert len(told) == 2
    assert decisions(stopped / "cases.db") == {}


def test_what_is_switched_off_is_not_told(stopped):
    """Neither agents nor actions: no case at all."""
    invoked("run", *options(stopped, agents="false", actions="false"), cwd=stopped)

    assert silences(stopped) == []


def test_agents_that_come_back_after_a_restart_close_their_cases(stopped):
    """What was silent is in the state, so the next run knows whose case it is."""
    arguments = options(stopped)
    invoked("run", *arguments, cwd=stopped)

    with (stopped / "events.jsonl").open("ab") as file:
        later = range(24 * _DAYS, 24 * _DAYS + 5)
        file.write(written(hourly("steady", later), hourly("job", later, action="audit.export")))
    invoked("run", *arguments, cwd=stopped)

    assert silences(stopped) == [("action", "audit.export", "back"), ("agent", "job", "back")]
    assert len(alerts(stopped / "cases.db")) == 4


def run_until(arguments, condition, what):
    """Follow a source until something has happened, and stop in order."""
    process = started("run", *arguments, "--follow")
    try:
        until(condition, what)
        process.terminate()
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said


@pytest.mark.slow
def test_a_source_that_is_followed_and_gives_nothing_has_one_case(tmp_path):
    """It is closed by the next line, even if that comes while astray is not there."""
    events, source = tmp_path / "events.jsonl", str(tmp_path / "events.jsonl")
    events.write_bytes(written(hourly("steady", range(3))))
    arguments = options(tmp_path, silent_after_s=0.5)

    run_until(arguments, lambda: silences(tmp_path) == [("source", source, "")], "the silence")
    with events.open("ab") as file:
        file.write(written(hourly("steady", range(3, 4))))

    run_until(arguments, lambda: ("source", source, "back") in silences(tmp_path), "its end")

    told = [orjson.loads(body) for body in alerts(tmp_path / "cases.db")]
    assert [finding["activity_id"] for finding in told[:2]] == [1, 3]
    assert {finding["unmapped"]["name"] for finding in told} == {source}


def test_the_end_of_a_file_is_no_silence(tmp_path):
    """Nor is anything else of a run that does not follow."""
    (tmp_path / "events.jsonl").write_bytes(written(hourly("steady", range(3))))

    invoked("run", *options(tmp_path, silent_after_s=0.001), cwd=tmp_path)

    assert silences(tmp_path) == []


def test_a_mistake_in_the_section_is_a_sentence(tmp_path):
    """Every key is named."""
    arguments = options(tmp_path, silent_after_s=-1, learn_days=0, actions=3, agent="true")

    done = invoked("run", *arguments, cwd=tmp_path)

    said = done.stderr.decode()
    assert done.returncode == 2
    for key in ("silent_after_s", "learn_days", "actions", "agent"):
        assert f"astray.toml: blindness.{key}: " in said
