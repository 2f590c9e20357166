"""The smaller commands: simulate, config, webhook, demo."""

import gzip
import re
import signal
import tomllib

import orjson
import pytest

from astray.alerts.ocsf import finding
from astray.config import default_toml
from astray.respond import Endpoint, WebhookOutbox, secret_from
from astray.store import Store
from astray.testing import Receiver, make_decision
from running import SECRET, WAIT_S, WHSEC, complaints, from_here, invoked, rows, started

SMALL = ("--agents", "4", "--days", "2", "--seed", "1")


@pytest.mark.parametrize(
    ("out", "events", "labels"),
    [
        pytest.param("fleet", "fleet.events.jsonl.gz", "fleet.labels.jsonl.gz", id="a name"),
        pytest.param("fleet.jsonl", "fleet.jsonl", "fleet.labels.jsonl", id="a plain file"),
        pytest.param(
            "fleet.jsonl.gz", "fleet.jsonl.gz", "fleet.labels.jsonl.gz", id="a compressed file"
        ),
        pytest.param("a.events.jsonl", "a.events.jsonl", "a.labels.jsonl", id="events by name"),
    ],
)
def test_a_fleet_is_written_where_its_name_says(out, events, labels, tmp_path):
    """Events and labels have the names that follow from `--out`, and are counted aloud."""
    result = invoked("simulate", "--out", out, *SMALL, cwd=tmp_path)

    assert (result.returncode, result.stdout) == (0, b"")
    assert {path.name for path in tmp_path.iterdir()} == {events, labels}
    data = (tmp_path / events).read_bytes()
    count = (gzip.decompress(data) if events.endswith(".gz") else data).count(b"\n")
    assert result.stderr.startswith(f"{count:,} events in {events}\n".encode())


def test_the_same_seed_is_the_same_fleet(tmp_path):
    """Equal options give equal bytes, another seed gives others."""
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        invoked("simulate", "--out", f"{name}.jsonl", *SMALL[:-1], seed, cwd=tmp_path)

    one, same, other = ((tmp_path / f"{name}.jsonl").read_bytes() for name in "abc")
    assert one == same
    assert one != other


def test_attacks_are_put_into_a_recording_of_ones_own(tmp_path):
    """`--inject` keeps every line of the recording and labels what it has added."""
    invoked("simulate", "--out", "own.jsonl", *SMALL, cwd=tmp_path)

    result = invoked(
        "simulate", "--out", "attacked.jsonl", "--inject", "own.jsonl", "--labels", "own.labels.jsonl",
        "--attacks", "exfiltration=2", cwd=tmp_path,
    )  # fmt: skip

    assert result.returncode == 0, result.stderr
    own, attacked = (
        (tmp_path / name).read_bytes().splitlines() for name in ("own.jsonl", "attacked.jsonl")
    )
    assert len(attacked) > len(own)
    labels = map(orjson.loads, (tmp_path / "attacked.labels.jsonl").read_bytes().splitlines())
    assert [label["attack"] for label in labels if label["label"]] == ["exfiltration"] * 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param(["--attacks", "sabotage=1"], "sabotage", id="unknown attack"),
        pytest.param(["--attacks", "exfiltration=many"], "many", id="no number"),
        pytest.param(["--agents", "0"], "agents", id="no agents"),
        pytest.param(
            ["--inject", "missing.jsonl", "--attacks", "all=1"], "missing.jsonl", id="missing"
        ),
        pytest.param(
            ["--inject", "damaged.jsonl.gz", "--attacks", "all=1"], "damaged.jsonl.gz", id="damaged"
        ),
        pytest.param(["--out", "nowhere/fleet"], "nowhere/fleet", id="no directory"),
    ],
)
def test_what_cannot_be_simulated_is_named(options, sentence, tmp_path):
    """Attacks, sizes and paths that cannot be used are sentences."""
    (tmp_path / "damaged.jsonl.gz").write_bytes(b"not packed")

    said = complaints(invoked("simulate", "--out", "fleet", *SMALL, *options, cwd=tmp_path))

    assert all(line.startswith("astray: ") for line in said)
    assert sentence in "\n".join(said)


def test_a_configuration_is_checked(tmp_path):
    """A good configuration is fine, a bad one has all its mistakes named."""
    (tmp_path / "good.toml").write_text("[events]\nshards = 8\n")
    (tmp_path / "bad.toml").write_text("[events]\nshards = 0\nsize = 1\n")

    good = invoked("config", "check", "good.toml", cwd=tmp_path)
    bad = complaints(invoked("config", "check", "bad.toml", cwd=tmp_path))

    assert (good.returncode, good.stderr[:24]) == (0, b"good.toml: fine, config ")
    assert [line.split(": ")[2] for line in bad] == ["events.shards", "events.size"]
    assert invoked("config", "check").stderr.startswith(b"the defaults: fine")


