"""A store of an older version becomes one of this version, once, whole, and not by readers."""

import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text

from astray.errors import StoreError
from astray.store import SCHEMA_VERSION, Store
from astray.store.migrations import MIGRATIONS, OLDEST, Migration
from astray.testing import make_decision
from databases import asked
from outboxes import TwoReceivers

GOLDEN = Path(__file__).parent / "data"
NEXT = SCHEMA_VERSION + 1


def add_colour(connection: Connection) -> None:
    """Migrate to a version in which cases have a colour."""
    connection.execute(text("ALTER TABLE cases ADD COLUMN colour TEXT"))


def break_off(connection: Connection) -> None:
    """Begin to migrate, and fail."""
    add_colour(connection)
    connection.execute(text("ALTER TABLE houses ADD COLUMN colour TEXT"))


def columns(store: Store) -> dict[str, set[tuple[str, str, bool]]]:
    """Return the tables of a store with the names, types and needs of their columns."""

    def found(connection: Connection) -> dict[str, set[tuple[str, str, bool]]]:
        look = inspect(connection)
        return {
            table: {(at["name"], str(at["type"]), at["nullable"]) for at in look.get_columns(table)}
            for table in look.get_table_names()
        }

    return store._database.read(found)


def indices(store: Store) -> set[tuple[str, str, tuple[str | None, ...], bool]]:
    """Return the indices of a store."""

    def found(connection: Connection) -> set[tuple[str, str, tuple[str | None, ...], bool]]:
        look = inspect(connection)
        return {
            (table, str(at["name"]), tuple(at["column_names"]), bool(at["unique"]))
            for table in look.get_table_names()
            for at in look.get_indexes(table)
        }

    return store._database.read(found)


def version(store: Store) -> str:
    """Return the version a store says it has."""
    query = text("SELECT value FROM meta WHERE key = 'schema_version'")
    return str(store._database.read(lambda connection: connection.scalar(query)))


