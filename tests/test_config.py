"""The configuration: defaults in one file, every mistake at once, hashes that mean something."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from astray.config import (
    POLICIES_MAX,
    Config,
    Match,
    Policy,
    Threshold,
    Webhook,
    default_toml,
    load_config,
    with_policies,
)
from astray.errors import ConfigError

ROOT = Path(__file__).parents[1]
WEBHOOK = {"url": "https://idp.example.com/hook", "secret": "env:SECRET"}
COMMENTED = re.compile(r"^# (?=\[\[?\w+\]\]?$|\w+ = )", re.MULTILINE)
"""A line of configuration that is commented out: a key with a value, or a table."""


def written(tmp_path, text):
    """Return a configuration file."""
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(tmp_path, text):
    """Return what is wrong with a configuration file, without the file's name."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert all(problem.startswith(f"{path}: ") for problem in caught.value.problems)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


def models_of(model):
    """Return a model's fields that are models: its own, and those of its arrays."""
    for name, field in model.model_fields.items():
        for type_ in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(type_, type) and issubclass(type_, BaseModel):
                yield name, type_
                break


def undocumented(model, table, at=""):
    """Return the fields of a model, and of its sections, that a table does not have."""
    sections = dict(models_of(model))
    for name in model.model_fields:
        if name not in table:
            yield f"{at}{name}"
        elif name in sections:
            value = table[name]
            inner = value[0] if isinstance(value, list) else value
            if sections[name] is not Threshold:
                yield from undocumented(sections[name], inner, f"{at}{name}.")


def test_every_field_has_a_line_in_the_file_of_defaults():
    """What can be configured is in the file, in force or commented out, where people look."""
    shown = tomllib.loads(COMMENTED.sub("", default_toml()))
    # A webhook may say these two itself, as the comment above the others' says.
    known = {"webhook.timeout_s", "webhook.expires_s"}
    # What a policy inherits needs no line of its own, and the default policy is everyone's.
    inherited = {f"policy.{name}" for name in Policy.model_fields}
    everyones = {"default_policy.name", "default_policy.match"}

    missing = set(undocumented(Config, shown)) - known - inherited - everyones

    assert missing == set()
    assert set(shown["policy"][0]["match"]) == set(Match.model_fields)
    assert {name.removeprefix("webhook.") for name in known} <= set(Webhook.model_fields)


def test_what_is_commented_out_can_be_used(tmp_path):
    """A user who takes the comment signs away, and has the files, has a configuration."""
    text = COMMENTED.sub("", default_toml())
    (tmp_path / "grants.jsonl").touch()

    with contextlib.chdir(tmp_path):
        config = Config.model_validate(load_config(overrides=tomllib.loads(text)))

    assert config.policy[0].match.agents == ("pay-*",)
    assert config.policy[0].suspend.as_score == 60.0
    assert config.webhook[0].name == "idp"
    assert config.default_policy.limits.forbidden_actions == ("iam.*",)
    assert (config.alerts.file, config.rejects.file) == ("alerts.jsonl", "rejects.jsonl")


def test_the_defaults_are_the_files_and_nobody_elses():
    """A field without a value in the file is one that means nothing unless it is given."""
    defaults = load_config()
    table = tomllib.loads(default_toml())

    def values(model, given, at=""):
        for name in type(model).model_fields:
            value = getattr(model, name)
            if isinstance(value, BaseModel) and name in given:
                yield from values(value, given[name], f"{at}{name}.")
            elif name not in given and value not in (None, (), Match()):
                yield f"{at}{name}"

    assert list(values(defaults, table)) == ["default_policy.name"]
    assert defaults.default_policy.name == "default"


