"""A database that is known to hold this version's tables, and its transactions."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Concatenate, Final, ParamSpec, Self, TypeVar

from sqlalchemy import Connection, insert, inspect, select, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from astray.errors import StoreError
from astray.store import address, numbering
from astray.store.lead import Lead
from astray.store.migrations import MIGRATIONS, OLDEST, Migration
from astray.store.postgres import open_postgres
from astray.store.schema import SCHEMA_VERSION, VERSION_KEY, meta, metadata
from astray.store.server import Server, reason
from astray.store.sqlite import open_sqlite

PATIENCE_S: Final = 30.0
"""So long a database that is away is waited for, unless the store was opened otherwise."""

_AGAIN_MIN_S: Final = 0.05
_AGAIN_MAX_S: Final = 1.0

_SET_VERSION: Final = update(meta).where(meta.c.key == VERSION_KEY)

_Arguments = ParamSpec("_Arguments")
_Found = TypeVar("_Found")


class Database:
    """Transactions on one database; every failure is a `StoreError` that names the database.

    A transaction is given as a function, for it may be called again: when the connection
    breaks, what was not committed is repeated on a new one, for `patience_s` at most. It may
    also be repeated after it was committed, if the connection broke in that very moment, so
    it must do no harm to do it twice.

    Threads of this process take turns at writing: a queue in memory hands over at once,
    where a database's own would sleep and look again.
    """

    def __init__(self, server: Server, patience_s: float) -> None:
        self._server = server
        self._patience_s = patience_s
        self._closing = threading.Event()
        self._write_turn = threading.Lock()

    @classmethod
    def open(
        cls,
        url: URL,
        *,
        read_only: bool,
        patience_s: float,
        beside: bool = False,
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> Self:
        """Open the database and check that it is ours.

        A new one gets its tables, an older one is migrated; with `read_only` neither, nor with
        `beside`, which leaves them to the one that has the database.
        """
        if address.is_shared(url):
            database = cls(open_postgres(url, read_only=read_only), patience_s)
        else:
            database = cls(open_sqlite(url, read_only=read_only, beside=beside), patience_s)
        try:
            database._prepare(migrations, read_only=read_only or beside)
        except StoreError:
            database.close()
            raise
        return database

    @property
    def name(self) -> str:
        """How errors call it."""
        return self._server.name

    @property
    def is_shared(self) -> bool:
        """Whether several processes may write it at a time."""
        return self._server.is_shared

    def lead(self, name: str) -> Lead:
        """Return the lead of a name, not yet taken."""
        return self._server.lead(name)

    def close(self) -> None:
        """Close the connections and let others have what was locked; twice does no harm."""
        self._closing.set()
        self._server.close()

    def write(
        self,
        work: Callable[Concatenate[Connection, _Arguments], _Found],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Found:
        """Do something while nobody else writes: all of it is kept, or none."""

        def alone(connection: Connection) -> _Found:
            self._server.take_turn(connection)
            return work(connection, *args, **kwargs)

        return self._patiently(alone, writes=True)

    def write_beside(
        self,
        work: Callable[Concatenate[Connection, _Arguments], _Found],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Found:
        """Do in one statement what need not wait for others that write."""
        return self._patiently(lambda found: work(found, *args, **kwargs), writes=True)

    def read(
        self,
        work: Callable[Concatenate[Connection, _Arguments], _Found],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Found:
        """Ask for something, of one state of the database."""
        return self._patiently(lambda found: work(found, *args, **kwargs), writes=False)

    def give_back(self) -> bool:
        """Let the system have some room that nothing is in; return whether there is more."""
        return self._patiently(self._server.give_back, writes=True)

    def check_writable(self) -> None:
        """Raise unless it can be written now; nothing is, and nothing is waited for."""
        locking = select(meta.c.value).with_for_update()  # what only one who may write can do
        try:
            self._try(lambda connection: connection.scalar(locking), writes=True)
        except SQLAlchemyError as error:
            raise self._failure(error) from error

    def _patiently(self, work: Callable[[Connection], _Found], *, writes: bool) -> _Found:
        until_s = time.monotonic() + self._patience_s
        again_s = _AGAIN_MIN_S
        while True:
            try:
                return self._try(work, writes=writes)
            except SQLAlchemyError as error:
                passes = self._server.passes(error)
                if not passes or time.monotonic() + again_s > until_s:
                    waited = f"; waited {self._patience_s:.0f} s for it" if passes else ""
                    raise self._failure(error, waited) from error
            self._closing.wait(again_s)
            again_s = min(2 * again_s, _AGAIN_MAX_S)

    def _prepare(self, migrations: Sequence[Migration], *, read_only: bool) -> None:
        """Let the database have this version's tables; what is away is not waited for."""

        def check(connection: Connection) -> None:
            self._server.check(connection)
            version, newest = _version(connection, self.name), OLDEST + len(migrations)
            if version != newest:
                raise _strange(self.name, version, newest)

        def migrate(connection: Connection) -> None:
            self._server.check(connection)
            self._server.unhurried(connection)
            self._server.take_turn(connection)
            _migrate(connection, self.name, migrations)

        try:
            # In memory there is nothing to read but what is created now.
            reads = read_only and not self._server.is_single
            self._try(check if reads else migrate, writes=not reads)
        except SQLAlchemyError as error:
            raise self._failure(error) from error

    def _try(self, work: Callable[[Connection], _Found], *, writes: bool) -> _Found:
        if self._closing.is_set():  # else the engine would connect anew, without the lock
            raise StoreError(f"the case store {self.name} is closed")
        with ExitStack() as stack:
            stack.callback(self._close_late)
            if writes or self._server.is_single:
                stack.enter_context(self._write_turn)
            return work(stack.enter_context(self._server.begin(writes=writes)))

    def _close_late(self) -> None:
        if self._closing.is_set():  # meanwhile: then this connection was not among those closed
            self._server.close()

    def _failure(self, error: SQLAlchemyError, more: str = "") -> StoreError:
        return StoreError(f"the case store {self.name} cannot be used: {reason(error)}{more}")


def _migrate(connection: Connection, name: str, migrations: Sequence[Migration]) -> None:
    """Create the tables of a new database, or take an old one's from version to version."""
    if inspect(connection).get_table_names():
        version = _version(connection, name)
    else:
        version = _create(connection)
    newest = OLDEST + len(migrations)
    if not OLDEST <= version <= newest:
        raise _strange(name, version, newest)
    for migration in migrations[version - OLDEST :]:
        migration(connection)
    if version != newest:
        connection.execute(_SET_VERSION.values(value=str(newest)))


def _create(connection: Connection) -> int:
    metadata.create_all(connection, checkfirst=False)
    numbering.begin(connection)
    connection.execute(insert(meta).values(key=VERSION_KEY, value=str(SCHEMA_VERSION)))
    return SCHEMA_VERSION


def _version(connection: Connection, name: str) -> int:
    """Return the version of the tables; 0 if they do not say."""
    if not inspect(connection).has_table(meta.name):
        raise StoreError(f"{name} is a database, but not a case store of astray", lasting=True)
    version = connection.scalar(select(meta.c.value).where(meta.c.key == VERSION_KEY)) or ""
    return int(version) if version.isdecimal() else 0


def _strange(name: str, version: int, newest: int) -> StoreError:
    older = OLDEST <= version < newest
    return StoreError(
        f"the case store {name} has schema version {version or 'unknown'}; this astray reads "
        f"version {newest}"
        + (", and migrates it when it opens it for writing" if older else " and older ones only"),
        lasting=True,
    )
