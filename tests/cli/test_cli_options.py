"""What the options of `astray run` do, and where its words go."""

import os
import subprocess
import tomllib
from pathlib import Path

import orjson
import pytest
import typer

from astray.cli.main import app
from astray.cli.run import with_thresholds
from astray.config import load_config
from astray.events import Event
from astray.testing import Receiver
from running import (
    COMMAND,
    SECRET,
    WAIT_S,
    WHSEC,
    alerts,
    astray,
    decisions,
    environment_with,
    invoked,
    lines,
    rows,
)
from strategies import NOW_US

_CONFIG = """
[default_policy]
alert = { score = 90.0 }
suspend = { score = 95.0 }
mode = "observe"

[default_policy.limits]
events_per_session = 5

[store]
url = "sqlite:///configured.db"

[alerts]
file = "configured-alerts.jsonl"

[rejects]
file = "configured-rejects.jsonl"
"""


@pytest.fixture
def site(tmp_path):
    """Make a folder with a configuration and sessions of which three are beyond a limit."""
    (tmp_path / "astray.toml").write_text(_CONFIG)
    events = [
        Event(
            ts_us=NOW_US - 10**12 + number * 1000,
            agent="a",
            action="read",
            session=f"s{number // 6}",
        )
        for number in range(18)
    ]
    (tmp_path / "events.jsonl").write_bytes(lines(events) + b"nonsense\n")
    return tmp_path


def run(site, *more, **environment):
    """Run over the events of a site."""
    return invoked(
        "run", "--source", "events.jsonl", "--config", "astray.toml", *more, cwd=site, **environment
    )


def test_without_options_the_configuration_holds(site):
    """Store, alerts and rejects go where the configuration says; observing suspends nobody."""
    result = run(site)

    assert result.returncode == 0
    assert b"18 events of 1 agents" in result.stderr
    assert b"rejects: 1 not_json" in result.stderr
    assert {path.name for path in site.glob("configured*") if path.suffix != ".lock"} == {
        "configured.db", "configured-alerts.jsonl", "configured-rejects.jsonl",
    }  # fmt: skip
    assert {orjson.loads(body)["mode"] for body in decisions(site / "configured.db").values()} == {
        "observe"
    }
    assert rows(site / "configured.db", "SELECT * FROM suspensions") == []


def test_options_overrule_the_configuration(site):
    """Store, alerts, rejects and mode are the command line's where it says so."""
    result = run(
        site, "--store", "sqlite:///own.db", "--alerts", "own-alerts.jsonl",
        "--rejects", "own-rejects.jsonl", "--mode", "enforce",
    )  # fmt: skip

    assert result.returncode == 0
    assert list(site.glob("configured*")) == []
    assert [orjson.loads(body)["mode"] for body in decisions(site / "own.db").values()] == [
        "enforce"
    ] * 3
    assert len((site / "own-alerts.jsonl").read_bytes().splitlines()) == 3
    assert orjson.loads((site / "own-rejects.jsonl").read_bytes())["raw"] == "nonsense"


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        pytest.param([], {}, id="none"),
        pytest.param(["--alert-at", "33"], {"alert": 33.0}, id="alert"),
        pytest.param(["--suspend-at", "44"], {"suspend": 44.0}, id="suspend"),
        pytest.param(
            ["--alert-at", "33", "--suspend-at", "44"], {"alert": 33.0, "suspend": 44.0}, id="both"
        ),
    ],
)
def test_thresholds_of_the_command_line_are_every_policys(options, limits, tmp_path):
    """`--alert-at` and `--suspend-at` hold for every policy, and each only for its own."""
    path = tmp_path / "astray.toml"
    path.write_text(
        '[[policy]]\nname = "payments"\nmatch = { agents = ["pay-*"] }\nalert = { score = 50.0 }\n'
    )
    given = dict(zip(options[::2], map(float, options[1::2]), strict=True))

    config = with_thresholds(
        load_config(path), None, given.get("--alert-at"), given.get("--suspend-at")
    )

    found = [(policy.alert.as_score, policy.suspend.as_score) for policy in config.policies]
    own = limits.get("suspend", 80.0)
    assert found == [(limits.get("alert", 50.0), own), (limits.get("alert", 60.0), own)]


