"""The recovery directory: made once, and refused where its state would not be found."""

import fcntl
import os
import stat
from pathlib import Path

import orjson
import pytest

from astray.blob import OLDEST_VERSION, SCHEMA_VERSION
from astray.config import load_config
from astray.errors import RecoveryError
from astray.flow.recovery import open_recovery

CONFIG = load_config()


def opened(directory, config=CONFIG):
    """Open a recovery directory and leave it."""
    with open_recovery(directory, config) as recovery:
        return recovery


def test_a_new_directory_is_made_and_marked(tmp_path):
    """A directory that is not there is made, for its owner only, and opens again."""
    directory = tmp_path / "deep" / "recovery"

    recovery = opened(directory)
    opened(directory)

    assert Path(recovery.engine.db_dir) == directory
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert sorted(path.name for path in directory.iterdir()) == ["astray.json", "part-0.sqlite3"]
    assert orjson.loads((directory / "astray.json").read_bytes()) == {
        "schema_version": SCHEMA_VERSION,
        "flow": "astray",
        "steps": ["read", "decode", "reject", "route", "assess", "decide", "record"],
        "shards": 4,
        "shard_by": "group",
        "tenant_keys": 4,
        "spread": 60,
        "read_keys": 16,
    }


def test_a_crash_before_the_database_was_made_is_mended(tmp_path):
    """A marked directory without a database gets one: nothing can have been lost."""
    directory = tmp_path / "recovery"
    opened(directory)
    (directory / "part-0.sqlite3").unlink()

    opened(directory)

    assert (directory / "part-0.sqlite3").exists()


@pytest.mark.parametrize(
    ("name", "there", "sentence"),
    [
        pytest.param("shards", 8, "shards is 8 there and 4 here", id="shards"),
        pytest.param(
            "shard_by", "agent", "shard_by is 'agent' there and 'group' here", id="shard by"
        ),
        pytest.param(
            "schema_version",
            99,
            f"schema_version is 99 there and {SCHEMA_VERSION} here",
            id="schema version",
        ),
        pytest.param(
            "schema_version",
            OLDEST_VERSION - 1,
            f"schema_version is {OLDEST_VERSION - 1} there and {SCHEMA_VERSION} here",
            id="schema version too old",
        ),
        pytest.param("flow", "other", "flow is 'other' there and 'astray' here", id="flow"),
        pytest.param(
            "steps", ["read"], "steps is ['read'] there and ['read', 'decode'", id="steps"
        ),
        pytest.param("tenant_keys", 2, "tenant_keys is 2 there and 4 here", id="tenant keys"),
        pytest.param("read_keys", None, "read_keys is None there and 16 here", id="read keys"),
    ],
)
def test_the_state_of_another_address_is_refused(name, there, sentence, tmp_path):
    """Whatever belongs to the address of the state is compared, and the difference is said."""
    opened(tmp_path)
    mark = tmp_path / "astray.json"
    mark.write_bytes(orjson.dumps({**orjson.loads(mark.read_bytes()), name: there}))

    with pytest.raises(RecoveryError) as caught:
        opened(tmp_path)

    assert str(caught.value).startswith(
        f"{tmp_path}: holds the state of another configuration: {sentence}"
    )


def test_the_state_of_an_older_version_is_marked_as_todays(tmp_path):
    """It is read and written anew, so the astray that wrote it must not take it for its own."""
    opened(tmp_path)
    mark = tmp_path / "astray.json"
    written = orjson.loads(mark.read_bytes())
    mark.write_bytes(orjson.dumps({**written, "schema_version": OLDEST_VERSION}))

    opened(tmp_path)

    assert orjson.loads(mark.read_bytes()) == written


def test_all_differences_are_said_at_once(tmp_path):
    """Two differing settings are one sentence with both."""
    opened(tmp_path)
    config = load_config(overrides={"events": {"shards": 2, "shard_by": "agent"}})

    with pytest.raises(RecoveryError) as caught:
        opened(tmp_path, config)

    assert str(caught.value).endswith(
        ": shards is 4 there and 2 here; shard_by is 'group' there and 'agent' here; "
        "`astray state reshard` makes a directory for this configuration of it"
    )


def test_resharding_is_named_where_it_helps(tmp_path):
    """Not where the state differs in what it does not change."""
    opened(tmp_path)
    mark = tmp_path / "astray.json"
    mark.write_bytes(orjson.dumps({**orjson.loads(mark.read_bytes()), "tenant_keys": 2}))
    config = load_config(overrides={"events": {"shards": 2}})

    with pytest.raises(RecoveryError) as caught:
        opened(tmp_path, config)

    assert "shards is 4 there and 2 here; tenant_keys is 2" in str(caught.value)
    assert "astray state reshard" not in str(caught.value)


def test_thresholds_are_no_part_of_the_address(tmp_path):
    """Other thresholds go on with the same state."""
    opened(tmp_path)

    opened(tmp_path, load_config(overrides={"default_policy": {"alert": {"score": 50.0}}}))


def test_a_directory_of_something_else_is_refused(tmp_path):
    """A directory with files of others is left alone."""
    (tmp_path / "thesis.tex").touch()

    with pytest.raises(RecoveryError, match="not empty, and not a recovery directory of astray's"):
        opened(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    "content", [pytest.param(b'{"sha', id="torn"), pytest.param(b"[]", id="no object")]
)
def test_a_damaged_mark_is_refused(content, tmp_path):
    """A mark that cannot be read is named; the state is not taken on trust."""
    opened(tmp_path)
    (tmp_path / "astray.json").write_bytes(content)

    with pytest.raises(RecoveryError, match=r"astray\.json: damaged; restore it or begin"):
        opened(tmp_path)


def test_a_damaged_database_is_refused(tmp_path):
    """A database that is none is named."""
    opened(tmp_path)
    (tmp_path / "part-0.sqlite3").write_bytes(b"not a database at all")

    with pytest.raises(RecoveryError, match=r"part-0\.sqlite3: damaged; restore it or begin"):
        opened(tmp_path)


def test_a_file_is_no_directory(tmp_path):
    """A path that is a file, or lies in one, has the system's reason; trying again is of no use."""
    path = tmp_path / "file"
    path.touch()

    for wanted, reason in ((path, "File exists"), (path / "inner", "Not a directory")):
        with pytest.raises(RecoveryError) as caught:
            opened(wanted)
        assert str(caught.value) == f"{wanted}: cannot be a recovery directory: {reason}"
        assert caught.value.lasting


def test_two_cannot_have_one_directory(tmp_path):
    """While one astray has the directory another is refused; afterwards it is free."""
    with open_recovery(tmp_path, CONFIG):
        handle = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(handle)
        with pytest.raises(RecoveryError) as caught:
            opened(tmp_path)

    opened(tmp_path)

    assert str(caught.value) == f"{tmp_path}: in use by another astray"
