"""What the engine keeps in a recovery directory, read and written without the engine.

It keeps a snapshot of every step and key per epoch, and how far each run has come. A run goes
on at the first epoch that was not whole, from each key's newest snapshot before that one.
Older ones are removed once a later epoch has been committed; until then one can go back.

The engine pickles what it is given. Here only plain values come out of a pickle: nothing that
would have to be called, or even found, to be read. Of a large state it has a name only
(`statefiles`); here such a state is read where it lies.
"""

import io
import pickle
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from astray.errors import RecoveryError, StateError
from astray.flow.statefiles import Reference, is_reference, read_state, remove_unused

_PROTOCOL = 4
_PLAIN = (bytes, str, int, float, bool, type(None))
_REFERENCE_BYTES = 1 << 10
"""What stands for a state in a file is pickled in fewer."""

_RESUME = """
SELECT MIN(MAX(resume_epoch, COALESCE(worker_frontier, resume_epoch))), COUNT(worker_index),
       MAX(worker_count), MAX(resume_epoch)
FROM exs LEFT JOIN fronts USING (ex_num) WHERE ex_num = (SELECT MAX(ex_num) FROM exs)
"""
_NEWEST_BEFORE = """
SELECT step_id, state_key, MAX(snap_epoch), ser_change FROM snaps WHERE snap_epoch < ?
GROUP BY step_id, state_key ORDER BY step_id, state_key
"""
_SHORT = "SELECT ser_change FROM snaps WHERE LENGTH(ser_change) <= ?"
_TAKE_IN = "UPDATE snaps SET ser_change = ? WHERE step_id = ? AND state_key = ? AND snap_epoch = ?"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a step at a key as it was when an epoch ended, as the engine has pickled it.

    What lies in a file lies in `directory`.
    """

    step: str
    key: str
    epoch: int
    pickled: bytes
    directory: Path = field(default=Path(), compare=False)

    def value(self) -> Any:
        """Return the state; raises `StateError` where it is damaged, not there or not plain."""
        kept = _unpickled(self.pickled)
        return read_state(self.directory, kept) if is_reference(kept) else kept

    @property
    def size_bytes(self) -> int:
        """The size of the state, wherever it lies."""
        kept = _reference(self.pickled)
        return len(self.pickled) if kept is None else kept[2]

    @classmethod
    def of(cls, step: str, key: str, epoch: int, value: Any) -> "Snapshot":
        """Return the snapshot of a plain state."""
        return cls(step, key, epoch, pickle.dumps(value, _PROTOCOL))


@dataclass(frozen=True, slots=True)
class Kept:
    """How far the engine has come with what is in a directory.

    `epoch` is where a run goes on; 0: nothing has been kept yet. One can go back to all that
    is in `epochs`.
    """

    parts: Sequence[Path]
    epoch: int
    epochs: tuple[int, ...]

    def snapshots(self, epoch: int) -> Iterator[Snapshot]:
        """Return what a run that goes on at an epoch begins with, in order of step and key."""
        for part in self.parts:
            with _open(part) as connection:
                for step, key, at, pickled in connection.execute(_NEWEST_BEFORE, (epoch,)):
                    if pickled is not None:
                        yield Snapshot(step, key, at, pickled, part.parent)


def read_kept(directory: Path) -> Kept:
    """Return what the engine keeps in a directory.

    Raises
    ------
    RecoveryError
        There is no database of the engine's, or it is damaged.
    """
    parts = sorted(directory.glob("part-*.sqlite3"))
    if not parts:
        raise RecoveryError(f"{directory}: there is no database of the engine's in it")
    resume_epochs, committed = [], 0
    for part in parts:
        with _open(part) as connection:
            resume_epochs.extend(_resume_epoch(connection))
            found = connection.execute("SELECT MAX(commit_epoch) FROM commits").fetchone()
            committed = max(committed, found[0] or 0)
    epoch = min(resume_epochs, default=0)
    return Kept(parts, epoch, tuple(range(committed + 1, epoch + 1)))


def _resume_epoch(connection: sqlite3.Connection) -> list[int]:
    """Return where the last run of a database was to go on; a worker that said nothing counts."""
    frontier, told, workers, begun = connection.execute(_RESUME).fetchone()
    if frontier is None:
        return []
    return [frontier if told >= workers else begun]


def write_kept(directory: Path, epoch: int, snapshots: Iterable[Snapshot]) -> None:
    """Have the engine, whose databases are in a directory and empty, go on at an epoch.

    It gets all of every state: where the directory is going to be, files may not be seen.
    """
    (part,) = directory.glob("part-*.sqlite3")
    with closing(sqlite3.connect(part)) as connection, connection:
        connection.execute("INSERT INTO exs VALUES (CURRENT_TIMESTAMP, 0, 1, ?)", (epoch,))
        connection.execute("INSERT INTO fronts VALUES (CURRENT_TIMESTAMP, 0, 0, ?)", (epoch,))
        connection.execute("INSERT INTO commits VALUES (CURRENT_TIMESTAMP, 0, ?)", (epoch - 1,))
        connection.executemany(
            "INSERT INTO snaps VALUES (CURRENT_TIMESTAMP, ?, ?, ?, ?)",
            ((each.step, each.key, each.epoch, _whole(each)) for each in snapshots),
        )


def forget_unreached(directory: Path) -> None:
    """Remove the snapshots of epochs that the run before was killed in.

    The engine goes on before those epochs and counts through them again. It leaves what the
    killed run had already written there, and from then on takes it for newer than the state
    of a step that has nothing to do meanwhile: that one would get ahead of all others.

    Raises
    ------
    RecoveryError
        The engine's database is damaged.
    """
    kept = read_kept(directory)
    for part in kept.parts:
        with _changing(part) as connection:
            connection.execute("DELETE FROM snaps WHERE snap_epoch >= ?", (kept.epoch,))


def forget_unnamed(directory: Path) -> None:
    """Remove the files of states that the engine could not ask for any more.

    Raises
    ------
    RecoveryError
        The engine's database is damaged.
    """
    named: set[str] = set()
    for part in read_kept(directory).parts:
        with _changing(part) as connection:
            rows = connection.execute(_SHORT, (_REFERENCE_BYTES,))
            named.update(kept[1] for (row,) in rows if (kept := _reference(row)) is not None)
    remove_unused(directory, named)


def take_in_files(directory: Path) -> None:
    """Have the engine itself keep what lies in files: not all of its processes will see them.

    Raises
    ------
    RecoveryError
        The engine's database or a file is damaged, or a file is not there.
    """
    kept = read_kept(directory)
    named = [one for one in kept.snapshots(kept.epoch) if _reference(one.pickled) is not None]
    for part in kept.parts:
        with _changing(part) as connection:
            for each in named:
                try:
                    taken_in = _whole(each)
                except StateError as error:
                    raise RecoveryError(f"{directory}: {each.key}: {error}") from None
                connection.execute(_TAKE_IN, (taken_in, each.step, each.key, each.epoch))


def _whole(snapshot: Snapshot) -> bytes:
    """Return a snapshot's pickle with all of the state in it."""
    if _reference(snapshot.pickled) is None:
        return snapshot.pickled
    return pickle.dumps(snapshot.value(), _PROTOCOL)


