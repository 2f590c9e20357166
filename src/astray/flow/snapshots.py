"""What the engine keeps in a recovery directory, read and written without the engine.

It keeps a snapshot of every step and key per epoch, and how far each run has come. A run goes
on at the first epoch that was not whole, from each key's newest snapshot before that one.
Older ones are removed once a later epoch has been committed; until then one can go back.

The engine pickles what it is given. Here only plain values come out of a pickle: nothing that
would have to be called, or even found, to be read.
"""

import io
import pickle
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from astray.errors import RecoveryError, StateError

_PROTOCOL = 4
_PLAIN = (bytes, str, int, float, bool, type(None))

_RESUME = """
SELECT MIN(MAX(resume_epoch, COALESCE(worker_frontier, resume_epoch))), COUNT(worker_index),
       MAX(worker_count), MAX(resume_epoch)
FROM exs LEFT JOIN fronts USING (ex_num) WHERE ex_num = (SELECT MAX(ex_num) FROM exs)
"""
_NEWEST_BEFORE = """
SELECT step_id, state_key, MAX(snap_epoch), ser_change FROM snaps WHERE snap_epoch < ?
GROUP BY step_id, state_key ORDER BY step_id, state_key
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a step at a key as it was when an epoch ended, as the engine has pickled it."""

    step: str
    key: str
    epoch: int
    pickled: bytes

    def value(self) -> Any:
        """Return the state; raises `StateError` where it is damaged or not plain."""
        return _unpickled(self.pickled)

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
                        yield Snapshot(step, key, at, pickled)


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
    """Have the engine, whose databases are in a directory and empty, go on at an epoch."""
    (part,) = directory.glob("part-*.sqlite3")
    with closing(sqlite3.connect(part)) as connection, connection:
        connection.execute("INSERT INTO exs VALUES (CURRENT_TIMESTAMP, 0, 1, ?)", (epoch,))
        connection.execute("INSERT INTO fronts VALUES (CURRENT_TIMESTAMP, 0, 0, ?)", (epoch,))
        connection.execute("INSERT INTO commits VALUES (CURRENT_TIMESTAMP, 0, ?)", (epoch - 1,))
        connection.executemany(
            "INSERT INTO snaps VALUES (CURRENT_TIMESTAMP, ?, ?, ?, ?)",
            ((each.step, each.key, each.epoch, each.pickled) for each in snapshots),
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
        try:
            with closing(sqlite3.connect(part)) as connection, connection:
                connection.execute("DELETE FROM snaps WHERE snap_epoch >= ?", (kept.epoch,))
        except sqlite3.Error as error:
            raise RecoveryError(f"{part}: cannot be used: {error}") from None


@contextmanager
def _open(part: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{part.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            yield opened
    except sqlite3.Error as error:
        raise RecoveryError(f"{part}: cannot be read: {error}") from None


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
