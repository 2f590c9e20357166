"""Several processes as one run: the same decisions, stopped together."""

import os
import pickle
import signal
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import orjson
import psycopg
import pytest

from astray.flow.cluster import local_addresses
from astray.flow.keys import shard_key
from astray.flow.statefiles import FOLDER
from astray.testing import Receiver
from databases import asked, fresh_schema, postgres_url
from running import (
    COMMAND,
    SECRET,
    WAIT_S,
    WHSEC,
    astray,
    attacked_fleet,
    complaints,
    environment_with,
    quick_config,
    started,
    until,
)

_STORE = """
[store]
url = "env:ASTRAY_STORE_URL"
"""
_FILES = ("a.jsonl", "b.jsonl", "c.jsonl")
_CONNECTING_S = 3.0
"""By then a process looks for the others, and goes on looking: there are none."""


class Site:
    """A folder with the same three files to read, and a case store of its own."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        folder.mkdir()
        self.folder = folder
        self.url = fresh_schema(postgres_url())
        (folder / "astray.toml").write_text(quick_config(receiver.url) + _STORE)
        self.secrets = {"ASTRAY_WEBHOOK_SECRET": WHSEC, "ASTRAY_STORE_URL": self.url}
        sources = [part for name in _FILES for part in ("--source", name)]
        self.command = ["run", *sources, "--config", "astray.toml", "--recovery", "state"]

    def run(self, *more: str) -> subprocess.CompletedProcess:
        """Run to the end of the files."""
        result = astray(*self.command, *more, cwd=self.folder, **self.secrets)
        assert result.returncode == 0, result.stderr.decode()
        return result

    def follow(self, *more: str) -> subprocess.Popen:
        """Start a run that follows the files."""
        return started(*self.command, "--follow", *more, cwd=self.folder, **self.secrets)

    def member(
        self, addresses: Sequence[str], number: int, *more: str, names: Sequence[str] = _FILES
    ) -> subprocess.Popen:
        """Start one process of a cluster, as the supervisor does."""
        place = ["--cluster", ",".join(addresses), "--process", str(number), "--lifeline"]
        sources = [part for name in names for part in ("--source", name)]
        own = ["--config", "astray.toml", "--recovery", "state", "--alerts", "alerts.jsonl"]
        return subprocess.Popen(
            [*COMMAND, "run", *sources, *own, *place, *more],
            cwd=self.folder,
            env=environment_with(**self.secrets),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def decisions(self) -> dict[str, dict]:
        """Return all decisions by their ids."""
        try:
            rows = asked(self.url, "SELECT decision_id, body FROM decisions")
        except psycopg.errors.UndefinedTable:  # nobody has opened the store yet
            rows = []
        return {name: orjson.loads(body) for name, body in rows}


def _newest_state(directory: Path, key: str) -> str:
    """Return the name of the file in which the newest state of a key lies."""
    with closing(sqlite3.connect(directory / "part-0.sqlite3")) as connection:
        query = "SELECT ser_change FROM snaps WHERE state_key = ? ORDER BY snap_epoch DESC LIMIT 1"
        (kept,) = connection.execute(query, (key,)).fetchone()
    return pickle.loads(kept)[1]  # noqa: S301 - astray wrote it


def _parts(data: bytes) -> list[bytes]:
    """Divide lines among the files; all of an agent's are in one."""
    parts = [b"", b"", b""]
    for line in data.splitlines(keepends=True):
        parts[sum(orjson.loads(line)["agent"].encode()) % 3] += line
    return parts


