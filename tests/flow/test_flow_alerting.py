"""Alerts on their way from the case store: each once in the file, and nobody waits for another."""

import threading
from pathlib import Path

import pytest

from astray.alerts.ocsf import finding
from astray.errors import ConfigError
from astray.flow.alerting import Alerts
from astray.respond import WebhookOutbox
from astray.store import Store
from astray.testing import make_decision
from running import WAIT_S, until


@pytest.fixture
def store(tmp_path):
    """Open a case store."""
    with Store.open(f"sqlite:///{tmp_path}/cases.db") as opened:
        yield opened


def record(store: Store, first: int, count: int = 1) -> list[bytes]:
    """Record decisions; return the alerts of all there are."""
    outbox = WebhookOutbox([], finding)
    store.record([make_decision(session=f"s{first + at}") for at in range(count)], outbox, 1.0)
    return bodies(store)


def bodies(store: Store) -> list[bytes]:
    """Return all alerts."""
    found, after = [], 0
    while some := store.alerts_after(after, 500):
        found += [body for _, body in some]
        after = some[-1][0]
    return found


def nobody(_: bytes) -> None:
    """See no alert."""


def lines(path: Path) -> list[bytes]:
    """Return the lines of a file."""
    return path.read_bytes().splitlines()


def test_the_file_gets_every_alert_and_a_watcher_the_new_ones(store, tmp_path):
    """The file has all of the store's alerts, in order; who watches sees those since the start."""
    path, seen = tmp_path / "alerts.jsonl", []
    record(store, 0, 3)

    with Alerts(store, path, seen.append) as alerts:
        record(store, 3, 2)
        alerts.wake()

    assert lines(path) == bodies(store)
    assert seen == bodies(store)[3:]
    assert len(bodies(store)) == 5


@pytest.mark.parametrize("count", [1, 499, 500, 501, 1200])
def test_a_next_run_goes_on_after_what_is_written(count, store, tmp_path):
    """However many there were, another run writes and shows only what is new."""
    path, seen = tmp_path / "alerts.jsonl", []
    record(store, 0, count)
    with Alerts(store, path, nobody):
        pass

    with Alerts(store, path, seen.append) as alerts:
        expected = record(store, count)
        alerts.wake()

    assert lines(path) == expected
    assert seen == expected[count:]


@pytest.mark.parametrize(
    ("marked", "torn"),
    [
        pytest.param(3, b"", id="written but not marked"),
        pytest.param(3, b'{"half', id="the next one torn"),
        pytest.param(0, b"", id="never marked"),
    ],
)
def test_a_crash_between_writing_and_marking_writes_nothing_twice(marked, torn, store, tmp_path):
    """Where the file is ahead of the mark its last line tells, and a torn line is written anew."""
    path = tmp_path / "alerts.jsonl"
    record(store, 0, 5)
    with Alerts(store, path, nobody):
        pass
    store.set_mark(f"alerts:{path.absolute()}", marked)
    with path.open("ab") as file:
        file.write(torn)

    with Alerts(store, path, nobody):
        expected = record(store, 5)

    assert lines(path) == expected


def test_two_files_of_one_store_each_get_all(store, tmp_path):
    """A file has a mark of its own, so a new file begins with the first alert."""
    expected = record(store, 0, 4)
    for name in ("one.jsonl", "two.jsonl"):
        with Alerts(store, tmp_path / name, nobody):
            pass

    assert [lines(tmp_path / name) for name in ("one.jsonl", "two.jsonl")] == [expected, expected]
    assert store.mark(f"alerts:{tmp_path}/one.jsonl") == 4


def test_a_slow_watcher_holds_up_neither_the_file_nor_the_recording(store, tmp_path):
    """While one who watches is stuck, alerts are recorded and written on."""
    path, release, stuck = tmp_path / "alerts.jsonl", threading.Event(), threading.Event()

    def show(_: bytes) -> None:
        stuck.set()
        release.wait(WAIT_S)

    with Alerts(store, path, show) as alerts:
        record(store, 0)
        alerts.wake()
        assert stuck.wait(WAIT_S)
        expected = record(store, 1, 3)
        alerts.wake()
        until(lambda: lines(path) == expected, "the file")
        release.set()


def test_a_watcher_that_has_gone_is_asked_once(store, tmp_path):
    """After a broken pipe nothing is shown any more, and the file is still written."""
    path, asked = tmp_path / "alerts.jsonl", []

    def show(body: bytes) -> None:
        asked.append(body)
        raise BrokenPipeError

    with Alerts(store, path, show) as alerts:
        expected = record(store, 0, 3)
        alerts.wake()

    assert asked == expected[:1]
    assert lines(path) == expected


def test_a_file_that_cannot_be_opened_is_a_sentence(store, tmp_path):
    """A directory in the file's place is named before anything starts."""
    with pytest.raises(ConfigError, match="alerts cannot be written: Is a directory"):
        Alerts(store, tmp_path, nobody)


def test_a_file_that_cannot_be_written_is_told_at_the_end(store):
    """A full disk does not end the run; its end says what is missing, and the mark stays."""
    alerts = Alerts(store, Path("/dev/full"), nobody)
    record(store, 0)
    alerts.start()

    with pytest.raises(ConfigError, match="/dev/full: alerts cannot be written: No space left"):
        alerts.stop()

    assert store.mark("alerts:/dev/full") == 0


def test_worse_errors_are_not_hidden_by_the_files(store):
    """An error of the run itself comes first, whatever the file has to say."""
    record(store, 0)

    with pytest.raises(ZeroDivisionError), Alerts(store, Path("/dev/full"), nobody):
        raise ZeroDivisionError
