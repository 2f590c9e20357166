"""What people get wrong with Kafka: sentences at the start, all at once, and no secret in them."""

import socket
import time

import pytest

from astray.config import load_config
from astray.errors import ConfigError, Passing
from astray.flow.kafka.address import Address, parse, parse_all
from astray.flow.kafka.connecting import connect

KAFKA = load_config().source.kafka


def problems(
    sources: list[str], environment: dict[str, str] | None = None, **sections
) -> list[str]:
    """Return what keeps a run from reading and writing Kafka."""
    overrides = {side: {"kafka": kafka} for side, kafka in sections.items()}
    with pytest.raises(ConfigError) as caught:
        connect(load_config(overrides=overrides), sources, environment or {})
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("kafka://b:9092/t", Address(("b:9092",), ("t",))),
        (
            "kafka://b:9092,[::1]:9093/t,u.v-w_x",
            Address(("b:9092", "[::1]:9093"), ("t", "u.v-w_x")),
        ),
    ],
)
def test_brokers_and_topics_are_named_on_the_command_line(name, address):
    """Several brokers, several topics."""
    assert parse(name, KAFKA) == address


def test_the_scheme_alone_is_what_the_configuration_says():
    """`kafka://` has the brokers and topics of [source.kafka]."""
    config = KAFKA.model_copy(update={"brokers": ("b:1", "c:2"), "topics": ("t",)})

    assert parse("kafka://", config) == Address(("b:1", "c:2"), ("t",))


FORM = "should be kafka://BROKER:PORT[,BROKER:PORT]/TOPIC[,TOPIC], or kafka:// for what [source.kafka] says"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kafka://", "kafka://: brokers and topics of [source.kafka] are not set"),
        ("kafka://b:9092", f"kafka://b:9092: {FORM}"),
        ("kafka://b:9092/", f"kafka://b:9092/: {FORM}"),
        ("kafka:///t", f"kafka:///t: {FORM}"),
        ("kafka://b:9092/t/u", f"kafka://b:9092/t/u: {FORM}"),
        ("kafka://b:9092/t,,u", f"kafka://b:9092/t,,u: {FORM}"),
        ("kafka://b:9092/t,u,t", "kafka://b:9092/t,u,t: topic t is given twice"),
        ("kafka://me:hunter2@b:9092/t", "kafka://: a name and a password belong to [source.kafka.config], not to --source"),
    ],
)  # fmt: skip
def test_a_name_that_is_none_is_a_sentence(name, said):
    """Each has its sentence, and a password in it is not repeated."""
    assert parse(name, KAFKA) == said


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["kafka://b:1/t", "kafka://c:1/u"],
            ["kafka://: the brokers should be the same in all sources, not b:1 and c:1"],
        ),
        (
            ["kafka://b:1,c:1/t", "kafka://b:1/u"],
            ["kafka://: the brokers should be the same in all sources, not b:1,c:1 and b:1"],
        ),
        (["kafka://b:1/t,u", "kafka://b:1/u"], ["kafka://: topic u is given twice"]),
        (
            ["kafka://b:1/t", "kafka://b:1", "kafka://"],
            [f"kafka://b:1: {FORM}", "kafka://: brokers and topics of [source.kafka] are not set"],
        ),
    ],
    ids=["two clusters", "some brokers more", "a topic twice", "two that are none"],
)
def test_sources_that_do_not_go_together_are_told(names, said):
    """One cluster is read, and each of its topics once."""
    assert problems(names) == said


def test_topics_of_one_cluster_may_be_given_apart(broker):
    """Several sources are the topics of all of them, in the order they are given."""
    one, two, three = (broker.topic(partitions=2) for _ in range(3))
    kafka = {"brokers": [broker.address], "topics": [three]}

    found = connect(
        load_config(overrides={"source": {"kafka": kafka}}),
        [broker.url(one), "events.jsonl", broker.url(two), "kafka://"],
        {},
    )

    names = [f"kafka:{topic}/{number}" for topic in (one, two, three) for number in (0, 1)]
    assert found.names == ["events.jsonl", *names]


def test_brokers_may_be_given_in_any_order():
    """The same brokers are the same cluster."""
    address, said = parse_all(["kafka://b:1,c:1/t", "kafka://c:1,b:1/u"], KAFKA)

    assert (address, said) == (Address(("b:1", "c:1"), ("t", "u")), [])


def test_places_that_hold_no_secret_are_all_named(tmp_path):
    """Variables that are not set and files that are not there, of both sides."""
    config = {"sasl.password": "env:NOBODY", "ssl.key.password": f"file:{tmp_path}/none"}

    found = problems(
        ["kafka://b:1/t"], source={"config": config},
        sink={"alerts": "a", "config": {"sasl.password": "env:NOBODY"}},
    )  # fmt: skip

    assert found == [
        "source.kafka.config: sasl.password: env:NOBODY is not set in the environment",
        f"source.kafka.config: ssl.key.password: file:{tmp_path}/none No such file or directory",
        "sink.kafka.config: sasl.password: env:NOBODY is not set in the environment",
        "sink.kafka: brokers are not set",
    ]


def test_options_that_librdkafka_does_not_know_are_all_named():
    """It stops at the first; astray does not."""
    config = {
        "fetch.wait.max.ms": 5,
        "nope": 1,
        "securty.protocol": "SSL",
        "sasl.mechanism": "PLAIN",
    }

    assert problems(["kafka://b:1/t"], source={"config": config}) == [
        'source.kafka.config: No such configuration property: "nope"',
        'source.kafka.config: No such configuration property: "securty.protocol"',
    ]


def test_an_option_out_of_range_is_named():
    """What librdkafka says of a value is handed on, with the section."""
    (problem,) = problems(["kafka://b:1/t"], source={"config": {"fetch.wait.max.ms": -7}})

    assert problem.startswith("source.kafka.config: ")
    assert '"fetch.wait.max.ms"' in problem


def test_a_secret_in_the_wrong_place_is_not_repeated():
    """A value that librdkafka does not take it repeats; what came from a variable is masked."""
    config = {"security.protocol": "env:KAFKA_PASSWORD"}

    (problem,) = problems(
        ["kafka://b:1/t"], {"KAFKA_PASSWORD": "hunter2"}, source={"config": config}
    )

    assert problem == (
        'source.kafka.config: Invalid value "***" for configuration property "security.protocol"'
    )


@pytest.mark.slow
def test_a_broker_that_does_not_answer_is_named():
    """Nobody listens: a sentence after some seconds, and no stack of librdkafka's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    begun_s = time.monotonic()

    (problem,) = problems([f"kafka://127.0.0.1:{port}/t"])

    assert problem.startswith(f"kafka 127.0.0.1:{port}: no broker answers")
    assert isinstance(problem, Passing)
    assert time.monotonic() - begun_s < 15.0


def test_topics_that_are_not_there_are_all_named(broker):
    """Those to read and those to write; none is made."""
    there = broker.topic()

    found = problems(
        [broker.url("gone-1", there, "gone-2")],
        sink={"brokers": [broker.address], "alerts": there, "rejects": "gone-3"},
    )

    assert found == [f"kafka {broker.address}: there is no topic gone-{n}" for n in (1, 2, 3)]
    assert not any(name.startswith("gone") for name in broker.admin.list_topics(timeout=5).topics)