def refusal(
    url: str, *, read_only: bool = False, migrations: Sequence[Migration] = MIGRATIONS
) -> str:
    """Return the sentence with which a store is refused."""
    with pytest.raises(StoreError) as caught:
        Store.open(url, read_only=read_only, migrations=migrations)
    return str(caught.value)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a store of version 1, as it was left behind."""
    path = tmp_path / "cases.db"
    connection = sqlite3.connect(path)
    connection.executescript((GOLDEN / "version-1.sql").read_text())
    connection.close()
    return path


def test_there_is_a_step_for_every_version() -> None:
    """A new version without a step from the last one would shut old stores out."""
    assert OLDEST + len(MIGRATIONS) == SCHEMA_VERSION


def test_a_store_of_version_1_keeps_all_it_holds(old: Path) -> None:
    """Cases, deliveries, alerts and marks are as they were; decisions have their order."""
    with Store.open(f"sqlite:///{old}") as store:
        order = [number for number, _ in store.decisions_after(0, 10)]
        sessions = [body.split(b'"session":"')[1][:9] for _, body in store.decisions_after(0, 10)]
        due = [delivery.webhook_id for delivery in store.due("siem", 400.0, 10)]
        counts = store.counts(400.0)
        alerts = [body for _, body in store.alerts_after(3, 10)]
        mark = store.mark("alerts:/var/lib/astray/alerts.jsonl")
        states = {case.session: case.suspension for case in store.cases(10)}

    assert order == [1, 2, 3, 4]
    assert sessions == [b"session-b", b"session-a", b"session-b", b"session-c"]
    assert due == ["msg_session-c_siem"]
    assert counts.deliveries == {"delivered": 1, "failed": 1, "pending": 4}
    assert counts.disabled == {"gateway": "answered 410 Gone"}
    assert states == {"session-a": "delivered", "session-b": "requested", "session-c": "requested"}
    assert alerts == [b"session-c new", b"not delivered"]
    assert mark == 3


def test_a_migrated_store_is_like_a_new_one(old: Path, tmp_path: Path) -> None:
    """It has the same tables, columns and indices, and says so; a second time nothing happens."""
    new = f"sqlite:///{tmp_path}/new.db"
    for _ in range(2):
        with Store.open(f"sqlite:///{old}") as migrated, Store.open(new) as fresh:
            assert columns(migrated) == columns(fresh)
            assert indices(migrated) == indices(fresh)
            assert version(migrated) == version(fresh) == str(SCHEMA_VERSION)


def test_numbers_go_on_where_they_were(old: Path) -> None:
    """A reader that has come so far gets what is recorded after the migration."""
    with Store.open(f"sqlite:///{old}") as store:
        store.record([make_decision(session="later")], TwoReceivers(), 500.0)

        assert [number for number, _ in store.decisions_after(4, 10)] == [5]
        assert [number for number, _ in store.alerts_after(5, 10)] == [6]


def test_the_next_version_will_be_reached_from_this_one(address: str) -> None:
    """A step that is added is taken by new stores and by those that are there, once."""
    later = (*MIGRATIONS, add_colour)
    Store.open(address).close()

    for _ in range(2):
        with Store.open(address, migrations=later) as store:
            assert "colour" in {name for name, _, _ in columns(store)["cases"]}
            assert version(store) == str(NEXT)


def test_a_new_store_takes_every_step_too(address: str) -> None:
    """Whether it was created before or after a step makes no difference."""
    with Store.open(address, migrations=(*MIGRATIONS, add_colour)) as store:
        assert "colour" in {name for name, _, _ in columns(store)["cases"]}
        assert version(store) == str(NEXT)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_store_is_refused_by_its_number(address: str, *, read_only: bool) -> None:
    """What a later astray has written, this one does not touch."""
    Store.open(address, migrations=(*MIGRATIONS, add_colour)).close()

    said = refusal(address, read_only=read_only)

    assert said.endswith(
        f" has schema version {NEXT}; this astray reads version {SCHEMA_VERSION} and older ones only"
    )
    assert said.startswith("the case store ")


def test_a_reader_does_not_migrate(old: Path) -> None:
    """It says who does, and leaves the bytes as they are."""
    before = old.read_bytes()

    said = refusal(f"sqlite:///{old}", read_only=True)

    assert said == (
        f"the case store {old} has schema version 1; this astray reads version "
        f"{SCHEMA_VERSION}, and migrates it when it opens it for writing"
    )
    assert old.read_bytes() == before


def test_a_version_that_is_none_is_refused(old: Path) -> None:
    """It is no guess what such tables hold."""
    connection = sqlite3.connect(old)
    connection.execute("UPDATE meta SET value = 'blue'")
    connection.commit()
    connection.close()

    assert "has schema version unknown; this astray reads" in refusal(f"sqlite:///{old}")


def test_a_migration_that_fails_leaves_the_store_as_it_was(address: str) -> None:
    """All of it is one transaction, tables and all; the error says what went wrong."""
    with Store.open(address) as store:
        before = columns(store)

    said = refusal(address, migrations=(*MIGRATIONS, break_off))

    assert "houses" in said
    with Store.open(address) as store:
        assert columns(store) == before


OPEN = textwrap.dedent("""
    import sys, time
    from sqlalchemy import text
    from astray.store import Store
    from astray.store.migrations import MIGRATIONS

    def slowly(connection):
        connection.execute(text("CREATE TABLE taken (at INTEGER)"))
        time.sleep(0.5)

    print("ready", flush=True)
    sys.stdin.readline()
    with Store.open(sys.argv[1], migrations=(*MIGRATIONS, slowly)) as store:
        print(len(store.cases(1)), flush=True)
""")


@pytest.mark.parametrize("is_new", [True, False])
def test_processes_that_open_it_at_once_migrate_it_once(postgres: str, *, is_new: bool) -> None:
    """One of them does, the others wait for it; a table cannot be created twice."""
    if not is_new:
        Store.open(postgres).close()
    command = [sys.executable, "-c", OPEN, postgres]
    processes = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=60.0) for process in processes]

    assert ended == [(b"0\n", b"")] * 3
    assert asked(postgres, "SELECT value FROM meta WHERE key = 'schema_version'") == [(str(NEXT),)]