def test_a_checkout_and_an_installed_wheel_have_the_same_defaults(tmp_path):
    """Laid out as the wheel has it, the file is found inside the package."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"][
        "targets"
    ]["wheel"]
    (inside,) = [to for file, to in wheel["force-include"].items() if file == "models/default.toml"]
    site = tmp_path / "site-packages"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / wheel["packages"][0], site / "astray", ignore=ignored)
    (site / inside).parent.mkdir()
    shutil.copy(ROOT / "models" / "default.toml", site / inside)
    script = (
        "import astray.config as c\n"
        f"assert c.__file__.startswith({str(site)!r}), c.__file__\n"
        "print(c.load_config().config_hash)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(site)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == load_config().config_hash


def test_a_file_need_only_say_what_differs(tmp_path):
    """The rest stays as it is by default, also inside a section."""
    path = written(
        tmp_path, "[sessions]\nidle_s = 60\n[default_policy.limits]\nevents_per_session = 9"
    )

    config = load_config(path)

    assert (config.sessions.idle_s, config.default_policy.limits.events_per_session) == (60.0, 9.0)
    assert config.sessions.events_max == load_config().sessions.events_max
    assert config.default_policy.limits.then == load_config().default_policy.limits.then


def test_overrides_win_over_the_file(tmp_path):
    """What the command line says comes last."""
    path = written(tmp_path, '[store]\nurl = "sqlite:///file.db"\n[sessions]\nidle_s = 60')

    config = load_config(path, {"store": {"url": "sqlite:///line.db"}})

    assert (config.store.url, config.sessions.idle_s) == ("sqlite:///line.db", 60.0)


def test_a_threshold_replaces_the_other_kind(tmp_path):
    """A budget in one's own file is not laid beside the score of the defaults."""
    path = written(tmp_path, "[default_policy]\nsuspend = { budget_per_million = 1000 }")

    config = load_config(path)

    assert config.default_policy.suspend.score is None
    assert config.default_policy.suspend.as_score == 60.0