def test_a_configuration_is_shown_as_astray_sees_it(tmp_path):
    """What is shown is the defaults under the file; secrets are places, not values."""
    (tmp_path / "own.toml").write_text(
        '[events]\nshards = 8\n[[webhook]]\nurl = "https://x.example"\nsecret = "env:KEY"\n'
    )

    result = invoked("config", "show", "--config", "own.toml", cwd=tmp_path, KEY=WHSEC)

    shown, defaults = orjson.loads(result.stdout), tomllib.loads(default_toml())
    assert shown["events"] == {**defaults["events"], "shards": 8}
    assert shown["webhook"][0]["secret"] == "env:KEY"
    assert WHSEC not in result.stdout.decode()
    assert {name: shown[name] for name in ("sessions", "baseline", "store")} == {
        name: defaults[name] for name in ("sessions", "baseline", "store")
    }


def test_the_schema_is_one():
    """Editors get a JSON Schema of every section."""
    schema = orjson.loads(invoked("config", "schema").stdout)

    assert set(schema["properties"]) >= set(tomllib.loads(default_toml()))
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        pytest.param(200, 0, "accepted with 200", id="accepted"),
        pytest.param(410, 1, "refused with 410", id="gone"),
        pytest.param(500, 1, "refused with 500", id="broken"),
    ],
)
def test_a_ping_says_what_came_back(status, code, words):
    """A ping is signed, and its answer is the exit code's too."""
    with Receiver([SECRET], [status]) as receiver:
        result = invoked("webhook", "ping", receiver.url, ASTRAY_WEBHOOK_SECRET=WHSEC)

    assert (result.returncode, [one.flaw for one in receiver.attempts]) == (code, [None])
    assert f"default: {words}" in result.stderr.decode()


def test_a_ping_that_nobody_answers_says_so():
    """A receiver that is down is exit code 1 and a sentence."""
    receiver = Receiver([SECRET])
    receiver.up()
    receiver.down()

    result = invoked("webhook", "ping", receiver.url, ASTRAY_WEBHOOK_SECRET=WHSEC)

    assert result.returncode == 1
    assert result.stderr.startswith(b"default: no answer: ")


def test_a_ping_with_the_wrong_secret_is_refused():
    """A receiver with another secret answers 401, which is no success."""
    with Receiver([secret_from("env:K", {"K": "whsec_" + "QUJD" * 8})]) as receiver:
        result = invoked("webhook", "ping", receiver.url, ASTRAY_WEBHOOK_SECRET=WHSEC)

    assert (result.returncode, len(receiver.deliveries)) == (1, 0)


def test_every_configured_webhook_is_pinged(tmp_path):
    """Without an address every configured webhook is tried, and one that fails is enough."""
    with Receiver([SECRET]) as good, Receiver([SECRET], [503]) as bad:
        (tmp_path / "own.toml").write_text(
            "".join(
                f'[[webhook]]\nname = "{name}"\nurl = "{receiver.url}"\nsecret = "env:KEY"\n'
                for name, receiver in (("good", good), ("bad", bad))
            )
        )
        result = invoked("webhook", "ping", "--config", "own.toml", cwd=tmp_path, KEY=WHSEC)

    assert result.returncode == 1
    assert [line.split(" with ")[0] for line in result.stderr.decode().splitlines()] == [
        "good: accepted", "bad: refused",
    ]  # fmt: skip


def test_a_ping_without_a_webhook_is_a_usage_error():
    """With neither address nor configuration there is nothing to ping."""
    said = complaints(invoked("webhook", "ping"))

    assert said == ["astray: no webhook is configured: name a URL, or a --config that has one"]


def test_a_receiver_that_was_gone_is_enabled_again(tmp_path):
    """`webhook enable` takes back what a 410 has switched off, in the store that is named."""
    url = f"sqlite:///{tmp_path}/cases.db"
    with Store.open(url) as store:
        store.disable_endpoint("idp", "410 Gone", 1.0)

    result = invoked("webhook", "enable", "idp", "--store", url)

    assert (result.returncode, result.stderr) == (0, b"idp: enabled\n")
    with Store.open(url) as store:
        assert store.counts(2.0).disabled == {}
    assert rows(tmp_path / "cases.db", "SELECT name FROM endpoints") == [("idp",)]


def test_a_webhook_that_is_not_there_is_not_enabled(tmp_path):
    """A name that nobody has is told, with the names that there are, and nothing is written."""
    url = f"sqlite:///{tmp_path}/cases.db"
    config = tmp_path / "astray.toml"
    config.write_text(
        '[[webhook]]\nname = "soar"\nurl = "https://soar.example.com/"\nsecret = "env:NOBODY"\n'
    )
    with Store.open(url) as store:
        store.disable_endpoint("idp", "410 Gone", 1.0)

    result = invoked("webhook", "enable", "ipd", "--store", url, "--config", config)
    configured = invoked("webhook", "enable", "soar", "--store", url, "--config", config)

    (said,) = complaints(result)
    assert said.startswith("astray: ipd: no webhook of that name is configured, and the case store")
    assert said.endswith("; there are: idp (off: 410 Gone), soar")
    assert (configured.returncode, configured.stderr) == (0, b"soar: was not off\n")
    with Store.open(url) as store:
        assert store.counts(2.0).disabled == {"idp": "410 Gone"}


