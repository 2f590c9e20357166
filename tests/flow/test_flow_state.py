"""What is kept of a run, read without the engine: plain values, whole epochs, sentences."""

import contextlib
import fcntl
import os
import pickle
import sqlite3
import sys
from collections import OrderedDict
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.baseline.settings import shard_settings
from astray.baseline.shard import Shard
from astray.blob import OLDEST_VERSION, SCHEMA_VERSION
from astray.config import load_config
from astray.decide.decider import Decider
from astray.decide.limits import lowest_limits
from astray.errors import RecoveryError, StateError
from astray.flow.recovery import open_recovery
from astray.flow.snapshots import Snapshot, read_kept, write_kept
from astray.flow.state import export_state, import_state, inspect_state, naming_damage

CONFIG = load_config()
SHARD = Shard(0, shard_settings(CONFIG, lowest_limits(CONFIG)), ["s"]).dump()
DECIDER = Decider(CONFIG).dump()
PLACES = {"events.jsonl": ("", 1 << 40, 7), "a/b": ("b-1.jsonl", 0, (1 << 32) - 1)}
SNAPSHOTS = [
    Snapshot.of("astray.assess", "shard-000", 5, SHARD),
    Snapshot.of("astray.decide", "tenants-000", 3, DECIDER),
    Snapshot.of("astray.read", "reader-00", 5, PLACES),
    Snapshot.of("astray.record", "record", 2, None),
    Snapshot.of("astray.reject", "reject", 5, 123),
]

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()
)
plain = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(st.text(), inner)
    ),
    max_leaves=20,
)


def kept_in(directory, snapshots=SNAPSHOTS, epoch=6):
    """Return a recovery directory that holds snapshots and goes on at an epoch."""
    with open_recovery(directory, CONFIG):
        write_kept(directory, epoch, snapshots)
    return directory


def changed(directory, statement, *values):
    """Change the engine's database in a directory."""
    with sqlite3.connect(directory / "part-0.sqlite3") as connection:
        connection.execute(statement, values)
    connection.close()


def refusal(function, *arguments):
    """Return the sentence with which something is refused."""
    with pytest.raises(RecoveryError) as caught:
        function(*arguments)
    return str(caught.value)


class Calls:
    """Something that a pickle would call a function for."""

    def __reduce__(self):
        return os.mkdir, ("called",)


class Elsewhere(pickle.Pickler):
    """Pickles everything as lying elsewhere."""

    def persistent_id(self, obj):
        """Return a name of it."""
        return "elsewhere"


def elsewhere(path):
    """Return a pickle of something that lies elsewhere."""
    with path.open("wb") as file:
        Elsewhere(file, 4).dump({})
    return path.read_bytes()


def test_what_a_killed_run_had_begun_is_forgotten(tmp_path):
    """Snapshots of epochs that were not whole are gone before the engine counts up to them again."""
    directory = kept_in(tmp_path)
    begun = [Snapshot.of("astray.assess", "shard-000", epoch, b"ahead") for epoch in (6, 7)]
    for each in begun:
        row = (each.step, each.key, each.epoch, each.pickled)
        changed(directory, "INSERT INTO snaps VALUES (CURRENT_TIMESTAMP, ?, ?, ?, ?)", *row)
    before = list(read_kept(directory).snapshots(99))

    with open_recovery(directory, CONFIG):
        after = list(read_kept(directory).snapshots(99))

    assert before == [begun[-1], *SNAPSHOTS[1:]]
    assert after == SNAPSHOTS


