"""Opening a case store: what is created, what is refused, and with which words."""

import sqlite3
from pathlib import Path

import pytest

from astray.errors import ConfigError, StoreError
from astray.store import SCHEMA_VERSION, Store
from astray.store.address import FORMS


def address(path: Path) -> str:
    """Return the URL of a file."""
    return f"sqlite:///{path}"


def refusal(url: str, *, read_only: bool = False) -> str:
    """Return the sentence with which a store is refused."""
    with pytest.raises(StoreError) as caught:
        Store.open(url, read_only=read_only)
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a store is, closed."""
    path = tmp_path / "cases.db"
    Store.open(address(path)).close()
    return path


def with_version(path: Path, version: str) -> None:
    """Let a store say that it has another schema version."""
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = ?", (version,))
    connection.commit()
    connection.close()


def test_a_new_store_is_empty_and_an_old_one_is_found_again(path: Path) -> None:
    """A file that is not there is created; one that is there is taken as it is."""
    with Store.open(address(path)) as store:
        assert store.counts(0.0).cases == {}


def test_a_store_is_written_to_the_disk_before_anything_leaves(path: Path) -> None:
    """Every connection has WAL, full synchronisation and foreign keys."""
    names = ("journal_mode", "synchronous", "foreign_keys")
    with Store.open(address(path)) as store:
        pragmas = [
            store._database.read(lambda connection, of: connection.exec_driver_sql(of).scalar(), of)
            for of in map("PRAGMA {}".format, names)
        ]

    assert pragmas == ["wal", 2, 1]


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """Nobody wants a directory created because of a typing error."""
    path = tmp_path / "nowhere" / "cases.db"

    assert (
        refusal(address(path)) == f"the case store {path} has no directory to be in: {path.parent}"
    )
    assert not path.parent.exists()


def test_a_directory_is_no_store(tmp_path: Path) -> None:
    """The error says what stands in the way."""
    assert refusal(address(tmp_path)) == f"the case store {tmp_path} is a directory"


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_of_something_else_is_refused_and_left_alone(
    tmp_path: Path, *, read_only: bool
) -> None:
    """A file that is no database keeps its bytes."""
    path = tmp_path / "cases.db"
    path.write_bytes(b"hello, I am a spreadsheet" * 100)

    said = refusal(address(path), read_only=read_only)

    assert said == f"the case store {path} cannot be used: file is not a database"
    assert path.read_bytes() == b"hello, I am a spreadsheet" * 100


@pytest.mark.parametrize("read_only", [False, True])
def test_a_database_of_something_else_is_refused(tmp_path: Path, *, read_only: bool) -> None:
    """Another program's tables get no company."""
    path = tmp_path / "cases.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()

    said = refusal(address(path), read_only=read_only)

    assert said == f"{path} is a database, but not a case store of astray"


def test_a_refused_store_is_not_kept_locked(path: Path) -> None:
    """After a refusal the file is free for whoever puts it right."""
    with_version(path, "7")
    refusal(address(path))
    with_version(path, str(SCHEMA_VERSION))

    Store.open(address(path)).close()


def test_a_second_astray_is_refused_while_the_first_runs(path: Path) -> None:
    """Two writers would take each other's deliveries; the process to look for is named."""
    with Store.open(address(path)):
        said = refusal(address(path))

    assert said.startswith(f"the case store {path} is in use by another astray (process ")
    Store.open(address(path)).close()


def test_reading_disturbs_no_running_astray(path: Path) -> None:
    """A reader takes no lock, and sees what the writer has written."""
    with Store.open(address(path)) as writer, Store.open(address(path), read_only=True) as reader:
        writer.disable_endpoint("siem", "410", 1.0)

        assert reader.counts(0.0).disabled == {"siem": "410"}


def test_reading_leaves_nothing_behind(path: Path) -> None:
    """A reader creates neither a store nor a working file that the service could not write."""
    before = set(path.parent.iterdir())

    with Store.open(address(path), read_only=True) as reader:
        reader.counts(0.0)

    assert set(path.parent.iterdir()) == before


def test_what_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    """Reading creates no empty store that says all is well."""
    path = tmp_path / "cases.db"

    assert refusal(address(path), read_only=True) == f"there is no case store {path}"
    assert not list(tmp_path.iterdir())


