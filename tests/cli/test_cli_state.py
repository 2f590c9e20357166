"""`astray state`: a state that is carried elsewhere goes on as if it had never moved."""

import contextlib
import fcntl
import os
import pickle
import shutil
import sqlite3
from pathlib import Path

import orjson
import pytest

from astray.flow.keys import shard_key, tenant_key
from astray.flow.statefiles import FOLDER
from running import (
    astray,
    attacked_fleet,
    complaints,
    decisions,
    invoked,
    rows,
    started,
    states,
    until,
)

_CONFIG = """
[default_policy]
alert = { score = 25.0 }

[recovery]
interval_s = 0.2
"""
RUN = ("run", "--source", "events.jsonl", "--config", "astray.toml", "--recovery", "recovery")
STORE = ("--store", "sqlite:///cases.db")


def folder_with(folder: Path, data: bytes) -> Path:
    """Return a folder with a configuration and events; equal names everywhere, as ids hash them."""
    folder.mkdir()
    (folder / "astray.toml").write_text(_CONFIG)
    (folder / "events.jsonl").write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Return the lines of a small fleet."""
    return attacked_fleet(tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="module")
def begun(tmp_path_factory, fleet):
    """Return a folder with a run over two thirds of a fleet's events that has ended."""
    folder = tmp_path_factory.mktemp("begun") / "first"
    folder_with(folder, fleet[: fleet.index(b"\n", len(fleet) * 2 // 3) + 1])
    result = invoked(*RUN, *STORE, cwd=folder)
    assert result.returncode == 0, result.stderr.decode()
    return folder


@pytest.fixture
def first(begun, tmp_path):
    """Return a copy of the folder, to be changed."""
    return Path(shutil.copytree(begun, tmp_path / "first"))


def go_on(folder: Path, data: bytes) -> None:
    """Let a run go on with more data to its end."""
    (folder / "events.jsonl").write_bytes(data)
    result = astray(*RUN, *STORE, cwd=folder)
    assert result.returncode == 0, result.stderr.decode()


@pytest.mark.slow
def test_what_was_carried_elsewhere_goes_on_as_it_would_have(first, fleet, tmp_path):
    """Exported and imported, a state comes to the same decisions and the same bytes."""
    second = folder_with(tmp_path / "second", fleet)
    shutil.copy(first / "cases.db", second / "cases.db")
    before = states(first / "recovery")

    exported = astray("state", "export", "recovery", "../state", cwd=first)
    imported = astray("state", "import", "../state", "recovery", cwd=second)
    carried = states(second / "recovery")
    go_on(first, fleet)
    go_on(second, fleet)

    assert (exported.returncode, imported.returncode) == (0, 0)
    assert carried == before
    assert states(second / "recovery") == states(first / "recovery") != before
    assert decisions(second / "cases.db") == decisions(first / "cases.db")


@pytest.mark.slow
def test_what_was_killed_is_exported_as_a_run_would_find_it(fleet, tmp_path):
    """The last whole epoch counts; what was begun after it is read again, as after any crash."""
    first = folder_with(tmp_path / "first", fleet[: len(fleet) // 2])
    database = first / "recovery" / "part-0.sqlite3"
    with started(*RUN, *STORE, "--follow", cwd=first) as process:
        until(lambda: rows(database, "SELECT * FROM commits"), "a whole epoch")
        with (first / "events.jsonl").open("ab") as file:
            file.write(fleet[len(fleet) // 2 :])
        process.kill()
    second = folder_with(tmp_path / "second", fleet)

    invoked("state", "export", "recovery", "../state", cwd=first)
    invoked("state", "import", "../state", "recovery", cwd=second)
    go_on(first, fleet)
    go_on(second, fleet)

    assert states(second / "recovery") == states(first / "recovery")
    assert set(decisions(second / "cases.db")) <= set(decisions(first / "cases.db"))


def test_a_directory_is_looked_into(first):
    """Its shards and deciders, with what is in them, its epochs, and the places of its sources."""
    told = invoked("state", "inspect", "recovery", cwd=first)
    found = orjson.loads(invoked("state", "inspect", "recovery", "--json", cwd=first).stdout)

    by_key = {state["key"]: state for state in found["states"]}
    shards = [by_key[shard_key(number)]["holds"] for number in range(4)]
    events = (first / "events.jsonl").read_bytes().splitlines()
    agents = {orjson.loads(line)["agent"] for line in events}
    assert sum(shard["agents"] for shard in shards) == len(agents)
    assert sum(shard["open_sessions"] for shard in shards) > 0
    assert by_key[tenant_key(0)]["holds"]["reference_sessions"] > 100
    assert found["epoch"] in found["epochs"]
    assert found["sources"]["events.jsonl"][1] == (first / "events.jsonl").stat().st_size
    assert (told.returncode, told.stdout) == (0, b"")
    said = told.stderr.decode()
    assert f"a run goes on at epoch {found['epoch']}" in said
    assert f"events.jsonl: read up to {found['sources']['events.jsonl'][1]:,}\n" in said
    assert all(key in said for key in by_key if key.startswith(("shard-", "tenants-")))


def test_looking_changes_nothing(first):
    """A run goes on after it as it would have."""
    before = states(first / "recovery")

    invoked("state", "inspect", "recovery", cwd=first)
    invoked("state", "export", "recovery", "../state", cwd=first)

    assert states(first / "recovery") == before


def spoil(recovery: Path) -> int:
    """Change a byte in the middle of a shard's state; return the snapshot's epoch."""
    with contextlib.closing(sqlite3.connect(recovery / "part-0.sqlite3")) as connection:
        query = "SELECT snap_epoch, ser_change FROM snaps WHERE state_key = ?"
        epoch, kept = connection.execute(query, (shard_key(2),)).fetchone()
    file = recovery / FOLDER / pickle.loads(kept)[1]  # noqa: S301 - astray wrote it
    state = bytearray(file.read_bytes())
    state[len(state) // 2] ^= 1
    file.write_bytes(state)
    return epoch


def test_a_run_that_finds_damage_says_where_and_what_to_do(first):
    """The snapshot is named, and so is the way to see what else there is; nothing is scored."""
    epoch = spoil(first / "recovery")

    result = astray(*RUN, *STORE, cwd=first)
    looked = invoked("state", "inspect", "recovery", cwd=first)

    (said,) = complaints(result, 1)
    why = "the shard state is damaged: its checksum does not match"
    assert said.startswith(
        f"astray: recovery: the snapshot of {shard_key(2)} (assess, "
        f"epoch {epoch}) cannot be used: {why}"
    )
    assert "`astray state inspect recovery`" in said
    assert looked.returncode == 1
    assert f"DAMAGED: {why}" in looked.stderr.decode()


def test_refusals_are_sentences(first, tmp_path):
    """No recovery directory, one in use, a file that is there: an exit code and why."""
    (tmp_path / "empty").mkdir()
    handle = os.open(first / "recovery", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    busy = invoked("state", "export", "recovery", "file", cwd=first)
    os.close(handle)
    nothing = invoked("state", "inspect", tmp_path / "empty")
    taken = invoked("state", "export", "recovery", "events.jsonl", cwd=first)
    not_one = invoked("state", "import", "events.jsonl", "new", cwd=first)

    assert complaints(busy, 1) == ["astray: recovery: in use by another astray"]
    assert complaints(nothing) == [
        f"astray: {tmp_path / 'empty'}: no recovery directory of astray's"
    ]
    assert complaints(taken) == ["astray: events.jsonl: is there already"]
    (said,) = complaints(not_one)
    assert said.startswith("astray: events.jsonl: cannot be imported: the recovery state is not")
    assert not (first / "new").exists()


def test_an_imported_state_keeps_to_the_shards_it_was_made_for(first, fleet, tmp_path):
    """A run with another number of shards is refused, as with the original."""
    invoked("state", "export", "recovery", "../state", cwd=first)
    second = folder_with(tmp_path / "second", fleet)
    invoked("state", "import", "../state", "recovery", cwd=second)
    with (second / "astray.toml").open("a") as file:
        file.write("\n[events]\nshards = 8\n")

    result = invoked(*RUN, *STORE, cwd=second)

    (said,) = complaints(result)
    assert "shards is 4 there and 8 here" in said
