"""A run that has lost its state reads old events again, and has nobody suspended for them."""

import shutil
import subprocess
import time
from pathlib import Path

import orjson
import pytest

from astray.decide.verdict import Said, Verdict
from astray.events import Event
from astray.store import Outcome, Store, Terms
from astray.testing import Receiver
from running import (
    SECRET,
    WHSEC,
    alerts,
    astray,
    complaints,
    invoked,
    lines,
    rows,
    started,
    stopped,
    until,
)
from strategies import NOW_US

SECOND_US = 1_000_000
FIRST_US = NOW_US - 86_400 * SECOND_US
RECORDING_S = 3600
ACT_WITHIN_S = 600

_CONFIG = """
[default_policy]
mode = "enforce"

[default_policy.limits]
events_per_session = {limit}

[[webhook]]
url = "{url}"
secret = "env:ASTRAY_WEBHOOK_SECRET"
"""


def session(name: str, events: int, after_s: float) -> bytes:
    """Return a session of so many events, the last of them so long after the recording began."""
    last_us = FIRST_US + int(after_s * SECOND_US)
    return lines(
        Event(
            ts_us=last_us - (events - 1 - step) * 1000,
            agent=f"agent-{name}",
            action="read",
            session=name,
        )
        for step in range(events)
    )


LONG_AGO = session("loud", 6, 60) + session("quiet", 4, 120)
EDGE = session("beyond", 4, RECORDING_S - ACT_WITHIN_S - 0.001) + session(
    "edge", 4, RECORDING_S - ACT_WITHIN_S
)
LATEST = session("latest", 1, RECORDING_S)
LATER = session("later", 4, RECORDING_S + 60)