MISTAKES = [
    ("nope = 1", "nope: there is no such key"),
    ("[events]\nshard = 4", "events.shard: there is no such key"),
    ("[sessions.idle_s]\nx = 1", "sessions.idle_s: input should be a valid number"),
    ("events = 4", "events: should be a table"),
    ('[events]\nshards = "4"', "events.shards: input should be a valid integer"),
    ("[events]\nshards = true", "events.shards: input should be a valid integer"),
    ("[events]\nshards = 4.0", "events.shards: input should be a valid integer"),
    ("[events]\nshards = 0", "events.shards: input should be greater than or equal to 1"),
    ("[events]\nshards = 257", "events.shards: input should be less than or equal to 256"),
    ('[events]\nshard_by = "agents"', "events.shard_by: input should be 'group' or 'agent'"),
    ("[sessions]\nidle_s = nan", "sessions.idle_s: input should be a finite number"),
    ("[sessions]\nidle_s = inf", "sessions.idle_s: input should be a finite number"),
    ("[delivery]\nflush_s = nan", "delivery.flush_s: input should be less than or equal to 60"),
    ("[reference]\nsessions_max = 99", "reference.sessions_max: input should be greater than or equal to 100"),
    ("[delivery]\nact_within_s = 0", "delivery.act_within_s: input should be greater than 0"),
    ("[delivery]\nact_within_s = inf", "delivery.act_within_s: input should be a finite number"),
    ("[delivery]\ndelays_s = []", "delivery.delays_s: array should have at least 1 item after validation, not 0"),
    ("[delivery]\ndelays_s = [1.0, 0.0]", "delivery.delays_s.1: input should be greater than 0"),
    ("[delivery]\ndelays_s = 3", "delivery.delays_s: should be an array"),
    ("[default_policy]\nalert = {}", "default_policy.alert: give either score or budget_per_million"),
    ("[default_policy]\nalert = { score = 1, budget_per_million = 1 }", "default_policy.alert: give either score or budget_per_million"),
    ("[default_policy]\nalert = { score = 121 }", "default_policy.alert.score: input should be less than or equal to 120"),
    ('[default_policy]\nmode = "approve"', "default_policy.mode: input should be 'auto', 'observe' or 'enforce'"),
    ('[default_policy]\nnever_suspend = "vip"', "default_policy.never_suspend: should be an array"),
    ("[default_policy]\nnever_suspend = [1]", "default_policy.never_suspend.0: input should be a valid string"),
    ("[default_policy.limits]\ndenied_share = 1.0", "default_policy.limits.denied_share: input should be less than 1"),
    ('[default_policy]\nmatch = { agents = ["a"] }', "default_policy is everyone's; match belongs to a [[policy]]"),
    ('[store]\nurl = "mysql://x"', "store.url: should be sqlite:///FILE, postgresql+psycopg://USER@HOST/DATABASE, env:NAME or file:/path"),
    ("[store]\nkeep_days = -1", "store.keep_days: should be a number of days up to 36,500, or 0: for ever"),
    ("[store]\nkeep_days = nan", "store.keep_days: should be a number of days up to 36,500, or 0: for ever"),
    ("[store]\nkeep_audit_days = inf", "store.keep_audit_days: should be a number of days up to 36,500, or 0: for ever"),
    ('[store]\nkeep_days = "90"', "store.keep_days: input should be a valid number"),
    ("[store]\nkeep_audit_days = 89", "store: keep_audit_days should be 0, for ever, or at least keep_days"),
    ("[store]\nkeep_days = 0\nkeep_audit_days = 365", "store: keep_audit_days should be 0, for ever, or at least keep_days"),
    ('[[webhook]]\nurl = "idp"\nsecret = "env:A"', r"webhook.0.url: string should match pattern '^https?://[^/\s]+'"),
    ('[[webhook]]\nurl = "https://x"', "webhook.0.secret: is missing"),
    ('[[policy]]\nname = "a"\n[[policy]]\nname = "a"', "policy names must differ: a"),
    ('[[policy]]\nmode = "observe"', "policy names must differ: default; without a name it is default"),
    ('[[webhook]]\nurl = "https://x"\nsecret = "env:A"\n[[webhook]]\nurl = "https://y"\nsecret = "env:A"', "webhook names must differ: default; without a name it is default"),
    ('[health]\nlisten = "9464"', "health.listen: should be HOST:PORT, such as 127.0.0.1:9464"),
    ('[health]\nlisten = ":9464"', "health.listen: should be HOST:PORT, such as 127.0.0.1:9464"),
    ('[health]\nlisten = "http://localhost:9464"', "health.listen: should be HOST:PORT, such as 127.0.0.1:9464"),
    ('[health]\nlisten = "localhost:65536"', "health.listen: should be HOST:PORT, such as 127.0.0.1:9464"),
    ('[health]\nlisten = "::1:9464"', "health.listen: should be HOST:PORT, such as 127.0.0.1:9464"),
    ("[health]\nlisten = 9464", "health.listen: input should be a valid string"),
    ("[health]\nstuck_after_s = 0", "health.stuck_after_s: input should be greater than 0"),
    ('[source.kafka]\nbroker = ["b"]', "source.kafka.broker: there is no such key"),
    ('[source.kafka]\nbrokers = "b"', "source.kafka.brokers: should be an array"),
    ('[source.kafka]\ntopics = ["a,b"]', r"source.kafka.topics.0: string should match pattern '^[^\s,/@]+$'"),
    ('[source.kafka]\non_gap = "skip"', "source.kafka.on_gap: input should be 'stop', 'earliest' or 'latest'"),
    ('[source.kafka]\nstart = "now"', "source.kafka.start: should be earliest, latest or a time with its zone, in ISO 8601"),
    ("[source.kafka]\nstart = 2026-11-22T00:00:00", "source.kafka.start: should be earliest, latest or a time with its zone, in ISO 8601"),
    ("[source.kafka]\nconfig = 3", "source.kafka.config: should be a table"),
    ('[source.kafka.config]\nsasl.mechanism = ["PLAIN"]', "source.kafka.config: sasl.mechanism: should be a string, a number or a boolean"),
    ('[sink.kafka.config]\nacks = 1\n"group.id" = "g"', "sink.kafka.config: acks, group.id: astray sets this itself"),
    ('[sink.kafka]\nalerts = "a b"', r"sink.kafka.alerts: string should match pattern '^[^\s,/@]+$'"),
    ("policy = 3", "policy: should be an array"),
    ("policy = [3]", "policy.0: should be a table"),
    ("default_policy = 3", "default_policy: should be a table"),
    ("[[default_policy]]\n", "default_policy: should be a table"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), MISTAKES, ids=[problem for _, problem in MISTAKES])