@pytest.fixture(scope="module")
def receiver():
    """Receive webhooks."""
    with Receiver([SECRET]) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Make the contents of the three files."""
    return _parts(attacked_fleet(tmp_path_factory.mktemp("fleet")))


@pytest.fixture(scope="module")
def expected(tmp_path_factory, receiver, parts):
    """Run over the files in one process."""
    return _expected(tmp_path_factory.mktemp("one") / "site", receiver, parts)


@pytest.fixture(scope="module")
def long_parts(tmp_path_factory):
    """Make the contents of three files that take a while."""
    return _parts(attacked_fleet(tmp_path_factory.mktemp("fleet"), 40.0))


@pytest.fixture(scope="module")
def long_expected(tmp_path_factory, receiver, long_parts):
    """Run over the long files in one process."""
    return _expected(tmp_path_factory.mktemp("long") / "site", receiver, long_parts)


def _expected(folder: Path, receiver: Receiver, parts: list[bytes]) -> dict[str, dict]:
    site = Site(folder, receiver)
    for name, part in zip(_FILES, parts, strict=True):
        (site.folder / name).write_bytes(part)
    site.run()
    found = site.decisions()
    assert len(found) > 8
    receiver.deliveries.clear()
    return found


def test_two_processes_decide_what_one_does(tmp_path, receiver, parts, expected):
    """Work that is shared comes to the same decisions, and each is sent once."""
    site = Site(tmp_path / "site", receiver)
    for name, part in zip(_FILES, parts, strict=True):
        (site.folder / name).write_bytes(part)

    site.run("--processes", "2")

    assert site.decisions() == expected
    cases = [orjson.loads(d.body)["data"]["alert_id"] for d in receiver.deliveries.values()]
    assert len(cases) == len(set(cases)) > 0
    receiver.deliveries.clear()


@pytest.mark.slow
def test_when_one_is_asked_to_stop_all_do(tmp_path, receiver, parts):
    """A process that gets SIGTERM tells the others; nobody hangs, and state is whole."""
    site = Site(tmp_path / "site", receiver)
    for name, part in zip(_FILES, parts, strict=True):
        (site.folder / name).write_bytes(part)
    run = site.follow("--processes", "2")
    until(site.decisions, "a decision")

    os.kill(_children(run.pid)[0], signal.SIGTERM)
    run.communicate(timeout=60)

    assert run.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_is_brought_back(killed, tmp_path, receiver, long_parts, long_expected):
    """Killed in the middle of the work, one takes the others along, and all go on from there."""
    site = Site(tmp_path / "site", receiver)
    for name, part in zip(_FILES, long_parts, strict=True):
        (site.folder / name).write_bytes(part)
    command = [*site.command, "--processes", "2"]
    run = started(*command, cwd=site.folder, **site.secrets)
    until(lambda: len(site.decisions()) >= len(long_expected) // 4, "a quarter of the decisions")
    before = len(site.decisions())

    os.kill(_children(run.pid)[killed], signal.SIGKILL)
    _, said = run.communicate(timeout=240)

    assert before < len(long_expected)
    assert b"all begin again" in said
    assert (run.returncode, site.decisions()) == (0, long_expected)
    cases = [orjson.loads(d.body)["data"]["alert_id"] for d in receiver.deliveries.values()]
    assert len(cases) == len(set(cases)) > 0
    receiver.deliveries.clear()


@pytest.mark.slow
def test_processes_may_be_more_and_fewer_with_every_start(tmp_path, receiver, parts):
    """State is kept over 1, 2, 3 and 1 processes: as if there had always been one."""
    found = []
    for name, numbers in (("rescaled", "1231"), ("one", "1111")):
        site = Site(tmp_path / name, receiver)
        for piece, number in enumerate(numbers):
            for file, part in zip(_FILES, parts, strict=True):
                lines = part.splitlines(keepends=True)
                with (site.folder / file).open("ab") as grown:
                    quarter = slice(piece * len(lines) // 4, (piece + 1) * len(lines) // 4)
                    grown.write(b"".join(lines[quarter]))
            site.run("--processes", number)
        inspected = astray("state", "inspect", "state", "--json", cwd=site.folder)
        kept = {state["key"]: state["holds"] for state in orjson.loads(inspected.stdout)["states"]}
        found.append((site.decisions(), kept))

    assert found[0] == found[1]
    assert len(found[0][0]) > 8
    receiver.deliveries.clear()


def test_what_breaks_a_cluster_is_said_by_the_process_that_it_broke(tmp_path, receiver, parts):
    """The last word of each is a sentence, not the stack in which the engine ends."""
    site = Site(tmp_path / "site", receiver)
    for name, part in zip(_FILES, parts, strict=True):
        (site.folder / name).write_bytes(part)
    site.run("--processes", "2")
    gone = site.folder / "state" / FOLDER / _newest_state(site.folder / "state", shard_key(2))
    gone.unlink()

    addresses = local_addresses(2)
    running = [site.member(addresses, number) for number in (0, 1)]
    said = [process.stderr.read().decode().splitlines() for process in running if process.stderr]
    for process in running:
        process.communicate(timeout=WAIT_S)

    assert [process.returncode for process in running] == [1, 1]
    assert not any("Traceback" in line for lines in said for line in lines)
    (named,) = [line for lines in said for line in lines if f"snapshot of {shard_key(2)}" in line]
    assert f"{FOLDER}/{gone.name}, in which the state is, cannot be read: No such file" in named
    assert all(lines[-1].startswith("astray: ") for lines in said)


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_waits_for_the_others_can_be_stopped(number, tmp_path, receiver, parts):
    """It has nothing to bring to an end."""
    site = Site(tmp_path / "site", receiver)
    (site.folder / "a.jsonl").write_bytes(parts[0])
    addresses = local_addresses(2)
    process = site.member(addresses, number, "--health", "127.0.0.1:0", names=["a.jsonl"])
    assert process.stderr is not None
    assert b"health and metrics" in process.stderr.readline()
    time.sleep(_CONNECTING_S)

    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=WAIT_S)

    assert process.returncode == 0
    assert b"Traceback" not in said


@pytest.mark.slow
def test_processes_end_with_their_supervisor(tmp_path, receiver, parts):
    """Nobody goes on in the dark when the supervisor was killed."""
    site = Site(tmp_path / "site", receiver)
    for name, part in zip(_FILES, parts, strict=True):
        (site.folder / name).write_bytes(part)
    run = site.follow("--processes", "2")
    until(site.decisions, "a decision")
    children = _children(run.pid)

    run.kill()
    run.communicate(timeout=60)

    assert len(children) == 2
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "their end")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--processes", "2", "--store", "sqlite:///a.db"],
            "need a case store that they can share",
        ),
        (["--cluster", "a:1,b"], "--cluster: 'b' is not host:port"),
        (["--cluster", "a:1,a:1", "--process", "0"], "an address is given twice"),
        (["--cluster", "a:1,b:2"], "which of the addresses in --cluster is this one"),
        (["--cluster", "a:1,b:2", "--process", "2"], "--process: one of 0 to 1, not 2"),
        (["--process", "0"], "--process: only with --cluster"),
        (["--cluster", "a:1", "--process", "0", "--processes", "2"], "one or the other"),
    ],
)
def test_what_is_no_cluster_is_said(options, sentence, tmp_path):
    """Mistakes in what describes a cluster are sentences."""
    (tmp_path / "e.jsonl").write_bytes(b'{"ts":1,"agent":"a","action":"b"}\n')

    result = astray("run", "--source", "e.jsonl", *options, cwd=tmp_path)

    assert any(sentence in line for line in complaints(result))


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []
