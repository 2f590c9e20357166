"""All that is particular to PostgreSQL: connections, turns at writing, the lead, what passes.

See `server.Server`. Locks are advisory ones, named by the schema in which the tables are, so
that two case stores in two schemas of a database do not wait for each other.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from astray.errors import StoreError
from astray.store.lead import Lead
from astray.store.server import reason

CONNECTIONS_MAX: Final = 15
"""Connections of one process, one for each lead among them."""

_KEPT_MAX: Final = 5
"""Connections that are kept when nobody uses them."""

_CONNECTING: Final = {
    "application_name": "astray",
    "client_encoding": "utf8",
    "connect_timeout": "5",
    # A server that has vanished without a word is noticed within some ten seconds.
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
"""What libpq is told, where the URL does not say otherwise."""

_SETTING: Final = """
SET lock_timeout = '10s';
SET statement_timeout = '30s';
SET idle_in_transaction_session_timeout = '15s';
SET tcp_keepalives_idle = 5;
SET tcp_keepalives_interval = 2;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = '10s';
"""
"""What the server is told: it lets go of the locks of a process that hangs or has vanished."""

_KEY: Final = "hashtextextended('astray ' || coalesce(current_schema(), '') || ' ' || :name, 0)"
_TURN: Final = text(f"SELECT pg_advisory_xact_lock({_KEY})")
_LEAD: Final = text(f"SELECT pg_backend_pid() WHERE pg_try_advisory_lock({_KEY})")
_STILL: Final = text("SELECT pg_backend_pid()")

_PASSING: Final = ("08", "40", "53", "57P", "55P03")
"""Beginnings of the codes of errors that may pass: connection, conflict, room, restart, lock."""


class PostgresServer:
    """A database that any number of processes may use."""

    is_shared = True
    is_single = False

    def __init__(self, engine: Engine, name: str, *, read_only: bool) -> None:
        self._engine = engine
        self.name = name
        self._read_only = read_only
        self._leads: list[PostgresLead] = []

    @contextmanager
    def begin(self, *, writes: bool) -> Iterator[Connection]:
        """Return a transaction.

        One that writes sees in each statement what is committed then, and so, after its
        turn has come, all that others wrote before. One that reads sees one state.
        """
        with self._engine.connect() as connection:
            connection.execution_options(
                isolation_level="READ COMMITTED" if writes else "REPEATABLE READ",
                postgresql_readonly=self._read_only or not writes,
            )
            with connection.begin():
                yield connection

    def check(self, connection: Connection) -> None:
        """Raise unless it keeps every character: a name that it refuses would stop the flow."""
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
        if encoding != "UTF8":
            raise StoreError(
                f"the case store {self.name} has the encoding {encoding}; astray needs UTF8: "
                "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
                lasting=True,
            )

    def take_turn(self, connection: Connection) -> None:
        """Wait until no other process writes, and keep others waiting until the commit."""
        connection.execute(_TURN, {"name": "writing"})

    def unhurried(self, connection: Connection) -> None:
        """Let a migration take its time, and another process wait for it."""
        connection.exec_driver_sql("SET LOCAL lock_timeout = '10min'")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")

    def passes(self, error: SQLAlchemyError) -> bool:
        """Return whether an error may pass: a server that restarts, a conflict, no room."""
        if isinstance(error, PoolTimeoutError):  # all connections of this process are in use
            return True
        if not isinstance(error, DBAPIError):
            return False
        code = getattr(error.orig, "sqlstate", None)
        if code is None:  # the words are libpq's, not the server's: it could not be reached
            return error.connection_invalidated or isinstance(error, OperationalError)
        return error.connection_invalidated or str(code).startswith(_PASSING)

    def give_back(self, _: Connection) -> bool:
        """Do nothing: the server's autovacuum sees to it."""
        return False

    def lead(self, name: str) -> Lead:
        """Return the lead of a name; it will have a connection of its own."""
        lead = PostgresLead(self._engine, self.name, name)
        self._leads.append(lead)
        return lead

    def close(self) -> None:
        """Close the connections; all locks go with them."""
        for lead in self._leads:
            lead.release()
        self._engine.pool.dispose()  # and what is still in use returns to this pool


class PostgresLead:
    """A lock of a connection: the server lets go of it when the connection ends, however."""

    def __init__(self, engine: Engine, store: str, name: str) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._store = store
        self._name = name
        self._connection: Connection | None = None
        self._backend: int | None = None
        self._released = False
        self._turn = threading.Lock()

    def is_held(self) -> bool:
        """Return whether the lock is ours; a connection that is lost has lost it."""
        with self._turn:
            if self._released:
                return False
            try:
                return self._is_still_held() if self._backend is not None else self._take()
            except SQLAlchemyError as error:
                self._drop()
                raise StoreError(
                    f"the case store {self._store} cannot be used: {reason(error)}"
                ) from error

    def release(self) -> None:
        """Close the connection, which frees the lock."""
        with self._turn:
            self._released = True
            self._drop()

    def _take(self) -> bool:
        if self._connection is None:
            self._connection = self._engine.connect()
        self._backend = self._connection.scalar(_LEAD, {"name": f"lead {self._name}"})
        return self._backend is not None

    def _is_still_held(self) -> bool:
        # Another backend than the one that has the lock: a pooler in between has exchanged it.
        if self._connection is not None and self._connection.scalar(_STILL) == self._backend:
            return True
        self._drop()
        return False

    def _drop(self) -> None:
        connection, self._connection, self._backend = self._connection, None, None
        if connection is not None:
            connection.invalidate()  # ends it, where closing would hand it to another
            connection.close()


def open_postgres(url: URL, *, read_only: bool) -> PostgresServer:
    """Return the database that a URL names; it is not yet connected to.

    Raises
    ------
    StoreError
        The driver is not installed.
    """
    password = url.query.get("password")
    if isinstance(password, str):  # there it would be shown
        url = url.set(password=password).difference_update_query(["password"])
    chosen = {key: value for key, value in _CONNECTING.items() if key not in url.query}
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args=chosen,
            pool_size=_KEPT_MAX,
            max_overflow=CONNECTIONS_MAX - _KEPT_MAX,
            pool_timeout=10.0,
            hide_parameters=True,  # an error must not print what a case holds
        )
    except ImportError as error:
        raise StoreError(
            "a case store on PostgreSQL needs a driver: pip install 'astray[postgres]'",
            lasting=True,
        ) from error
    event.listen(engine, "connect", _set_up)
    return PostgresServer(engine, _name(url), read_only=read_only)


def _set_up(connection: Any, _: Any) -> None:
    connection.autocommit = True
    connection.execute(_SETTING)
    connection.autocommit = False


def _name(url: URL) -> str:
    host = url.host or url.query.get("host") or ""
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{host}{port}/{url.database or ''}"
