"""The databases that a case store can be on: SQLite's file, and a PostgreSQL server for tests.

The server is the one of `ASTRAY_TEST_POSTGRES`, a URL whose user may create schemas, or one
that is started here in a temporary directory, from Debian's or the system's programs. Every
test has a schema of its own.
"""

import atexit
import functools
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

START_MAX_S = 60.0
PASSWORD = "correct-horse-battery"
"""The password of the user `guarded`, the only one who needs one."""

_ABSENT = (
    "NO POSTGRESQL, so half of this is NOT TESTED: apt-get install postgresql, "
    "or set ASTRAY_TEST_POSTGRES=postgresql+psycopg://USER@HOST/DATABASE"
)
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "listen_addresses": "127.0.0.1",
}
_numbers = itertools.count()


class PostgresProcess:
    """A server of our own, which a test may stop, kill and start again."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._data = folder / "data"
        self._user = _unprivileged()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        folder.chmod(0o700)
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "--no-sync", "--auth=trust", "--username=astray", "--encoding=UTF8")
        guard = "host all guarded 127.0.0.1/32 scram-sha-256\n"
        rules = self._data / "pg_hba.conf"
        rules.write_text(guard + rules.read_text())

    @property
    def url(self) -> str:
        """Where its database is."""
        return f"postgresql+psycopg://astray@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = _SETTINGS | {"port": self.port, "unix_socket_directories": self._data}
        options = itertools.chain.from_iterable(("-c", f"{k}={v}") for k, v in settings.items())
        with (self._data / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *options],
                user=self._user,
                cwd="/",
                stdout=log,
                stderr=log,
            )
        end_s = time.monotonic() + START_MAX_S
        while not self._answers():
            assert self._process.poll() is None, (self._data / "log").read_text()
            assert time.monotonic() < end_s, "the server does not answer"
            time.sleep(0.02)

    def stop(self, how: str = "SIGINT") -> None:
        """Stop it: at once with SIGINT, as in a crash with SIGQUIT."""
        if self._process is not None:
            self._process.send_signal(signal.Signals[how])
            self._process.wait(START_MAX_S)
            self._process = None

    def _answers(self) -> bool:
        try:
            psycopg.connect(
                make_url(self.url).set(drivername="postgresql").render_as_string()
            ).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        command = [self._programs / program, "-D", self._data, *arguments]
        subprocess.run(command, user=self._user, cwd="/", capture_output=True, check=True)


def _unprivileged() -> str | None:
    """Return a user as whom to run the server, which refuses to be root's."""
    return "nobody" if os.geteuid() == 0 else None


def _programs() -> Path | None:
    """Return where the newest PostgreSQL of this system has its programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version_of)
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).resolve().parent if on_path else None


def _version_of(initdb: Path) -> float:
    return float(initdb.parts[-3])


@functools.cache
def own_postgres() -> PostgresProcess:
    """Return a server that was started here, and may be stopped."""
    programs = _programs()
    if programs is None:
        pytest.skip(_ABSENT)
    folder = Path(tempfile.mkdtemp(prefix="astray-postgres-"))
    server = PostgresProcess(programs, folder)
    server.start()

    def end() -> None:
        server.stop("SIGQUIT")
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return server


def postgres_url() -> str:
    """Return the URL of the database in which tests may create schemas."""
    given = os.environ.get("ASTRAY_TEST_POSTGRES")
    return given or own_postgres().url


def asked(url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Return what PostgreSQL answers, in the schema of a URL; what is changed is kept."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        cursor = connection.execute(statement, values or None)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def fresh_schema(url: str) -> str:
    """Return the URL of a schema that was just created, and is empty."""
    name = f"astray_{os.getpid()}_{next(_numbers)}"
    asked(url, f"CREATE SCHEMA {name}")
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"


def drop_schema(url: str) -> None:
    """Remove the schema of a URL with all that is in it."""
    asked(url, f"DROP SCHEMA IF EXISTS {url.rpartition('%3D')[2]} CASCADE")


@pytest.fixture
def postgres() -> Iterator[str]:
    """Return the URL of an empty schema on PostgreSQL."""
    url = fresh_schema(postgres_url())
    yield url
    drop_schema(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a place for a store, on either database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/cases.db"
    url: str = request.getfixturevalue("postgres")
    return url
