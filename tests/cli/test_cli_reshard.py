"""`astray state reshard`: a run goes on with another number of shards, and nothing is lost."""

import fcntl
import hashlib
import os
import shutil
import sqlite3
import time
from pathlib import Path
from zlib import adler32

import orjson
import pytest

from astray.flow.keys import shard_key
from running import attacked_fleet, complaints, decisions, invoked, started, states, until

_CONFIG = """
[events]
shards = {shards}
shard_by = "{by}"

[default_policy]
alert = {{ score = 25.0 }}
limits = {{ events_per_session = 30 }}
"""
RUN = ("run", "--source", "events.jsonl", "--config", "astray.toml")
STORE = ("--store", "sqlite:///cases.db")


def configured(folder: Path, shards: int, by: str = "group") -> Path:
    """Return a folder that has a configuration of so many shards."""
    folder.mkdir(exist_ok=True)
    (folder / "astray.toml").write_text(_CONFIG.format(shards=shards, by=by))
    return folder


def ran(folder: Path, data: bytes, recovery: str = "recovery") -> Path:
    """Return a folder in which a run over data has ended."""
    (folder / "events.jsonl").write_bytes(data)
    result = invoked(*RUN, *STORE, "--recovery", recovery, cwd=folder)
    assert result.returncode == 0, result.stderr.decode()
    return folder


def fingerprints(directory: Path) -> dict[str, str]:
    """Return what is in the files of a directory, as hashes.

    A reader that was killed leaves what SQLite shares among readers, and an empty log.
    """
    kept = (path for path in directory.rglob("*") if not path.name.endswith("-shm"))
    files = [path for path in kept if path.is_file() and path.stat().st_size]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def looked_into(folder: Path, recovery: str) -> dict:
    """Return what `astray state inspect` tells of a recovery directory."""
    told = invoked("state", "inspect", recovery, "--json", cwd=folder)
    assert told.returncode == 0, told.stderr.decode()
    return orjson.loads(told.stdout)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Return the lines of a small fleet of seven groups, with agents that have none."""
    lines = attacked_fleet(tmp_path_factory.mktemp("fleet")).splitlines()
    return b"".join(map(grouped, lines))


def grouped(line: bytes) -> bytes:
    """Return the line of an event with another group, or without one, by its agent."""
    event = orjson.loads(line)
    number = adler32(event["agent"].encode()) % 10
    event["group"] = f"group-{number}" if number < 7 else ""
    return orjson.dumps(event) + b"\n"


@pytest.fixture(scope="module")
def half(fleet):
    """Return the first half of the lines."""
    return fleet[: fleet.index(b"\n", len(fleet) // 2) + 1]


@pytest.fixture(scope="module")
def begun(tmp_path_factory, half):
    """Return a folder with a run of eight shards over half of a fleet's events that has ended."""
    return ran(configured(tmp_path_factory.mktemp("begun") / "begun", 8), half)


@pytest.fixture
def first(begun, tmp_path):
    """Return a copy of the folder, to be changed."""
    return Path(shutil.copytree(begun, tmp_path / "first"))


@pytest.mark.parametrize(("shards", "by"), [(3, "group"), (16, "group"), (5, "agent")])
def test_a_run_goes_on_in_other_shards(first, fleet, half, tmp_path, shards, by):
    """Agents, open sessions and places of sources are there; no event is read twice or missed."""
    before, old = looked_into(first, "recovery"), fingerprints(first / "recovery")
    configured(first, shards, by)

    result = invoked("state", "reshard", "recovery", "other", "--config", "astray.toml", cwd=first)
    after = looked_into(first, "other")
    ran(first, fleet, "other")
    whole = ran(configured(tmp_path / "whole", 8), fleet)

    assert (result.returncode, result.stdout) == (0, b"")
    said = f"other: 8 shards by group have become {shards} shards by {by}; "
    assert result.stderr.decode().startswith(said)
    assert fingerprints(first / "recovery") == old
    assert (after["sources"], after["epoch"]) == (before["sources"], before["epoch"])
    assert after["sources"]["events.jsonl"][1] == len(half)
    for name in ("agents", "open_sessions"):
        assert total(after, name) == total(before, name) > 0
    ended, undisturbed = (looked_into(first, "other"), looked_into(whole, "recovery"))
    for name in ("agents", "open_sessions", "reference_sessions"):
        assert total(ended, name) == total(undisturbed, name)
    assert beyond_limits(first) == beyond_limits(whole) != []


def total(found: dict, name: str) -> int:
    """Return a sum over all states."""
    return sum(state["holds"].get(name, 0) for state in found["states"])


def beyond_limits(folder: Path) -> list[str]:
    """Return the ids of decisions that no score has made."""
    found = decisions(folder / "cases.db").items()
    return sorted(id_ for id_, body in found if orjson.loads(body)["reason"] != "score")