def test_a_webhook_on_the_command_line_makes_auto_enforce(site):
    """`--webhook` with the secret in the environment sends the suspensions, signed."""
    (site / "astray.toml").write_text(_CONFIG.replace('"observe"', '"auto"'))
    with Receiver([SECRET]) as receiver:
        result = run(site, "--webhook", receiver.url, ASTRAY_WEBHOOK_SECRET=WHSEC)

    assert result.returncode == 0
    bodies = [orjson.loads(received.body) for received in receiver.deliveries.values()]
    assert sorted(body["data"]["session"]["id"] for body in bodies) == ["s0", "s1", "s2"]
    assert [attempt.flaw for attempt in receiver.attempts] == [None] * 3


def test_a_webhook_on_the_command_line_replaces_the_configured_one(site):
    """`--webhook` with a configured webhook sends to the one address, with the configured secret."""
    (site / "key").write_text(WHSEC)
    with Receiver([SECRET]) as receiver, Receiver([SECRET]) as configured:
        text = f'[[webhook]]\nurl = "{configured.url}"\nsecret = "file:key"\n'
        (site / "astray.toml").write_text(_CONFIG.replace('"observe"', '"enforce"') + text)
        result = run(site, "--webhook", receiver.url)

    assert result.returncode == 0
    assert (len(receiver.deliveries), len(configured.attempts)) == (3, 0)


def test_a_pipe_gets_alerts_as_json_and_nothing_else(site):
    """Standard output has one finding a line, the store's, and people's words are elsewhere."""
    result = astray("run", "--source", "events.jsonl", "--config", "astray.toml", cwd=site)

    assert result.returncode == 0
    assert result.stdout.splitlines() == alerts(site / "configured.db")
    assert [orjson.loads(line)["class_uid"] for line in result.stdout.splitlines()] == [2004] * 3
    assert result.stderr.startswith(b"18 events")


def test_a_reader_that_goes_away_does_not_end_the_run(site):
    """When the other end of the pipe is closed, all is still decided and recorded."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [*COMMAND, "run", "--source", "events.jsonl", "--config", "astray.toml"]
    result = subprocess.run(
        command, stdout=write_end, stderr=subprocess.PIPE, cwd=site, env=environment_with(),
        timeout=WAIT_S, check=False,
    )  # fmt: skip
    os.close(write_end)

    assert (result.returncode, b"Traceback" in result.stderr) == (0, False)
    assert len(alerts(site / "configured.db")) == 3


@pytest.mark.parametrize(
    ("form", "first"),
    [
        pytest.param("human", b"Session of a not suspended: its policy only observes", id="people"),
        pytest.param("off", b"", id="nobody"),
    ],
)
def test_the_form_of_alerts_can_be_chosen(form, first, site):
    """Alerts on standard output are for people, or not there, where the configuration says so."""
    (site / "astray.toml").write_text(_CONFIG.replace("[alerts]", f'[alerts]\nstdout = "{form}"'))

    result = run(site)

    assert result.stdout.partition(b"\n")[0] == first
    assert b'{"' not in result.stdout


def test_standard_input_is_a_source(site):
    """`--source -` reads what is piped in."""
    data = (site / "events.jsonl").read_bytes()

    result = astray("run", "--source", "-", "--config", "astray.toml", stdin=data, cwd=site)

    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 3


def _commands(group, path=()):
    for name, command in group.commands.items():
        yield (*path, name)
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))


def test_every_command_has_help():
    """Every command and every group explains itself, and has nothing undocumented."""
    found = list(_commands(typer.main.get_command(app)))
    for path in found:
        result = invoked(*path, "--help")
        assert result.returncode == 0, path
        assert b"Usage: " in result.stdout, path

    assert found == [
        ("demo",), ("run",), ("replay",), ("explain",), ("simulate",),
        ("tune",), ("compare",), ("report",),
        ("cases",), ("cases", "removed"), ("cases", "learnt"), ("cases", "list"), ("cases", "show"), ("cases", "approve"), ("cases", "release"),
        ("cases", "verdict"), ("cases", "export-verdicts"), ("cases", "import-verdicts"),
        ("config",), ("config", "check"), ("config", "show"), ("config", "schema"),
        ("state",), ("state", "inspect"), ("state", "export"), ("state", "import"),
        ("state", "reshard"),
        ("webhook",), ("webhook", "listen"), ("webhook", "ping"), ("webhook", "enable"),
    ]  # fmt: skip


def test_help_shows_the_names_of_tables():
    """What stands in brackets is no markup."""
    assert b"[source.kafka]" in invoked("run", "--help").stdout


def test_the_version_is_the_packages(tmp_path):
    """`--version` says which astray this is."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())

    result = invoked("--version")

    assert (result.returncode, result.stdout) == (
        0,
        f"astray {project['project']['version']}\n".encode(),
    )