def test_a_mistake_is_named_with_its_key(tmp_path, text, problem):
    """In one sentence, for people who write TOML."""
    assert problems_of(tmp_path, text) == [problem]


def test_all_mistakes_are_named_at_once(tmp_path):
    """Nobody mends one mistake to be told of the next."""
    text = """
        nope = 1
        [events]
        shards = 0
        [[policy]]
        name = "a"
        suspend = {}
        limits = { then = "panic", x = 1 }
        [[webhook]]
        url = "idp"
        secret = "hush"
        [store]
        url = 3
    """

    assert {problem.split(": ")[0] for problem in problems_of(tmp_path, text)} == {
        "nope",
        "events.shards",
        "policy.0.suspend",
        "policy.0.limits.then",
        "policy.0.limits.x",
        "webhook.0.url",
        "webhook.0.secret",
        "store.url",
    }


def test_what_policies_inherit_is_said_once(tmp_path):
    """A mistake in the default policy is not repeated for each that inherits it."""
    text = (
        '[default_policy]\nmode = "x"\n[[policy]]\nname = "a"\n[[policy]]\nname = "b"\nmode = "y"'
    )

    found = problems_of(tmp_path, text)

    assert [problem.split(": ")[0] for problem in found] == ["default_policy.mode"]
    assert problems_of(tmp_path, text.replace('mode = "x"', "")) == [
        "policy.1.mode: input should be 'auto', 'observe' or 'enforce'"
    ]


@pytest.mark.parametrize(
    "secret",
    ['"whsec_c2VjcmV0"', '["env:A", "whsec_c2VjcmV0"]', '"env:whsec c2VjcmV0"', "[]", "3", '{ "whsec_c2VjcmV0" = 1 }'],
    ids=["literal", "literal in an array", "no variable's name", "none", "number", "table"],
)  # fmt: skip
def test_a_literal_secret_is_refused_and_not_repeated(tmp_path, secret):
    """Configurations are shown and logged; a secret in one would be, too."""
    found = problems_of(tmp_path, f'[[webhook]]\nurl = "https://x"\nsecret = {secret}')

    said = 'name where it is, "env:NAME" or "file:/path", never what it is; an array names several'
    assert found == [f"webhook.0.secret: {said}"]


@pytest.mark.parametrize(
    "secret",
    ["env:A_1", "file:/run/secrets/a", ["env:A", "file:b"]],
    ids=["variable", "file", "several"],
)
def test_a_secret_is_named_by_its_place(secret):
    """A variable, a file, or several while one replaces another."""
    config = load_config(overrides={"webhook": [{"url": "https://x", "secret": secret}]})

    assert config.webhook[0].secret == (tuple(secret) if isinstance(secret, list) else secret)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        (None, None),
        ("", None),
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:9464", ("::1", 9464)),
    ],
)
def test_where_health_is_told_is_a_host_and_a_port(listen, address):
    """An address of the sixth version stands in brackets; none is nowhere."""
    config = load_config(overrides={"health": {"listen": listen}})

    assert config.health.address == address


@pytest.mark.parametrize(
    "option",
    ["sasl.password", "ssl.key.password", "ssl.key.pem", "ssl.keystore.password", "sasl.oauthbearer.client.secret", "sasl.oauthbearer.config", "sasl.oauthbearer.assertion.private.key.passphrase"],
)  # fmt: skip
@pytest.mark.parametrize("side", ["source", "sink"])
def test_secrets_of_kafka_are_named_by_their_place_and_not_repeated(tmp_path, side, option):
    """What is a secret among librdkafka's options is a variable or a file, or refused unseen."""
    text = f"[{side}.kafka.config]\n{option} = "

    found = problems_of(tmp_path, text + '"hunter2"')
    config = load_config(written(tmp_path, text + '"env:PASSWORD"'))

    said = 'name where it is, "env:NAME" or "file:/path", never what it is'
    assert found == [f"{side}.kafka.config: {option}: {said}"]
    assert getattr(config, side).kafka.config == {option: "env:PASSWORD"}


