"""What people and machines get wrong: a sentence and exit code 2, or a counted reject."""

import base64
import gzip
import socket
import sqlite3
import time

import orjson
import pytest

from astray.events import Event
from astray.events.schema import EVENT_BYTES_MAX
from astray.flow.keys import shard_key
from astray.store import Store
from running import WHSEC, complaints, decisions, from_here, invoked, lines, rows, states
from strategies import NOW_US

GOOD = lines([Event(ts_us=NOW_US - 86_400_000_000, agent="a", action="read")])


@pytest.fixture
def events(tmp_path):
    """Write a recording of one event."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(GOOD)
    return path


def test_everything_that_keeps_a_run_from_starting_is_said_at_once(tmp_path, events):
    """Sources, outputs and secrets are all looked at before anything starts."""
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "folder").mkdir()
    sources = ["missing.jsonl", "empty.jsonl", "folder", "events.jsonl"]
    options = [part for name in sources for part in ("--source", name)]

    result = invoked(
        "run", *options, "--alerts", "nowhere/alerts.jsonl", "--rejects", "folder",
        "--webhook", "https://idp.example/hook", cwd=tmp_path,
    )  # fmt: skip

    assert complaints(result) == [
        (
            "astray: nowhere/alerts.jsonl: cannot be written: No such file or directory"
            f"{from_here(tmp_path / 'nowhere' / 'alerts.jsonl')}"
        ),
        f"astray: folder: cannot be written: Is a directory{from_here(tmp_path / 'folder')}",
        "astray: missing.jsonl: No such file or directory",
        "astray: empty.jsonl: the file is empty",
        "astray: folder: no .jsonl or .jsonl.gz file in it",
        "astray: the secret env:ASTRAY_WEBHOOK_SECRET is not set in the environment",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "empty.jsonl",
        "events.jsonl",
        "folder",
    ]


@pytest.mark.parametrize(
    ("secret", "sentence"),
    [
        pytest.param(
            "hunter2-hunter2-hunter2-hunter2", "does not begin with whsec_", id="no prefix"
        ),
        pytest.param("whsec_hunter2!hunter2!", "is not base64 after whsec_", id="not base64"),
        pytest.param("whsec_aHVudGVyMg==", "holds 7 bytes; a secret has 24 to 64", id="too short"),
    ],
)
@pytest.mark.parametrize("command", ["run", "ping", "listen"])
def test_a_malformed_secret_is_refused_and_never_echoed(command, secret, sentence, events):
    """A secret of the wrong form is named by its place; nothing of it is repeated."""
    given = {
        "run": ["run", "--source", events, "--webhook", "https://idp.example/hook"],
        "ping": ["webhook", "ping", "https://idp.example/hook"],
        "listen": ["webhook", "listen", "--port", "0"],
    }[command]

    result = invoked(*given, cwd=events.parent, ASTRAY_WEBHOOK_SECRET=secret)

    assert complaints(result) == [f"astray: the secret env:ASTRAY_WEBHOOK_SECRET {sentence}"]
    assert secret.removeprefix("whsec_")[:6] not in result.stderr.decode()


def test_mistakes_in_a_configuration_are_all_named(tmp_path, events):
    """An unknown key and a threshold out of range are named, with file and key."""
    config = tmp_path / "astray.toml"
    config.write_text(
        "[event]\nshards = 4\n[default_policy]\nalert = { score = 121.0 }\n[events]\nshards = 0\n"
    )

    result = invoked("run", "--source", events, "--config", config, cwd=tmp_path)

    said = complaints(result)
    assert sorted(sentence.split(": ", 2)[2].split(":")[0] for sentence in said) == [
        "default_policy.alert.score", "event", "events.shards",
    ]  # fmt: skip
    assert all(sentence.startswith(f"astray: {config}: ") for sentence in said)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(None, "no such file", id="missing"),
        pytest.param(b"[events\n", "not TOML: ", id="not TOML"),
        pytest.param(b"\xff\xfe", "cannot be read: ", id="not text"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(content, sentence, tmp_path, events):
    """Each way in which a configuration file is no such file has its sentence."""
    config = tmp_path / "astray.toml"
    if content is not None:
        config.write_bytes(content)

    said = complaints(invoked("run", "--source", events, "--config", config, cwd=tmp_path))

    assert [line.startswith(f"astray: {config}: {sentence}") for line in said] == [True]


def test_paths_of_a_configuration_that_lead_nowhere_are_told_as_a_whole(tmp_path, events):
    """They are relative to the working directory, not to the file; the sentence says to where."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "key").touch()
    (tmp_path / "etc" / "astray.toml").write_text(
        '[alerts]\nfile = "no/alerts"\n[rejects]\nfile = "no/rejects"\n'
        '[store]\nurl = "file:key"\n'
        '[[webhook]]\nurl = "https://idp.example/hook"\nsecret = "file:key"\n'
        '[source.kafka]\nbrokers = ["127.0.0.1:1"]\ntopics = ["t"]\n'
        '[source.kafka.config]\n"ssl.key.password" = "file:key"\n'
    )
    (tmp_path / "etc" / "grants.toml").write_text('[grants]\nfile = "key"\n')
    (tmp_path / "etc" / "store.toml").write_text('[store]\nurl = "sqlite:///no/cases.db"\n')

    said = [
        complaints(invoked("run", "--source", source, "--config", f"etc/{name}", cwd=tmp_path))
        for name, source in (
            ("astray.toml", "kafka://"), ("grants.toml", events), ("store.toml", events),
        )
    ]  # fmt: skip

    none, key = "No such file or directory", from_here(tmp_path / "key")
    assert said == [
        [
            f"astray: no/alerts: cannot be written: {none}{from_here(tmp_path / 'no/alerts')}",
            f"astray: no/rejects: cannot be written: {none}{from_here(tmp_path / 'no/rejects')}",
            f"astray: source.kafka.config: ssl.key.password: file:key {none}{key}",
            f"astray: store.url: file:key cannot be read: {none}{key}",
            f"astray: the secret file:key cannot be read: {none}{key}",
        ],
        [f"astray: etc/grants.toml: grants: key: cannot be read: {none}{key}"],
        [
            (
                "astray: the case store no/cases.db has no directory to be in: no"
                f"{from_here(tmp_path / 'no/cases.db')}"
            )
        ],
    ]