def test_there_and_back_deciders_and_places_are_the_same_to_the_byte(first):
    """Eight shards, three, and eight again: all but the shards are what they were."""
    configured(first, 3)
    there = invoked("state", "reshard", "recovery", "three", "--config", "astray.toml", cwd=first)
    configured(first, 8)
    back = invoked("state", "reshard", "three", "eight", "--config", "astray.toml", cwd=first)

    assert (there.returncode, back.returncode) == (0, 0)
    old, new = states(first / "recovery"), states(first / "eight")
    assert set(new) == set(old)
    deciders = [key for key in old if key[1].startswith("tenants-")]
    assert [new[key] for key in deciders] == [old[key] for key in deciders]
    for name in ("astray.json", "begun.json"):
        assert orjson.loads((first / "eight" / name).read_bytes()) == orjson.loads(
            (first / "recovery" / name).read_bytes()
        )


@pytest.mark.slow
def test_what_is_killed_leaves_nothing_that_looks_whole(first):
    """Killed while it writes: the new directory is not there, or whole; the old one is as it was."""
    old = fingerprints(first / "recovery")
    configured(first, 3)
    reshard = ("state", "reshard", "recovery", "other", "--config", "astray.toml")

    for delay_s in (0.0, 0.002, 0.005, 0.02):
        with started(*reshard, cwd=first) as process:
            until(lambda: made_of(first) or process.poll() is not None, "the new directory")
            time.sleep(delay_s)
            process.kill()
        assert fingerprints(first / "recovery") == old
        if (first / "other").exists():
            assert looked_into(first, "other")["address"]["shards"] == 3
        for left in made_of(first):
            shutil.rmtree(left)

    result = invoked(*reshard, cwd=first)
    assert result.returncode == 0
    there, here = looked_into(first, "recovery"), looked_into(first, "other")
    assert total(here, "agents") == total(there, "agents")
    assert made_of(first) == [first / "other"]


def made_of(folder: Path) -> list[Path]:
    """Return the new directory, and what is to become one."""
    return [path for path in folder.iterdir() if path.name.lstrip(".").startswith("other")]


def refused(folder: Path, *arguments: object, code: int = 2) -> str:
    """Return the one sentence with which resharding is refused; nothing is made."""
    before = sorted(path.name for path in folder.iterdir())
    (said,) = complaints(invoked("state", "reshard", *arguments, cwd=folder), code)
    assert sorted(path.name for path in folder.iterdir()) == before
    return said.removeprefix("astray: ")


def test_refusals_are_sentences(first):
    """The same shards, a taken or missing directory, one in use, a configuration with mistakes."""
    eight, three = ("--config", "astray.toml"), ("--config", "three.toml")
    (first / "three.toml").write_text(_CONFIG.format(shards=3, by="group"))
    (first / "bad.toml").write_text("[events]\nshards = 0\n")
    (first / "empty").mkdir()

    assert refused(first, "recovery", "new", *eight) == "recovery: has 8 shards by group already"
    assert refused(first, "recovery", "recovery", *three) == (
        "recovery: is there already, and not empty"
    )
    assert refused(first, "empty", "new", *three) == "empty: no recovery directory of astray's"
    assert refused(first, "recovery", "new", "--config", "bad.toml").startswith(
        "bad.toml: events.shards: "
    )
    handle = os.open(first / "recovery", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    in_use = refused(first, "recovery", "new", *three, code=1)
    assert in_use == "recovery: in use by another astray"
    os.close(handle)
    said = refused(first, "recovery", "new", *three, "--epoch", "999999")
    assert said.startswith("recovery: one can go back to epoch ")


def test_caps_that_would_not_be_kept_are_named(first):
    """All of them in one sentence, with what they must be."""
    config = _CONFIG.format(shards=1, by="group")
    (first / "one.toml").write_text(f"{config}\n[baseline]\nagents_max = 64\ngroups_max = 4\n")

    said = refused(first, "recovery", "new", "--config", "one.toml")

    assert said.startswith("recovery: cannot become 1 shards by group: a shard would have ")
    assert said.endswith(" groups: baseline.groups_max must be at least 11")


def test_damaged_and_missing_shards_are_named(first):
    """A shard that cannot be read, or is not there, is not passed over."""
    (first / "three.toml").write_text(_CONFIG.format(shards=3, by="group"))
    with sqlite3.connect(first / "recovery" / "part-0.sqlite3") as connection:
        connection.execute("DELETE FROM snaps WHERE state_key = ?", (shard_key(5),))
    connection.close()
    missing = refused(first, "recovery", "new", "--config", "three.toml")

    with sqlite3.connect(first / "recovery" / "part-0.sqlite3") as connection:
        update = "UPDATE snaps SET ser_change = substr(ser_change, 1, 50) WHERE state_key = ?"
        connection.execute(update, (shard_key(2),))
    connection.close()
    damaged = refused(first, "recovery", "new", "--config", "three.toml", code=1)

    assert missing == f"recovery: has no state of {shard_key(5)}"
    assert damaged.startswith(f"recovery: the snapshot of {shard_key(2)} (assess, epoch ")