def test_kafkas_options_may_be_written_as_toml_likes_them(tmp_path):
    """Quoted, dotted or in tables, they are the same options, as librdkafka's texts."""
    text = """
        [source.kafka]
        start = 2026-11-22T00:00:00+01:00
        [source.kafka.config]
        "client.id" = "a"
        sasl.mechanism = "PLAIN"
        log.connection.close = false
        fetch.wait.max.ms = 5
        [source.kafka.config.ssl]
        ca.location = "/ca.pem"
    """

    kafka = load_config(written(tmp_path, text)).source.kafka

    assert kafka.start == "2026-11-22T00:00:00+01:00"
    assert kafka.config == {
        "client.id": "a",
        "sasl.mechanism": "PLAIN",
        "log.connection.close": "false",
        "fetch.wait.max.ms": "5",
        "ssl.ca.location": "/ca.pem",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[events\nshards = 1", "line 1"),
        ("[events]\nshards = 1\nshards = 2\n", "line 3"),
        ('[events]\n\n\nshards = "\n', "line 4"),
    ],
)
def test_what_is_not_toml_is_named_with_its_line(tmp_path, text, said):
    """An editor finds the place."""
    (problem,) = problems_of(tmp_path, text)

    assert problem.startswith("not TOML: ")
    assert said in problem


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """It is not there, is a directory, or is no text."""
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")

    for path, said in (
        (tmp_path / "nowhere.toml", "no such file"),
        (tmp_path, "cannot be read: "),
        (binary, "cannot be read: "),
    ):
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        (problem,) = caught.value.problems
        assert problem.startswith(f"{path}: {said}")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://astray:hunter2@db.example.com/cases",
        "postgresql://astray:hunter2@db.example.com:5432/cases?sslmode=require",
        "postgresql://astray:hun/ter2?@db.example.com/cases",
        "postgresql://astray:@db.example.com/cases",
        "postgresql://astray@db.example.com/cases?sslmode=require&password=hunter2",
        "postgresql://db.example.com/cases?sslpassword=hunter2",
    ],
)
def test_a_store_with_a_password_is_refused_without_it(tmp_path, url):
    """A configuration is shown and shared; the password stays where it is kept."""
    said = "store.url: has a password: name where the whole URL is, env:NAME or file:/path"

    assert problems_of(tmp_path, f'[store]\nurl = "{url}"') == [said]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "postgresql+psycopg://astray@db.example.com:5432/cases?sslmode=require",
        "postgresql:///cases?host=/run/postgresql",
        "postgresql://[::1]:5432/cases",
        "env:ASTRAY_STORE_URL",
        "file:/run/secrets/store",
    ],
)
def test_a_store_may_be_on_either_database_or_be_kept_elsewhere(tmp_path, url):
    """What the configuration says is kept as it is: where a secret is, not the secret."""
    config = load_config(written(tmp_path, f'[store]\nurl = "{url}"'))

    assert config.store.url == url


def test_mistakes_of_the_command_line_have_no_file():
    """They are the configuration's."""
    with pytest.raises(ConfigError, match=r"^configuration: store\.url: "):
        load_config(overrides={"store": {"url": "mysql://x"}})


def test_there_are_as_many_policies_as_there_is_room_for_tags():
    """Two bits for each, the default policy's among them, below those of what is sensitive."""
    policies = [{"name": f"p{number}"} for number in range(POLICIES_MAX)]

    assert len(load_config(overrides={"policy": policies[:-1]}).policies) == POLICIES_MAX == 62 // 2
    with pytest.raises(ConfigError, match="policy: array should have at most 30 items"):
        load_config(overrides={"policy": policies})


