"""All that is particular to SQLite: how a file is opened, and by whom. See `server.Server`.

A file is written by one astray at a time: it holds a lock on `FILE.lock` while it runs,
and the system lets go of the lock however the process ends. Reading needs no lock.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from astray.errors import StoreError
from astray.paths import looked_at
from astray.store.lead import Sole

BUSY_TIMEOUT_S: Final = 10.0
PAGES_MAX: Final = 256
"""Pages that are given back to the system in one transaction: a megabyte."""

_INCREMENTAL: Final = 2
_LOCK_BYTES_MAX: Final = 32


class SqliteServer:
    """A file that one process writes, or a store in memory."""

    is_shared = False

    def __init__(self, engine: Engine, name: str, lock: int | None = None) -> None:
        self._engine = engine
        self.name = name
        self._lock = lock
        self.is_single = name == ":memory:"

    @contextmanager
    def begin(self, *, writes: bool) -> Iterator[Connection]:
        """Return a transaction; see `_begin` for how a writing one differs."""
        connect = self._engine.execution_options(writes=writes).connect
        with connect() as connection, connection.begin():
            yield connection

    def check(self, connection: Connection) -> None:
        """Do nothing: a file of SQLite is like any other."""

    def take_turn(self, connection: Connection) -> None:
        """Do nothing: the transaction has begun as the only one that writes."""

    def unhurried(self, connection: Connection) -> None:
        """Do nothing: nobody else is here, and no statement is interrupted."""

    def passes(self, _: SQLAlchemyError) -> bool:
        """Return false: what may pass was waited for by SQLite itself."""
        return False

    def give_back(self, connection: Connection) -> bool:
        """Make the file shorter by some of its free pages, and return whether there are more.

        A file that an older version has created keeps them, and uses them again.
        """
        if connection.exec_driver_sql("PRAGMA auto_vacuum").scalar() != _INCREMENTAL:
            return False
        for _ in range(PAGES_MAX):  # a page a step, and the driver takes one step of a statement
            connection.exec_driver_sql("PRAGMA incremental_vacuum(1)")
        return bool(connection.exec_driver_sql("PRAGMA freelist_count").scalar())

    def lead(self, _: str) -> Sole:
        """Return the lead: the lock on the file has seen to it that nobody else is here."""
        return Sole()

    def close(self) -> None:
        """Close the connections and let another astray write the file."""
        self._engine.pool.dispose()  # and what is still in use returns to this pool
        descriptor, self._lock = self._lock, None
        if descriptor is not None:
            unlock(descriptor)


def open_sqlite(url: URL, *, read_only: bool, beside: bool = False) -> SqliteServer:
    """Return the file that a URL names, opened; without a name it is in memory.

    `beside` the one that has the lock, or nobody, it is written in short transactions only,
    which take turns with that one's; whoever does so must deliver nothing.

    Raises
    ------
    StoreError
        It is not there, cannot be written, or is in use.
    """
    if url.database in (None, "", ":memory:"):
        return SqliteServer(memory_engine(), ":memory:")
    path = Path(str(url.database))
    _check_place(path, read_only=read_only or beside)
    if read_only:
        return SqliteServer(reading_engine(path), str(path))
    if beside:
        return SqliteServer(writing_engine(path), str(path))
    return SqliteServer(writing_engine(path), str(path), lock(path))


def memory_engine() -> Engine:
    """Return a store that lives in memory, on one connection that threads take turns with."""
    return _engine(lambda: _connect(":memory:"), StaticPool)


def writing_engine(path: Path) -> Engine:
    """Return an engine that reads and writes the file, which is created if need be.

    A commit returns when it is on the disk (`synchronous=FULL`): what was recorded
    survives a power cut. WAL lets others read while one writes. A file that is created now
    can give room back.
    """

    def connect() -> sqlite3.Connection:
        connection = _connect(_uri(path, "mode=rwc"))
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # before anything is in it
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    return _engine(connect, QueuePool)


def reading_engine(path: Path) -> Engine:
    """Return an engine that only reads the file and leaves nothing behind beside it.

    SQLite would create its working files for a mere reader, owned by whoever reads, and
    the service could no longer write. So where they do not exist, because nobody has the
    file open, it is read as unchanging. Every read opens the file anew and sees what is
    true then.
    """
    wal = path.with_name(f"{path.name}-wal")

    def connect() -> sqlite3.Connection:
        return _connect(_uri(path, "mode=ro" if wal.exists() else "immutable=1"))

    return _engine(connect, NullPool)


def lock(path: Path) -> int:
    """Return the open descriptor that makes this process the one that writes the file.

    Raises
    ------
    StoreError
        Another astray has it, or the lock cannot be written.
    """
    lock_path = path.with_name(f"{path.name}.lock")
    try:
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"the case store {path} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, _LOCK_BYTES_MAX).decode(errors="replace").strip()
        os.close(descriptor)
        raise StoreError(
            f"the case store {path} is in use by another astray (process {holder or 'unknown'})"
        ) from error
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def unlock(descriptor: int) -> None:
    """Let another astray have the file. The lock file stays: removing it would race."""
    os.close(descriptor)


def _check_place(path: Path, *, read_only: bool) -> None:
    if not path.parent.is_dir():
        raise StoreError(
            f"the case store {path} has no directory to be in: {path.parent}{looked_at(path)}",
            lasting=True,
        )
    if path.is_dir():
        raise StoreError(f"the case store {path} is a directory", lasting=True)
    if read_only and not path.exists():
        raise StoreError(f"there is no case store {path}{looked_at(path)}", lasting=True)


def _uri(path: Path, options: str) -> str:
    return f"file:{quote(str(path.absolute()))}?{options}"


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,  # transactions begin where `_begin` says, not where sqlite3 guesses
        check_same_thread=False,  # the pool hands a connection to one thread at a time
        uri=uri != ":memory:",
    )
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _engine(connect: Callable[[], sqlite3.Connection], pool: type[Any]) -> Engine:
    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=pool,
        hide_parameters=True,  # an error must not print what a case holds
    )
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    # A writer asks for the write lock at once: one that has read first and then finds the
    # file changed could only give up.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
