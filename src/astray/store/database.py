"""A database that is known to hold this version's tables, and its transactions."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine, insert, inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from astray.errors import StoreError
from astray.store import sqlite
from astray.store.schema import SCHEMA_VERSION, VERSION_KEY, meta, metadata


class Database:
    """Transactions on one database; every failure is a `StoreError` that names the database.

    Threads of this process take turns at writing: a queue in memory hands over at once,
    where SQLite's own would sleep and look again.
    """

    def __init__(self, engine: Engine, name: str, lock: int | None = None) -> None:
        self._engine = engine
        self._name = name
        self._lock = lock
        self._closed = False
        self._write_turn = threading.Lock()
        # In memory there is one connection for all, so readers take turns as well.
        self._shared = name == ":memory:"

    @classmethod
    def open(cls, url: str, *, read_only: bool) -> Self:
        """Open the database and check that it is ours, creating the tables in a new one."""
        path = _path_of(url)
        if path is None:
            database = cls(sqlite.memory_engine(), ":memory:")
            database._create_or_check()
            return database
        _check_place(path, read_only=read_only)
        if read_only:
            database = cls(sqlite.reading_engine(path), str(path))
        else:
            database = cls(sqlite.writing_engine(path), str(path), sqlite.lock(path))
        try:
            database._check() if read_only else database._create_or_check()
        except StoreError:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Close the connections and let another astray write the file; twice does no harm."""
        self._closed = True
        self._engine.dispose()
        lock, self._lock = self._lock, None
        if lock is not None:
            sqlite.unlock(lock)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Return a transaction that writes: all of it is kept, or none."""
        with self._write_turn, self._begin(writes=True) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Return a transaction that reads one state of the database."""
        if self._shared:
            with self._write_turn, self._begin(writes=False) as connection:
                yield connection
            return
        with self._begin(writes=False) as connection:
            yield connection

    @contextmanager
    def _begin(self, *, writes: bool) -> Iterator[Connection]:
        if self._closed:  # else the engine would connect anew, without the lock
            raise StoreError(f"the case store {self._name} is closed")
        connect = self._engine.execution_options(writes=writes).connect
        try:
            with connect() as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(f"the case store {self._name} {_reason(error)}") from error

    def _create_or_check(self) -> None:
        with self.write() as connection:
            if inspect(connection).get_table_names():
                self._check_version(connection)
                return
            metadata.create_all(connection, checkfirst=False)
            connection.execute(insert(meta).values(key=VERSION_KEY, value=str(SCHEMA_VERSION)))

    def _check(self) -> None:
        with self.read() as connection:
            self._check_version(connection)

    def _check_version(self, connection: Connection) -> None:
        if not inspect(connection).has_table(meta.name):
            raise StoreError(f"{self._name} is a database, but not a case store of astray")
        version = connection.scalar(select(meta.c.value).where(meta.c.key == VERSION_KEY))
        if version != str(SCHEMA_VERSION):
            raise StoreError(
                f"the case store {self._name} has schema version {version or 'unknown'}; "
                f"this astray reads version {SCHEMA_VERSION} only"
            )


def _path_of(url: str) -> Path | None:
    """Return the file a URL names; None: memory."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The text may hold a password, and without its parts being known it cannot be masked.
        raise StoreError("the case store's address is not a URL like sqlite:///FILE") from error
    if parsed.get_backend_name() != "sqlite":
        raise StoreError(f"the case store {_masked(parsed)} is not SQLite: use sqlite:///FILE")
    if parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def _masked(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _check_place(path: Path, *, read_only: bool) -> None:
    if not path.parent.is_dir():
        raise StoreError(f"the case store {path} has no directory to be in: {path.parent}")
    if path.is_dir():
        raise StoreError(f"the case store {path} is a directory")
    if read_only and not path.exists():
        raise StoreError(f"there is no case store {path}")


def _reason(error: SQLAlchemyError) -> str:
    """Return the database's own words; SQLAlchemy's would add the whole statement."""
    original = getattr(error, "orig", None)
    return f"cannot be used: {original or type(error).__name__}"