def _reference(pickled: bytes) -> Reference | None:
    """Return what stands for a state in a file, where that is what a pickle has in it."""
    if len(pickled) > _REFERENCE_BYTES:
        return None
    try:
        kept = _unpickled(pickled)
    except StateError:  # whoever asks for the state is told
        return None
    return kept if is_reference(kept) else None


@contextmanager
def _open(part: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{part.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            yield opened
    except sqlite3.Error as error:
        raise RecoveryError(f"{part}: cannot be read: {error}") from None


@contextmanager
def _changing(part: Path) -> Iterator[sqlite3.Connection]:
    """Change a database nobody else has open; all of it or nothing, and nothing beside it stays."""
    try:
        with closing(sqlite3.connect(part)) as connection, connection:
            yield connection
    except sqlite3.Error as error:
        raise RecoveryError(f"{part}: cannot be used: {error}") from None


class _Plain(pickle.Unpickler):
    """Reads a pickle that names nothing: no class, no function, nothing kept elsewhere."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse what would have to be imported."""
        raise StateError(f"the state is not plain: it asks for {module}.{name}")

    def persistent_load(self, _: object) -> NoReturn:
        """Refuse what lies elsewhere."""
        raise StateError("the state is not plain: a part of it lies elsewhere")


_BROKEN = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
    OverflowError, MemoryError, RecursionError,
)  # fmt: skip
"""What reading a damaged pickle can come to."""


def _unpickled(data: bytes) -> Any:
    try:
        value = _Plain(io.BytesIO(data)).load()
        _check_plain(value)
    except _BROKEN as error:
        raise StateError(f"the state is damaged: {error}") from None
    return value


def _check_plain(value: Any) -> None:
    if isinstance(value, dict):
        _check_plain([*value, *value.values()])
    elif isinstance(value, list | tuple):
        for each in value:
            _check_plain(each)
    elif not isinstance(value, _PLAIN):
        raise StateError(f"the state is not plain: it has a {type(value).__name__} in it")