def test_a_webhook_is_known_without_its_configuration(tmp_path):
    """What something was sent to, or was once off, has a name in the case store."""
    url = f"sqlite:///{tmp_path}/cases.db"
    endpoint = Endpoint("default", "https://idp.example.com", (SECRET,))
    with Store.open(url) as store:
        store.record([make_decision()], WebhookOutbox([endpoint], finding), 1.0)
        store.disable_endpoint("siem", "410 Gone", 1.0)
        store.enable_endpoint("siem")

    sent = invoked("webhook", "enable", "default", "--store", url)
    once_off = invoked("webhook", "enable", "siem", "--store", url)
    (said,) = complaints(invoked("webhook", "enable", "soar", "--store", url))

    assert (sent.returncode, sent.stderr) == (0, b"default: was not off\n")
    assert (once_off.returncode, once_off.stderr) == (0, b"siem: was not off\n")
    assert said.endswith("; there are: default, siem")


def test_a_webhook_is_enabled_while_a_run_has_the_store(tmp_path):
    """Nobody stops watching for it; and where there is no store none is made."""
    url = f"sqlite:///{tmp_path}/cases.db"
    with Store.open(url) as store:
        store.disable_endpoint("idp", "410 Gone", 1.0)
        result = invoked("webhook", "enable", "idp", "--store", url)
        disabled = store.counts(2.0).disabled
    (said,) = complaints(invoked("webhook", "enable", "idp", cwd=tmp_path))

    assert (result.returncode, result.stderr, disabled) == (0, b"idp: enabled\n", {})
    assert said == f"astray: there is no case store astray.db{from_here(tmp_path / 'astray.db')}"
    assert not (tmp_path / "astray.db").exists()


def test_listening_verifies_and_prints():
    """`webhook listen` prints what is genuine as JSON, and says what it has refused and why."""
    process = started("webhook", "listen", "--port", "0", ASTRAY_WEBHOOK_SECRET=WHSEC)
    try:
        said = process.stderr.readline().decode()
        url = said.split()[2]
        good = invoked("webhook", "ping", url, ASTRAY_WEBHOOK_SECRET=WHSEC)
        shown = orjson.loads(process.stdout.readline())
        bad = invoked("webhook", "ping", url, ASTRAY_WEBHOOK_SECRET="whsec_" + "QUJD" * 8)
        refused = process.stderr.readline().decode()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()

    assert said.startswith("listening at http://127.0.0.1:")
    assert (good.returncode, bad.returncode, process.returncode) == (0, 1, 0)
    assert shown["webhook_id"].startswith("msg_")
    assert shown["payload"]["type"] == "astray.test.ping"
    assert refused.startswith("refused 'msg_")
    assert shown["webhook_id"] not in refused
    assert (out, err) == (b"", b"")


def test_listening_on_another_address():
    """`webhook listen --host` takes what is sent there, and says so when nobody can listen there."""
    process = started(
        "webhook", "listen", "--host", "127.0.0.2", "--port", "0", ASTRAY_WEBHOOK_SECRET=WHSEC
    )
    try:
        url = process.stderr.readline().decode().split()[2]
        good = invoked("webhook", "ping", url, ASTRAY_WEBHOOK_SECRET=WHSEC)
    finally:
        process.kill()
        process.communicate()
    nowhere = invoked(
        "webhook", "listen", "--host", "192.0.2.1", "--port", "0", ASTRAY_WEBHOOK_SECRET=WHSEC
    )

    assert url.startswith("http://127.0.0.2:")
    assert good.returncode == 0
    assert complaints(nowhere) == [
        "astray: the receiver cannot listen on 192.0.2.1:0: Cannot assign requested address"
    ]


def test_the_demo_shows_the_main_job():
    """A small demo suspends somebody, and every suspension arrives."""
    result = invoked("demo", "--agents", "40", "--days", "14")

    assert result.returncode == 0, result.stderr.decode()
    said = result.stderr.decode()
    (sent,) = re.findall(r"suspensions +(\d+) sent", said)
    assert int(sent) > 0
    assert f"{sent} acknowledged, 0 repeats" in said


def test_a_demo_that_cannot_be_is_a_sentence():
    """A fleet of nobody is refused like everywhere else."""
    result = invoked("demo", "--agents", "0")

    said = result.stderr.decode().splitlines()
    assert (result.returncode, said[-1].startswith("astray: ")) == (2, True)