@given(plain)
def test_plain_values_come_back_as_they_are(value):
    """Bytes, text, numbers, and what is made of them."""
    assert Snapshot.of("step", "key", 1, value).value() == value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param(Calls(), "it asks for posix.mkdir", id="a call"),
        pytest.param(OrderedDict(a=1), "it asks for collections.OrderedDict", id="a class"),
        pytest.param(Path, "it asks for pathlib.Path", id="a name"),
        pytest.param(bytearray(b"a"), "it asks for builtins.bytearray", id="bytes that change"),
        pytest.param({"a": [({1},)]}, "it has a set in it", id="a set deep inside"),
        pytest.param({frozenset(): 1}, "it has a frozenset in it", id="a frozen set as a key"),
    ],
)
def test_a_pickle_of_anything_else_is_refused(value, said, tmp_path):
    """What would have to be imported or called is neither, and it is said what it asked for."""
    snapshot = Snapshot.of("step", "key", 1, value)

    with contextlib.chdir(tmp_path), pytest.raises(StateError) as caught:
        snapshot.value()

    assert str(caught.value) == f"the state is not plain: {said}"
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_of_what_lies_elsewhere_is_refused(tmp_path):
    """A persistent name is not followed."""
    snapshot = Snapshot("step", "key", 1, elsewhere(tmp_path / "pickle"))

    with pytest.raises(StateError, match="a part of it lies elsewhere"):
        snapshot.value()


@given(st.binary(max_size=40), st.integers(0, 60))
def test_damaged_pickles_are_said_to_be_damaged(garbage, place):
    """Whatever the bytes are, they are a value or astray's own error."""
    good = pickle.dumps(PLACES, 4)
    for data in (garbage, good[:place] + garbage, good[:place] + garbage + good[place:]):
        with contextlib.suppress(StateError):
            Snapshot("step", "key", 1, data).value()


def test_what_holds_itself_is_refused():
    """A list in itself has no end."""
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(StateError, match="the state is damaged"):
        Snapshot.of("step", "key", 1, endless).value()


def test_an_export_and_its_import_keep_everything(tmp_path):
    """Every state, place, epoch and note is in the new directory as it was in the old."""
    directory = kept_in(tmp_path / "old")
    (directory / "begun.json").write_bytes(b'{"after_us":12}')

    exported = export_state(directory, tmp_path / "file")
    imported = import_state(tmp_path / "file", tmp_path / "deep" / "new")

    assert exported == imported
    assert (exported.epoch, exported.states) == (6, len(SNAPSHOTS))
    old, new = read_kept(directory), read_kept(tmp_path / "deep" / "new")
    assert list(new.snapshots(6)) == list(old.snapshots(6)) == SNAPSHOTS
    assert (new.epoch, new.epochs) == (6, (6,))
    for name in ("astray.json", "begun.json"):
        assert (tmp_path / "deep" / "new" / name).read_bytes() == (directory / name).read_bytes()
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "deep" / "new").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["new"]


def test_only_the_newest_state_before_an_epoch_is_exported(tmp_path):
    """A snapshot of the epoch that was not whole is not a state to go on with."""
    newer = [Snapshot.of("astray.reject", "reject", epoch, epoch) for epoch in (6, 7)]
    directory = kept_in(tmp_path / "old", [*SNAPSHOTS, *newer])

    export_state(directory, tmp_path / "file")
    import_state(tmp_path / "file", tmp_path / "new")

    assert list(read_kept(tmp_path / "new").snapshots(99)) == SNAPSHOTS


def test_one_can_go_back_to_what_was_not_removed_yet(tmp_path):
    """An earlier epoch is exported with the states it went on with."""
    directory = kept_in(
        tmp_path / "old", [Snapshot.of("astray.reject", "reject", epoch, epoch) for epoch in (3, 4)]
    )
    changed(directory, "UPDATE commits SET commit_epoch = 3")

    exported = export_state(directory, tmp_path / "file", 4)
    import_state(tmp_path / "file", tmp_path / "new")

    assert inspect_state(directory).epochs == (4, 5, 6)
    assert exported.epoch == read_kept(tmp_path / "new").epoch == 4
    assert [each.value() for each in read_kept(tmp_path / "new").snapshots(4)] == [3]
    said = refusal(export_state, directory, tmp_path / "other", 3)
    assert said == f"{directory}: one can go back to epoch 4, 5, 6, not to 3"


