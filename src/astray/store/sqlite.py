"""All that is particular to SQLite: how a file is opened, and by whom.

A file is written by one astray at a time: it holds a lock on `FILE.lock` while it runs,
and the system lets go of the lock however the process ends. Reading needs no lock.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from astray.errors import StoreError

BUSY_TIMEOUT_S: Final = 10.0
_LOCK_BYTES_MAX: Final = 32


def memory_engine() -> Engine:
    """Return a store that lives in memory, on one connection that threads take turns with."""
    return _engine(lambda: _connect(":memory:"), StaticPool)


def writing_engine(path: Path) -> Engine:
    """Return an engine that reads and writes the file, which is created if need be.

    A commit returns when it is on the disk (`synchronous=FULL`): what was recorded
    survives a power cut. WAL lets others read while one writes.
    """

    def connect() -> sqlite3.Connection:
        connection = _connect(_uri(path, "mode=rwc"))
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