def test_a_reader_cannot_write(path: Path) -> None:
    """The error names the store."""
    with (
        Store.open(address(path), read_only=True) as reader,
        pytest.raises(StoreError, match=r"cases.db cannot be used: attempt to write a readonly"),
    ):
        reader.enable_endpoint("siem")


def test_a_place_that_cannot_be_written_is_refused() -> None:
    """The system's own word for it is in the sentence."""
    if not Path("/proc/self").is_dir():
        pytest.skip("needs a directory in which nobody can create a file")

    assert refusal("sqlite:////proc/cases.db").startswith(
        "the case store /proc/cases.db cannot be written: "
    )


def test_a_closed_store_says_so(path: Path) -> None:
    """It must not come back to life without its lock."""
    store = Store.open(address(path))
    store.close()
    store.close()

    with pytest.raises(StoreError, match="is closed"):
        store.counts(0.0)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_in_memory_works(*, read_only: bool) -> None:
    """For tests and for replay there is no file."""
    with Store.open("sqlite://", read_only=read_only) as store:
        assert store.cases(10) == []


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "mysql://astray:hunter2@db.example.com/cases",
            f"the case store is neither SQLite nor PostgreSQL but mysql: {FORMS}",
        ),
        (
            "postgresql+asyncpg://astray:hunter2@db.example.com/cases",
            f"the case store's driver is not psycopg: use {FORMS}",
        ),
        (
            "postgresql+psycopg://astray:hunter2@hunter2/@db.example.com/cases",
            "the case store's address has a second @: in a password it is written %40",
        ),
        (
            "postgresql+psycopg://astray:hunter2@db.example.com:hunter2/cases",
            f"the case store's address is not a URL like {FORMS}",
        ),
        ("astray:hunter2 at home", f"the case store's address is not a URL like {FORMS}"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_password(
    url: str, sentence: str
) -> None:
    """A password in what cannot be read cannot be told apart, so nothing of it is shown."""
    assert refusal(url) == sentence
    with pytest.raises(StoreError, match="the case store"):
        Store.shared(url)


def test_an_address_is_found_where_it_is_kept(path: Path, tmp_path: Path) -> None:
    """A URL with a password is in the environment or in a file, with a line break perhaps."""
    (tmp_path / "url").write_text(f"{address(path)}\n")

    for reference in ("env:STORE", f"file:{tmp_path / 'url'}"):
        with Store.open(reference, environment={"STORE": f" {address(path)}\n"}) as store:
            assert store.cases(1) == []


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("env:STORE", "store.url: env:STORE is not set in the environment"),
        ("file:/no/where", "store.url: file:/no/where cannot be read: No such file or directory"),
    ],
)
def test_a_place_with_no_address_is_named(reference: str, sentence: str) -> None:
    """The key of the configuration is named with it."""
    with pytest.raises(ConfigError) as caught:
        Store.open(reference, environment={})

    assert caught.value.problems == (sentence,)


@pytest.mark.parametrize(
    ("url", "is_shared"),
    [
        ("sqlite:///cases.db", False),
        ("sqlite://", False),
        ("postgresql+psycopg://astray@nowhere.example.com/cases", True),
        ("postgresql:///cases", True),
        ("env:STORE", True),
    ],
)
def test_whether_processes_can_share_a_store_is_known_before_it_is_opened(
    url: str, *, is_shared: bool
) -> None:
    """Nothing is connected to: several processes with a file of SQLite are refused in time."""
    environment = {"STORE": "postgresql+psycopg://astray:hunter2@nowhere.example.com/cases"}

    assert Store.shared(url, environment=environment) is is_shared


def test_whether_there_may_be_a_store_is_known_before_it_is_opened(path: Path) -> None:
    """A file is looked for, nobody asks a server, and a store in memory is always a new one."""
    there, elsewhere = Store.is_there(address(path)), Store.is_there(f"{address(path)}.not")

    assert there
    assert not elsewhere
    assert Store.is_there("postgresql+psycopg://astray@nowhere.example.com/cases")
    assert not Store.is_there("sqlite://")


def test_a_strange_file_name_is_only_a_name(tmp_path: Path) -> None:
    """Question marks and spaces do not become options of SQLite."""
    path = tmp_path / "cases of 100% ? mode=ro #1.db"

    with Store.open(address(path).replace("?", "%3F")) as store:
        store.counts(0.0)

    assert path.exists()