@pytest.mark.parametrize(
    ("runs", "fronts", "epoch"),
    [
        pytest.param([(0, 1, 1)], [(0, 0, 4)], 4, id="one run"),
        pytest.param([(0, 1, 1)], [], 1, id="one that came to nothing"),
        pytest.param([(0, 1, 1), (1, 1, 4)], [(0, 0, 4), (1, 0, 9)], 9, id="the last run counts"),
        pytest.param([(0, 1, 1), (1, 1, 4)], [(0, 0, 4)], 4, id="the last came to nothing"),
        pytest.param([(0, 2, 1)], [(0, 0, 8), (0, 1, 7)], 7, id="the slowest worker counts"),
        pytest.param([(0, 2, 5)], [(0, 0, 8)], 5, id="a worker came to nothing"),
        pytest.param([], [], 0, id="no run"),
    ],
)
def test_where_a_run_goes_on(runs, fronts, epoch, tmp_path):
    """As the engine reckons: at the first epoch that not every worker of the last run ended."""
    directory = kept_in(tmp_path, [])
    for table in ("exs", "fronts", "commits"):
        changed(directory, f"DELETE FROM {table}")  # noqa: S608 - our own names
    for row in runs:
        changed(directory, "INSERT INTO exs VALUES ('', ?, ?, ?)", *row)
    for row in fronts:
        changed(directory, "INSERT INTO fronts VALUES ('', ?, ?, ?)", *row)

    assert read_kept(directory).epoch == epoch


def test_what_is_in_a_directory_is_told(tmp_path):
    """States with their sizes and what they hold, and the places of the sources."""
    found = inspect_state(kept_in(tmp_path))

    told = {state.key: (state.step, state.epoch, state.holds) for state in found.states}
    assert told["shard-000"] == ("assess", 5, {"agents": 0, "open_sessions": 0, "window": ""})
    assert told["tenants-000"] == (
        "decide",
        3,
        {"tenants": 0, "reference_sessions": 0, "window": ""},
    )
    assert {state.key: state.size for state in found.states} == {
        snapshot.key: len(snapshot.pickled) for snapshot in SNAPSHOTS
    }
    assert (found.sources, found.after_us, found.damaged) == (PLACES, None, ())


@pytest.mark.parametrize(
    ("state", "why"),
    [
        pytest.param(pickle.dumps(SHARD[:-1] + b"?"), "the shard state is damaged: its checksum does not match", id="checksum"),
        pytest.param(pickle.dumps(DECIDER), "expected shard state, found decider state", id="another kind"),
        pytest.param(pickle.dumps("text"), "the state is damaged: it is not bytes", id="no bytes"),
        pytest.param(pickle.dumps(Calls()), "the state is not plain: it asks for posix.mkdir", id="a call"),
    ],
)  # fmt: skip
def test_a_damaged_state_is_named(state, why, tmp_path):
    """Which snapshot of which epoch it is, and what can be done; the others are looked at too."""
    directory = kept_in(tmp_path / "old")
    changed(directory, "UPDATE snaps SET ser_change = ? WHERE state_key = 'shard-000'", state)
    named = f"{directory}: the snapshot of shard-000 (assess, epoch 5) cannot be used: {why}"

    found = inspect_state(directory)

    assert [(state.key, state.damage) for state in found.damaged] == [("shard-000", why)]
    assert len(found.states) == len(SNAPSHOTS)
    said = refusal(export_state, directory, tmp_path / "file")
    assert said.startswith(f"{named}. Keep a copy of the directory; `astray state inspect")
    assert not (tmp_path / "file").exists()
    with pytest.raises(RecoveryError) as caught, naming_damage(directory):
        raise StateError("in the engine")
    assert str(caught.value) == said


def test_an_error_that_is_not_the_directorys_stays_what_it_is(tmp_path):
    """Where nothing in the directory is damaged, or there is none, nothing is blamed on it."""
    for directory in (None, kept_in(tmp_path)):
        with pytest.raises(StateError, match="of something else"), naming_damage(directory):
            raise StateError("of something else")


