"""Ways into a secured cluster: each lets in who has what it wants, and tells others in a sentence."""

import logging
import time
from dataclasses import replace

import orjson
import pytest
from kafka_security import Certificates, TokenEndpoint, placed
from kafka_topics import Run, Site

from astray.config import load_config
from astray.errors import ConfigError, Passing
from astray.flow.kafka.connecting import connect
from running import astray, started, stopped, until

WRONG = "hunter2-hunter2"


@pytest.fixture
def endpoint():
    """Return a token endpoint whose tokens last as long as a test."""
    with TokenEndpoint() as serving:
        yield serving


@pytest.fixture(params=["plain", "scram", "mutual", "oauth"])
def way(request, secured, endpoint):
    """Return the cluster with what a client has to show, for every way in."""
    return way_in(secured, endpoint, request.param)


def way_in(secured: Site, endpoint: TokenEndpoint, kind: str) -> Site:
    """Return the cluster with what a client has to show."""
    security = secured.node.security
    if kind == "mutual":
        return replace(secured, address=secured.node.mutual_address, options=security.mutual())
    asks = {
        "plain": security.plain,
        "scram": security.scram,
        "oauth": lambda: security.oauth(endpoint.url),
    }
    return replace(secured, options=asks[kind]())  # fmt: skip


def refused(site: Site, **changes: str) -> str:
    """Return the one sentence that somebody hears who is not let in."""
    options, environment = placed({**site.options, **changes})
    config = load_config(overrides={"source": {"kafka": {"config": options}}})
    with pytest.raises(ConfigError) as caught:
        connect(config, [site.url("topic")], environment)
    (problem,) = caught.value.problems
    return problem


def test_every_way_in_leads_to_the_messages(way):
    """With a password, a certificate or a token, what is there is read to the end."""
    topic = way.topic()
    way.put(topic, [b"1", b"2"])

    with Run(way, topic) as run:
        values = run.read(2)

    assert values == [b"1", b"2"]


def test_what_a_run_knows_of_a_cluster_shows_no_secret(secured):
    """A password comes from its place, and stays where it is used."""
    options, environment = placed(secured.options)
    config = load_config(overrides={"source": {"kafka": {"config": options}}})

    found = connect(config, [secured.url(secured.topic())], environment)

    assert len(found.names) == 1
    assert not any(secret in repr(found) for secret in environment.values())
    assert all(f"env:{name}" in config.model_dump_json() for name in environment)


CONFIG = """
[source.kafka.config]
{options}
[sink.kafka]
brokers = ["{address}"]
rejects = "{rejects}"
[sink.kafka.config]
{options}
"""


@pytest.mark.slow
def test_a_run_reads_and_writes_on_every_way(way, tmp_path):
    """From the command line on: dead letters arrive, and no secret is shown anywhere."""
    source, rejects = way.topic(), way.topic()
    way.put(source, [b"no event"])
    options, environment = placed(way.options)
    lines = "\n".join(f'"{name}" = "{value}"' for name, value in options.items())
    config = CONFIG.format(options=lines, address=way.address, rejects=rejects)
    (tmp_path / "astray.toml").write_text(config)

    process = started(
        "run", "--source", way.url(source), "--config", "astray.toml", cwd=tmp_path, **environment
    )
    (letter,) = way.all_of(rejects, 1)
    said = stopped(process)
    shown = astray("config", "show", "--config", "astray.toml", cwd=tmp_path, **environment)

    assert letter.value() == b"no event"
    assert b"rejects: 1 not_json" in said
    kept = orjson.loads(shown.stdout)["source"]["kafka"]["config"]
    assert {kept[name] for name in kept if options[name].startswith("env:")} == {
        f"env:{name}" for name in environment
    }
    assert not any(secret.encode() in said + shown.stdout for secret in environment.values())


@pytest.mark.parametrize("kind", ["plain", "scram"])
def test_a_wrong_password_is_told_without_it(kind, secured, endpoint):
    """Both where it is sent and where only a proof of it is."""
    way = way_in(secured, endpoint, kind)
    begun_s = time.monotonic()

    problem = refused(way, **{"sasl.password": WRONG})

    assert problem.startswith(f"kafka {way.address}: ")
    assert "uthentication failed" in problem
    assert WRONG not in problem
    assert not isinstance(problem, Passing)
    assert time.monotonic() - begun_s < 8.0


def test_a_broker_that_nobody_vouches_for_is_not_believed(secured):
    """Without the authority's certificate its own says nothing."""
    options = {key: secured.options[key] for key in secured.options if key != "ssl.ca.location"}

    problem = refused(replace(secured, options=options))

    assert "certificate" in problem


def test_a_client_without_a_certificate_is_told_so(secured, endpoint):
    """The broker's alert is handed on at once, not the fruitless wait for an answer."""
    way = way_in(secured, endpoint, "mutual")
    begun_s = time.monotonic()

    problem = refused(replace(way, options=secured.node.security.anonymous()))

    assert problem.startswith(f"kafka {way.address}: ")
    assert "alert bad certificate" in problem
    assert time.monotonic() - begun_s < 8.0


def test_a_certificate_of_another_authority_is_told(secured, endpoint, tmp_path):
    """Having one is not enough."""
    way = way_in(secured, endpoint, "mutual")
    options = secured.node.security.mutual(Certificates(tmp_path, "stranger"))

    problem = refused(replace(way, options=options))

    assert "certificate" in problem


def test_a_key_that_its_password_does_not_open_is_told(secured, endpoint):
    """Before any broker is asked, with the option and without the password."""
    problem = refused(way_in(secured, endpoint, "mutual"), **{"ssl.key.password": WRONG})

    assert problem.startswith("source.kafka.config: ")
    assert "ssl.key.location" in problem
    assert WRONG not in problem


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("sasl.oauthbearer.client.secret", WRONG, "invalid_client"),
        ("sasl.oauthbearer.scope", "elsewhere", "insufficient_scope"),
    ],
    ids=["by the endpoint", "by the broker"],
)
def test_a_token_that_is_refused_is_told(name, value, said, secured, endpoint):
    """What the endpoint or the broker says of it is handed on, without the secret."""
    problem = refused(way_in(secured, endpoint, "oauth"), **{name: value})

    assert problem.startswith(f"kafka {secured.address}: ")
    assert said in problem
    assert WRONG not in problem
    assert not isinstance(problem, Passing)


def test_an_endpoint_that_does_not_answer_may_come_back(secured):
    """Nobody listens there: a sentence, of the kind that the next start may not have."""
    with TokenEndpoint() as endpoint:
        way = way_in(secured, endpoint, "oauth")

    problem = refused(way)

    assert "connect" in problem
    assert isinstance(problem, Passing)


@pytest.mark.slow
def test_an_endpoint_that_is_away_for_a_while_is_waited_for(secured, caplog):
    """Tokens run out while nobody gives new ones; reading goes on with the next."""
    topic = secured.topic()
    with TokenEndpoint(lasts_s=5.0) as short:
        way = way_in(secured, short, "oauth")
        secured.put(topic, [b"1"])
        with Run(way, topic, partitions_every_s=0.5) as run, caplog.at_level(logging.WARNING):
            before = run.read(1)
            short.broken.set()
            until(lambda: run.polled() or "trying again" in caplog.text, "a token that is missed")
            given = short.given
            time.sleep(6.0)
            short.broken.clear()
            secured.put(topic, [b"2"])
            after = run.read(1)

    assert (before, after) == ([b"1"], [b"2"])
    assert short.given > given
