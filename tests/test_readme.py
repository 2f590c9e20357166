"""The README is true: its commands, options, events, configuration and payload exist."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer

from astray.cli.main import app
from astray.config import load_config
from astray.detectors.features import FEATURES
from astray.detectors.models import checked
from astray.events import Event
from astray.events.parse import parse_line
from astray.respond.payload import suspend_body
from astray.testing import make_decision
from strategies import NOW_US

_README = Path(__file__).parent.parent / "README.md"
_TEXT = _README.read_text(encoding="utf-8")


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", _TEXT, re.DOTALL)


def _commands():
    lines = "\n".join(_blocks("sh")).splitlines()
    return [part for line in lines for part in line.split(" && ") if "astray " in part[:20]]


@pytest.mark.parametrize("line", _commands())
def test_commands_and_options_exist(line):
    """A command that is shown is there, and so is each of its options."""
    words = shlex.split(line)
    command = typer.main.get_command(app)
    place = 1
    while hasattr(command, "commands"):
        command = command.commands[words[place]]
        place += 1
    known = {option for parameter in command.params for option in parameter.opts}

    assert {word for word in words[place:] if word.startswith("--")} <= known


def test_options_in_the_text_exist():
    """An option that is spoken of is one of `astray run` or `astray replay`."""
    commands = typer.main.get_command(app).commands
    known = {o for name in ("run", "replay") for p in commands[name].params for o in p.opts}

    assert set(re.findall(r"`(--[a-z-]+)", _TEXT)) <= known


def test_the_example_is_an_event():
    """The line that explains events is one."""
    (example, _) = _blocks("json")

    assert isinstance(parse_line(example.strip().encode(), NOW_US + 10**12), Event)


def test_the_example_is_a_configuration(tmp_path):
    """The configuration that is shown passes the check."""
    (example, _) = _blocks("toml")
    file = tmp_path / "astray.toml"
    file.write_text(example)

    config = load_config(file)

    assert [policy.name for policy in config.policies] == ["payments", "default"]
    assert tomllib.loads(example)["webhook"][0]["name"] == config.webhook[0].name


def test_the_examples_of_grants_are_grants(tmp_path):
    """What it shows of a file of grants is read as one."""
    (example,) = _blocks("jsonl")
    file = tmp_path / "grants.jsonl"
    file.write_text(example)

    config = load_config(overrides={"grants": {"file": str(file)}})

    assert [line.agent or line.group for line in config.grants.lines] == ["billing-*", "finance"]


def test_the_examples_of_detectors_are_detectors(tmp_path):
    """The tables that are shown make models; astray's own detector is one of river's."""
    (_, example) = _blocks("toml")
    code = next(block for block in _blocks("python") if "import Detector" in block)
    file = tmp_path / "astray.toml"
    file.write_text(example)
    shown = {}

    config = checked(load_config(file))
    exec(compile(code, str(_README), "exec"), shown)  # noqa: S102 - what readers will run

    assert [detector.name for detector in config.detector] == ["hst", "machine"]
    assert shown["metric"].get() > 0.95
    assert 0.0 < shown["odd"] <= 1.0


def test_the_features_of_detectors_are_those_there_are():
    """Every one is named, and so are those that are seen by default."""
    told = _TEXT.partition("Features are numbers")[2].partition("Your own class")[0]

    assert set(re.findall(r"`([a-z_]+)`", told)) - {"features"} == set(FEATURES)


def test_the_payload_is_the_one_that_is_sent():
    """Type and fields of the example are those of a suspension."""
    (_, example) = _blocks("json")
    shown = json.loads(example)
    sent = json.loads(suspend_body(make_decision(), 0.0))

    assert shown["type"] == sent["type"]
    assert list(shown) == list(sent)
    assert list(shown["data"]) == list(sent["data"])
    assert list(shown["data"]["agent"]) == list(sent["data"]["agent"])
    assert list(shown["data"]["evidence"][0]) == list(sent["data"]["evidence"][0])


def test_the_first_screen_has_two_commands():
    """One line sets up and runs the main job, one passes the tests, before anything else."""
    first, second, *_ = _blocks("sh")

    assert first.strip().endswith("astray demo")
    assert second.strip().endswith("pytest -q")
    assert len(first.strip().splitlines()) == len(second.strip().splitlines()) == 1
    assert second.strip() in (_README.parent / ".ci" / "run").read_text(encoding="utf-8")