def test_what_is_no_recovery_directory_is_refused(tmp_path):
    """Missing, a file, empty, of somebody else, or without a database or an epoch."""
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with open_recovery(tmp_path / "new", CONFIG):
        pass
    with open_recovery(tmp_path / "without", CONFIG):
        (tmp_path / "without" / "part-0.sqlite3").unlink()
    with open_recovery(tmp_path / "text", CONFIG):
        (tmp_path / "text" / "part-0.sqlite3").write_bytes(b"no database at all" * 100)

    said = {
        "nowhere": "cannot be read: No such file or directory",
        "file": "cannot be read: Not a directory",
        "empty": "no recovery directory of astray's",
        "new": "no epoch has come to its end yet",
        "without": "there is no database of the engine's in it",
    }
    for name, reason in said.items():
        directory = tmp_path / name
        assert refusal(export_state, directory, tmp_path / "x") == f"{directory}: {reason}"
    part = tmp_path / "text" / "part-0.sqlite3"
    assert refusal(inspect_state, part.parent) == f"{part}: cannot be read: file is not a database"


def test_a_directory_in_use_is_refused(tmp_path):
    """Neither looked into nor exported while an astray has it, and free afterwards."""
    directory = kept_in(tmp_path / "old")
    handle = os.open(directory, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)

    for function, more in ((inspect_state, ()), (export_state, (tmp_path / "file",))):
        assert refusal(function, directory, *more) == f"{directory}: in use by another astray"
    os.close(handle)
    assert inspect_state(directory).epoch == 6


def test_nothing_is_written_over(tmp_path):
    """Neither a file that is there nor a directory that has something in it."""
    directory = kept_in(tmp_path / "old")
    export_state(directory, tmp_path / "file")

    assert refusal(export_state, directory, tmp_path / "file") == (
        f"{tmp_path / 'file'}: is there already"
    )
    for taken in (directory, tmp_path / "file"):
        assert refusal(import_state, tmp_path / "file", taken) == (
            f"{taken}: is there already, and not empty"
        )
    (tmp_path / "empty").mkdir()
    assert import_state(tmp_path / "file", tmp_path / "empty").epoch == 6


def test_a_damaged_file_is_refused(tmp_path):
    """A bit of it, its end, another kind, another version, or no file: and nothing is made."""
    export_state(kept_in(tmp_path / "old"), tmp_path / "file")
    data = (tmp_path / "file").read_bytes()
    body = 20  # after the frame: magic, version, checksum, size of the header
    read = f"{OLDEST_VERSION} to {SCHEMA_VERSION}"
    versioned = data[:8] + (SCHEMA_VERSION + 1).to_bytes(4, sys.byteorder) + data[12:]
    cases = {
        data[:body] + b"?" + data[body + 1 :]: "is damaged: its checksum does not match",
        data[:-1]: "is damaged: its checksum does not match",
        b"text": "is not astray's: it does not begin as it should",
        SHARD: "expected recovery state, found shard state",
        versioned: f"has schema version {SCHEMA_VERSION + 1}; this astray reads {read}",
    }

    for content, reason in cases.items():
        (tmp_path / "bad").write_bytes(content)
        said = refusal(import_state, tmp_path / "bad", tmp_path / "new")
        assert said.startswith(f"{tmp_path / 'bad'}: cannot be imported: ")
        assert said.endswith(reason)
        assert not (tmp_path / "new").exists()
    said = refusal(import_state, tmp_path / "nowhere", tmp_path / "new")
    assert said == f"{tmp_path / 'nowhere'}: cannot be imported: No such file or directory"


@pytest.mark.parametrize("name", ["schema_version", "tenant_keys", "steps"])
def test_the_state_of_another_astray_is_refused(name, tmp_path):
    """What no configuration of this one could go on with; shards are the configuration's."""
    directory = kept_in(tmp_path / "old")
    mark = directory / "astray.json"
    mark.write_bytes(orjson.dumps({**orjson.loads(mark.read_bytes()), name: 99, "shards": 2}))
    export_state(directory, tmp_path / "file")

    said = refusal(import_state, tmp_path / "file", tmp_path / "new")

    start = f"{tmp_path / 'file'}: holds the state of another configuration: {name} is 99 there"
    assert said.startswith(start)
    assert "shards" not in said
