"""Large states in files: on the disk before they are named, and there as long as they are."""

import pickle
import sqlite3
from contextlib import closing

import pytest

from astray.config import load_config
from astray.errors import RecoveryError, StateError
from astray.flow.cluster import Cluster
from astray.flow.recovery import open_recovery
from astray.flow.snapshots import Snapshot, read_kept, write_kept
from astray.flow.statefiles import FOLDER, Shelf, StateFiles, is_reference, read_state

CONFIG = load_config()
SMALL, LARGE = b"s" * 99, b"l" * 100
STEP = "assess"


def shelf(directory) -> Shelf:
    """Return a shelf for states of a hundred bytes and more."""
    return Shelf(StateFiles(directory, least_bytes=100), STEP)


def names(directory) -> set[str]:
    """Return the names of the files of states."""
    return {path.name for path in (directory / FOLDER).iterdir()}


def kept_in(directory, *snapshots: Snapshot, epoch: int = 6):
    """Have the engine keep snapshots, of files by their names, and go on at an epoch."""
    write_kept(directory, epoch, [])
    with closing(sqlite3.connect(directory / "part-0.sqlite3")) as connection, connection:
        connection.executemany(
            "INSERT INTO snaps VALUES (CURRENT_TIMESTAMP, ?, ?, ?, ?)",
            [(each.step, each.key, each.epoch, each.pickled) for each in snapshots],
        )


def recovery_in(directory):
    """Return a new recovery directory."""
    with open_recovery(directory, CONFIG):
        return directory


def pickled(directory) -> dict[str, bytes]:
    """Return what the engine has pickled, by key."""
    with closing(sqlite3.connect(directory / "part-0.sqlite3")) as connection:
        return dict(connection.execute("SELECT state_key, ser_change FROM snaps"))


def test_what_is_put_is_taken(tmp_path):
    """A large state by its name, a small one as it is; another shelf can take it too."""
    large, small = shelf(tmp_path).put(LARGE), shelf(tmp_path).put(SMALL)

    assert small == SMALL
    assert is_reference(large)
    assert len(pickle.dumps(large)) < 200
    assert shelf(tmp_path).take(large) == LARGE
    assert shelf(tmp_path).take(small) == SMALL


def test_without_files_the_engine_keeps_all(tmp_path):
    """What a process has no files for goes through the engine, and a file is not looked for."""
    kept = shelf(tmp_path).put(LARGE)

    assert Shelf(None, STEP).put(LARGE) == LARGE
    with pytest.raises(StateError, match=f"{kept[1]}, which this process has not got"):
        Shelf(None, STEP).take(kept)


def test_the_newest_are_left(tmp_path):
    """The one that was taken counts; nobody else's are touched."""
    other = shelf(tmp_path).put(LARGE)
    kept = [shelf(tmp_path).put(LARGE)]
    one = shelf(tmp_path)
    one.take(kept[0])
    kept += [one.put(LARGE + bytes([count])) for count in range(5)]

    assert names(tmp_path) == {each[1] for each in [other, *kept[-3:]]}
    assert read_state(tmp_path, kept[-1]) == LARGE + bytes([4])


def test_files_are_for_their_owner_only(tmp_path):
    """As the engine's database is: baselines say who does what."""
    path = tmp_path / FOLDER / shelf(tmp_path).put(LARGE)[1]

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path):
    """The error names the file."""
    (tmp_path / FOLDER).touch()

    with pytest.raises(RecoveryError, match=rf"{tmp_path}/{FOLDER}/assess-.*: cannot be written"):
        shelf(tmp_path).put(LARGE)