def test_a_policy_inherits_neither_name_nor_match():
    """A default policy with a name of its own does not give it away."""
    config = load_config(
        overrides={
            "default_policy": {"name": "everyone", "mode": "observe"},
            "policy": [{"match": {"agents": ["a"]}}],
        }
    )

    assert [policy.name for policy in config.policies] == ["default", "everyone"]
    assert [policy.mode for policy in config.policies] == ["observe", "observe"]


@pytest.mark.parametrize(
    ("changes", "model", "config"),
    [
        ({}, False, False),
        ({"events": {"shards": load_config().events.shards}}, False, False),
        ({"sessions": {"idle_s": 1800.0}}, False, False),
        ({"events": {"shards": 5}}, True, True),
        ({"sessions": {"idle_s": 1801}}, True, True),
        ({"baseline": {"half_life_days": 20.0}}, True, True),
        ({"learning": {"suspicious_bits": 5.0}}, True, True),
        ({"reference": {"sessions_max": 40_000}}, True, True),
        ({"detector": [{"name": "a", "model": "x"}]}, True, True),
        ({"sensitive": {"actions": []}}, False, False),
        ({"sensitive": {"resources": ["prod/*"]}}, True, True),
        ({"default_policy": {"mode": "observe"}}, False, True),
        ({"policy": [{"name": "a"}]}, False, True),
        ({"webhook": [WEBHOOK]}, False, True),
        ({"delivery": {"flush_s": 1.0}}, False, True),
        ({"store": {"url": "sqlite:///other.db"}}, False, True),
        ({"alerts": {"stdout": "off"}}, False, True),
        ({"rejects": {"file": "r"}}, False, True),
        ({"recovery": {"interval_s": 1.0}}, False, True),
        ({"source": {"kafka": {"group": "g"}}}, False, True),
        ({"sink": {"kafka": {"alerts": "a"}}}, False, True),
        ({"health": {"listen": "127.0.0.1:9464"}}, False, False),
        ({"blindness": {"silent_after_s": 60.0}}, False, False),
        ({"review": {"false_per_million": 1.0}}, False, False),
        ({"flood": {"agents_min": 16}}, True, True),
        ({"flood": {"times_usual": 8.0}}, True, True),
        ({"flood": {"learn_days": 1.0}}, False, False),
    ],
    ids=lambda value: ".".join(value) or "nothing" if isinstance(value, dict) else str(value),
)  # fmt: skip
def test_hashes_change_when_and_only_when_they_should(changes, model, config):
    """The model's with what scores depend on, the configuration's with anything."""
    before, after = load_config(), load_config(overrides=changes)

    assert (before.model_hash != after.model_hash) is model
    assert (before.config_hash != after.config_hash) is config
    assert re.fullmatch(r"[0-9a-f]{16}", after.model_hash)


def test_every_section_is_in_the_hashes_that_concern_it():
    """A section that is added later is thought of: it is in one list or the other."""
    scoring = {
        "events", "sessions", "baseline", "learning", "reference", "detector", "sensitive", "grants",
        "flood",
    }  # fmt: skip
    acting = {
        "default_policy",
        "policy",
        "webhook",
        "delivery",
        "store",
        "alerts",
        "rejects",
        "recovery",
        "source",
        "sink",
        "health",
        "blindness",
        "review",
    }

    assert set(Config.model_fields) == scoring | acting


def test_policies_can_be_changed_together():
    """What the command line says of thresholds and mode holds in every policy."""
    config = load_config(overrides={"policy": [{"name": "a", "mode": "observe"}]})

    changed = with_policies(config, mode="enforce", suspend=Threshold(score=70.0))

    assert [policy.mode for policy in changed.policies] == ["enforce", "enforce"]
    assert [policy.suspend.as_score for policy in changed.policies] == [70.0, 70.0]
    assert [policy.name for policy in changed.policies] == ["a", "default"]
    assert [policy.mode for policy in config.policies] == ["observe", "auto"]


def test_a_configuration_cannot_be_changed_in_place():
    """What was hashed stays what it was."""
    config = load_config()

    with pytest.raises(ValueError, match="frozen"):
        config.sessions.idle_s = 1.0