class Watch:
    """A folder with a stream, a receiver of suspensions, and a limit that can be lowered."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.folder = folder
        self.receiver = receiver
        self.store = folder / "cases.db"
        self.recovery = folder / "recovery"
        self.events = folder / "events.jsonl"

    def run(self, limit: int, *more: str, command=invoked) -> subprocess.CompletedProcess:
        """Run to the end of the stream, suspending sessions of more events than the limit."""
        config = self.folder / "astray.toml"
        config.write_text(_CONFIG.format(limit=limit, url=self.receiver.url))
        given = ("--source", self.events, "--config", config, "--store", f"sqlite:///{self.store}")
        more = more or ("--recovery", str(self.recovery))
        return command("run", *given, *more, cwd=self.folder, ASTRAY_WEBHOOK_SECRET=WHSEC)

    def sent(self) -> set[str]:
        """Return the sessions that the receiver was asked to suspend since it was last asked."""
        bodies = [orjson.loads(got.body) for got in self.receiver.deliveries.values()]
        self.receiver.deliveries.clear()
        return {body["data"]["session"]["id"] for body in bodies}

    def reasons(self) -> dict[str, str]:
        """Return why sessions were not suspended, by session."""
        found = [orjson.loads(body) for (body,) in rows(self.store, "SELECT body FROM decisions")]
        return {each["session"]: each["withheld"] for each in found if each["withheld"]}


@pytest.fixture
def watch(tmp_path):
    """Hand out a folder with a recording that has been read once, with a limit of five events."""
    with Receiver([SECRET]) as receiver:
        watch = Watch(tmp_path, receiver)
        watch.events.write_bytes(LONG_AGO + EDGE + LATEST)
        result = watch.run(5)
        assert result.returncode == 0, result.stderr.decode()
        assert watch.sent() == {"loud"}, "an old recording that is new to the store is acted upon"
        yield watch


def test_a_lost_recovery_directory_has_nobody_suspended_for_what_is_past(watch):
    """Without its state a run opens cases about the past and alerts; what comes later it stops."""
    shutil.rmtree(watch.recovery)
    before = len(alerts(watch.store))

    result = watch.run(3, command=astray)

    assert result.returncode == 0, result.stderr.decode()
    assert watch.sent() == {"edge"}
    assert watch.reasons() == {"quiet": "past", "beyond": "past"}
    titles = [orjson.loads(body)["finding_info"]["title"] for body in alerts(watch.store)[before:]]
    assert sorted(title.split(":")[0] for title in titles) == [
        "Session of agent-beyond not suspended",
        "Session of agent-edge suspended",
        "Session of agent-quiet not suspended",
    ]
    with watch.events.open("ab") as file:
        file.write(LATER)
    watch.run(3, command=astray)
    assert watch.sent() == {"later"}


def test_the_stream_makes_none_of_its_own_events_old(watch):
    """What is newer than all that was known is acted upon, however far the stream goes on."""
    shutil.rmtree(watch.recovery)
    with watch.events.open("ab") as file:
        file.write(LATER + session("hours later", 1, RECORDING_S * 9))

    watch.run(3)

    assert watch.sent() == {"edge", "later"}


def test_a_run_goes_on_with_the_past_that_its_state_began_with(watch):
    """Where the reading again was cut short, the run that finishes it holds back as much."""
    whole = watch.events.read_bytes()
    shutil.rmtree(watch.recovery)
    watch.events.write_bytes(whole[: len(whole) - len(EDGE + LATEST)])
    watch.run(3)
    watch.events.write_bytes(whole)

    watch.run(3)

    assert watch.sent() == {"edge"}
    assert watch.reasons() == {"quiet": "past", "beyond": "past"}


def test_a_run_that_goes_on_acts_on_what_has_waited_for_it(watch):
    """With its state, a run is as late as it is: what comes to it was never read before."""
    with watch.events.open("ab") as file:
        file.write(session("delayed", 6, 61))

    watch.run(5)

    assert watch.sent() == {"delayed"}


def test_what_was_suspended_stays_what_it_is(watch):
    """A suspension that is read again is neither sent again nor recorded as withheld."""
    shutil.rmtree(watch.recovery)
    before = rows(watch.store, "SELECT * FROM decisions")

    watch.run(5)

    assert watch.sent() == set()
    assert rows(watch.store, "SELECT * FROM decisions") == before


def test_without_a_recovery_directory_every_run_begins_anew(watch):
    """Where no state is kept, all that the store had heard of is past for the next run."""
    watch.run(3, "--alerts", "alerts.jsonl")

    assert watch.sent() == {"edge"}
    assert watch.reasons() == {"quiet": "past", "beyond": "past"}


def test_the_store_knows_the_newest_event_of_a_run_that_decided_nothing(tmp_path):
    """Time is remembered even where nothing odd has happened yet."""
    with Receiver([SECRET]) as receiver:
        watch = Watch(tmp_path, receiver)
        watch.events.mkdir()
        last = session("last", 1, RECORDING_S + 60)
        for number, data in enumerate((LONG_AGO, LATEST, last)):
            (watch.events / f"{number}.jsonl").write_bytes(data)

        watch.run(1000)

        marked = rows(watch.store, "SELECT name, sequence FROM marks WHERE name LIKE 'newest%'")
        newest_us = FIRST_US + (RECORDING_S + 60) * SECOND_US
        assert marked == [("newest_event_us", newest_us)]


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"after_us": "x"}'])
def test_a_damaged_note_of_the_past_is_refused(content, watch):
    """What cannot be read is named with a way out, before anything is read or sent."""
    note = watch.recovery / "begun.json"
    note.write_bytes(content)

    result = watch.run(3)

    said = f"astray: {note}: damaged; restore it, or remove it to act on new events only"
    assert complaints(result, 1) == [said]
    assert watch.sent() == set()


def remove_everything(store: Path) -> None:
    """Have somebody confirm every suspension, and remove what is closed then."""
    now_s = time.time()
    with Store.open(f"sqlite:///{store}") as opened:
        for case in opened.cases(100):
            if case.suspension is not None:
                right = Verdict(case.case_id, Said.TRUE_POSITIVE, "kim", int(now_s * 1e6))
                assert opened.judge(right, now_s) is Outcome.DONE
        opened.remove_cases(Terms(now_s + 1, now_s + 1), now_s)


def test_an_old_recovery_directory_has_nobody_suspended_again(tmp_path):
    """What it leads back to has been removed from the case store; what comes later it stops."""
    with Receiver([SECRET]) as receiver:
        watch = Watch(tmp_path, receiver)
        watch.events.write_bytes(session("first", 1, 1))
        assert watch.run(5).returncode == 0
        shutil.copytree(watch.recovery, tmp_path / "long ago")
        with watch.events.open("ab") as file:
            file.write(LONG_AGO)
        watch.run(5)
        assert watch.sent() == {"loud"}
        remove_everything(watch.store)
        assert rows(watch.store, "SELECT * FROM cases") == []
        shutil.rmtree(watch.recovery)
        (tmp_path / "long ago").rename(watch.recovery)
        with watch.events.open("ab") as file:
            file.write(session("later", 6, 240))

        result = watch.run(5)

        assert result.returncode == 0, result.stderr.decode()
        assert watch.sent() == {"later"}
        assert watch.reasons() == {"loud": "past"}


@pytest.mark.slow
def test_a_run_removes_what_is_old_while_it_lasts(tmp_path):
    """Some seconds after its start, from the store that it writes, and says so in the audit."""
    with Receiver([SECRET]) as receiver:
        watch = Watch(tmp_path, receiver)
        watch.events.write_bytes(LONG_AGO)
        watch.run(5, "--mode", "observe")
        assert watch.reasons() == {"loud": "observe"}
        config = tmp_path / "short.toml"
        config.write_text("[store]\nkeep_days = 0.00001\n")
        store = f"sqlite:///{watch.store}"
        options = ("--source", watch.events, "--store", store, "--config", config, "--follow")
        process = started("run", *options, cwd=tmp_path)

        until(lambda: not rows(watch.store, "SELECT * FROM cases"), "a sweep")
        stopped(process)

    (told,) = invoked("cases", "removed", "--store", store, cwd=tmp_path).stdout.splitlines()
    assert told.endswith(b": alerts 1, decisions 1, cases 1")