def test_a_full_disk_leaves_no_half_of_a_file(tmp_path):
    """What could be written of a state is removed."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, before[1]))
    try:
        with pytest.raises(RecoveryError, match="cannot be written: File too large"):
            shelf(tmp_path).put(LARGE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (
            ("file", "gone.state", 5, b"e"),
            "states/gone.state, in which the state is, cannot be read",
        ),
        (("file", "there.state", 5, b""), "is damaged: states/there.state has 4 bytes, not 5"),
        (("file", "there.state", 4, b"five"), "is damaged: in states/there.state is another state"),
        (("file", "../there.state", 4, b""), "the state is damaged: '../there.state' is no name"),
        (("file", "nul\0", 4, b""), "no name of a file"),
        (("file", "there.state", 4), "the state is damaged: it is not bytes"),
        ("text", "the state is damaged: it is not bytes"),
    ],
)
def test_what_is_not_there_is_said(kept, said, tmp_path):
    """Gone, cut, elsewhere, or no state at all."""
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "there.state").write_bytes(b"four")

    with pytest.raises(StateError) as caught:
        shelf(tmp_path).take(kept)

    assert said in str(caught.value)


def test_what_the_engine_does_not_name_is_removed_when_a_run_begins(tmp_path):
    """Of a killed run's files those remain that the engine goes on from; what else is there, too."""
    directory = recovery_in(tmp_path / "recovery")
    used, unused = shelf(directory).put(LARGE), shelf(directory).put(LARGE)
    (directory / FOLDER / "notes.txt").touch()
    unwhole = shelf(directory).put(LARGE)
    kept = [
        Snapshot.of("astray.assess", "a", 5, used),
        Snapshot.of("astray.assess", "b", 6, unwhole),
    ]
    kept_in(directory, *kept)

    with open_recovery(directory, CONFIG):
        found = {one.key: one.value() for one in read_kept(directory).snapshots(99)}

    assert found == {"a": LARGE}
    assert names(directory) == {used[1], "notes.txt"} != {used[1], unused[1]}


def test_processes_elsewhere_get_all_through_the_engine(tmp_path):
    """A cluster that may see no files goes on from a directory with files, and leaves none."""
    directory = recovery_in(tmp_path / "recovery")
    files = [shelf(directory).put(LARGE + bytes([count])) for count in range(2)]
    kept = [Snapshot.of("astray.assess", f"key-{place}", 5, one) for place, one in enumerate(files)]
    kept_in(directory, *kept, Snapshot.of("astray.decide", "small", 4, SMALL))

    with open_recovery(directory, CONFIG, Cluster(("a:1", "b:1"), 0)) as opened:
        told = pickled(directory)

    assert opened.files is None
    assert told == {
        "key-0": pickle.dumps(LARGE + b"\0", 4),
        "key-1": pickle.dumps(LARGE + b"\1", 4),
        "small": pickle.dumps(SMALL, 4),
    }
    assert names(directory) == set()


def test_a_file_that_is_gone_is_named_to_processes_elsewhere(tmp_path):
    """Nothing is begun without it, and nothing else is changed."""
    directory = recovery_in(tmp_path / "recovery")
    kept_in(directory, Snapshot.of("astray.assess", "key-0", 5, ("file", "gone.state", 7, b"gone")))
    before = pickled(directory)

    with (
        pytest.raises(RecoveryError, match=rf"^{directory}: key-0: {FOLDER}/gone.state, in which"),
        open_recovery(directory, CONFIG, Cluster(("a:1", "b:1"), 0)),
    ):
        raise AssertionError("opened")

    assert pickled(directory) == before


@pytest.mark.parametrize(
    ("cluster", "has_files"),
    [
        (None, True),
        (Cluster(("127.0.0.1:1", "127.0.0.1:2"), 0, is_local=True), True),
        (Cluster(("127.0.0.1:1", "127.0.0.1:2"), 1, is_local=True), True),
        (Cluster(("127.0.0.1:1", "127.0.0.1:2"), 1), False),
    ],
)
def test_who_has_files(cluster, has_files, tmp_path):
    """One process, and those of one machine; all of them the same."""
    with open_recovery(tmp_path / "recovery", CONFIG, cluster) as opened:
        files = opened.files

    assert (files is not None) == has_files
    assert files is None or files.directory == tmp_path / "recovery"


def test_the_state_in_a_file_is_named_with_its_size(tmp_path):
    """As large as it is, wherever it lies."""
    kept = shelf(tmp_path).put(LARGE)
    pickled = Snapshot.of("astray.assess", "a", 1, kept).pickled
    snapshot = Snapshot("astray.assess", "a", 1, pickled, tmp_path)

    assert snapshot.size_bytes == len(LARGE)
    assert snapshot.value() == LARGE
    (tmp_path / FOLDER / kept[1]).unlink()
    with pytest.raises(StateError, match="cannot be read: No such file"):
        snapshot.value()