def test_options_out_of_range_are_all_named(events):
    """Thresholds and modes of the command line are checked like those of a file."""
    result = invoked(
        "run", "--source", events, "--alert-at", "0", "--suspend-at", "120.5", "--mode", "obey",
        cwd=events.parent,
    )  # fmt: skip

    assert complaints(result) == [
        "astray: --alert-at: a score lies above 0 and up to 120, not at 0",
        "astray: --suspend-at: a score lies above 0 and up to 120, not at 120.5",
        "astray: --mode: observe or enforce, not obey",
    ]


def _no_database(path):
    path.write_bytes(b"certainly no database, but long enough to be one" * 100)


def _other_version(path):
    Store.open(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '999' WHERE key = 'schema_version'")
    connection.close()


def _other_database(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mine (value TEXT)")
    connection.close()


@pytest.mark.parametrize(
    ("prepare", "sentence", "code"),
    [
        pytest.param(_no_database, "file is not a database", 1, id="not a database"),
        pytest.param(_other_version, "has schema version 999", 2, id="another schema version"),
        pytest.param(
            _other_database, "is a database, but not a case store", 2, id="somebody else's"
        ),
        pytest.param(lambda path: path.mkdir(), "is a directory", 2, id="a directory"),
    ],
)
def test_a_case_store_that_cannot_be_used_is_refused(prepare, sentence, code, tmp_path, events):
    """A store that is none, or another version's, is named, and stays as it is."""
    path = tmp_path / "cases.db"
    prepare(path)
    before = (path.read_bytes() if path.is_file() else b"")[100:]  # without SQLite's own header

    result = invoked("run", "--source", events, "--store", f"sqlite:///{path}", cwd=tmp_path)

    (said,) = complaints(result, code)
    assert str(path) in said
    assert sentence in said
    assert (path.read_bytes() if path.is_file() else b"")[100:] == before


def test_a_recovery_directory_of_another_shard_count_is_refused(tmp_path, events):
    """State that would not be found again is not silently begun anew."""
    (tmp_path / "eight.toml").write_text("[events]\nshards = 8\n")
    first = invoked("run", "--source", events, "--recovery", "kept", cwd=tmp_path)
    before = states(tmp_path / "kept")

    result = invoked(
        "run", "--source", events, "--recovery", "kept", "--config", "eight.toml", cwd=tmp_path
    )

    assert first.returncode == 0
    (said,) = complaints(result)
    assert said == (
        "astray: kept: holds the state of another configuration: shards is 4 there and 8 here; "
        "`astray state reshard` makes a directory for this configuration of it"
    )
    assert states(tmp_path / "kept") == before


def test_a_taken_port_is_named():
    """`webhook listen` on a port that somebody has says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        result = invoked("webhook", "listen", "--port", port, ASTRAY_WEBHOOK_SECRET=WHSEC)

    assert complaints(result) == [
        f"astray: the receiver cannot listen on 127.0.0.1:{port}: Address already in use"
    ]


def test_bad_lines_are_counted_kept_and_disturb_nothing(tmp_path):
    """Lines that are no events are rejects, byte for byte; the events around them are dealt with."""
    far = int((time.time() + 90_000) * 1e6)
    long_line = b'{"ts":1,"agent":"a","action":"' + b"x" * 20_000_000 + b'"}'
    bad = [
        lines([Event(ts_us=far, agent="a", action="read")]).rstrip(b"\n"),
        b'{"ts":1,"agent":"\xff","action":"read"}',
        b'{"ts":1,"agent":"a","action":"' + b"x" * EVENT_BYTES_MAX + b'"}',
        b"nonsense",
        b"[]",
        b'{"ts":1,"agent":"a"}',
    ]
    data = GOOD + b"\n".join(bad) + b"\n" + long_line + b"\n" + GOOD
    (tmp_path / "events.jsonl.gz").write_bytes(gzip.compress(data))

    result = invoked(
        "run", "--source", "events.jsonl.gz", "--rejects", "rejects.jsonl", cwd=tmp_path
    )

    said = result.stderr.decode()
    assert result.returncode == 0, said
    assert said.startswith("2 events of 1 agents")
    found = [orjson.loads(line) for line in (tmp_path / "rejects.jsonl").read_bytes().splitlines()]
    raws = [
        base64.b64decode(one["raw_base64"]) if "raw_base64" in one else one["raw"].encode()
        for one in found
    ]
    assert raws[: len(bad)] == bad
    assert [one["reason"] for one in found[: len(bad)]] == [
        "future_time", "not_json", "oversized", "not_json", "not_object", "missing_field",
    ]  # fmt: skip
    assert b"".join(raws[len(bad) :]) == long_line + b"\n"
    assert {one["reason"] for one in found[len(bad) :]} == {"oversized"}
    assert all(data[one["offset"] :].startswith(raw) for one, raw in zip(found, raws, strict=True))


def test_a_flood_of_resources_from_one_agent_is_bounded_and_its_own(tmp_path):
    """Ten thousand resources in a minute neither end the flow nor change what is known of peers."""
    peers = [
        Event(ts_us=NOW_US - (200_000 - at * 10) * 1_000_000, agent=f"peer-{at % 5}", action="read",
              session=f"p{at}", resources=(f"table-{at % 7}",), group="fleet", event_id=f"peer{at}")
        for at in range(2000)
    ]  # fmt: skip
    flood_us = peers[1000].ts_us
    flood = [
        Event(ts_us=flood_us + at * 6000, agent="flooder", action="read", session="flood",
              resources=(f"unheard-of-{at}",), group="fleet")
        for at in range(10_000)
    ]  # fmt: skip
    config = "[default_policy]\nalert = { score = 10.0 }\n[events]\nshards = 1\n"
    found = {}
    for name, stream in (("calm", peers), ("flooded", [*peers[:1000], *flood, *peers[1000:]])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "astray.toml").write_text(config)
        (folder / "events.jsonl").write_bytes(lines(stream))
        result = invoked(
            "run",
            "--source",
            "events.jsonl",
            "--config",
            "astray.toml",
            "--recovery",
            "kept",
            "--store",
            "sqlite:///cases.db",
            cwd=folder,
        )
        assert result.returncode == 0, result.stderr.decode()
        assert (
            f"{len(stream):,} events of {5 + (name == 'flooded')} agents" in result.stderr.decode()
        )
        found[name] = folder

    ((key, flooded),) = [
        item for item in states(found["flooded"] / "kept").items() if item[0][1] == shard_key(0)
    ]
    calm = states(found["calm"] / "kept")[key]
    assert len(flooded) - len(calm) < 1_000_000
    agents = [agent for (agent,) in rows(found["flooded"] / "cases.db", "SELECT agent FROM cases")]
    assert "flooder" in agents
    of_peers = {
        name: {
            key: body
            for key, body in decisions(folder / "cases.db").items()
            if '"flooder"' not in body
        }
        for name, folder in found.items()
    }
    assert of_peers["calm"].keys() == of_peers["flooded"].keys()
    assert len(of_peers["calm"]) > 3
