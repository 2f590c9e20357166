"""A broker for all tests of Kafka: the real one where it can be had."""

import os
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer
from kafka_broker import Node, jars, nodes
from kafka_topics import Site

_HOW = "set ASTRAY_TEST_KAFKA=host:port, or ASTRAY_KAFKA_JARS to a directory of Kafka's jars"


def _needed() -> None:
    found = jars()
    if isinstance(found, str):
        pytest.skip(f"NO REAL KAFKA, so this is not tested: {found}; {_HOW}")


@pytest.fixture(scope="session")
def _shared(tmp_path_factory) -> Iterator[Node | None]:
    if isinstance(jars(), str):
        yield None
        return
    (node,) = nodes(tmp_path_factory.mktemp("kafka"))
    node.start()
    yield node
    node.kill()


@pytest.fixture(scope="session")
def broker(request) -> Site:
    """Return a real broker that is shared: tests use topics of their own, and leave it running."""
    address = os.environ.get("ASTRAY_TEST_KAFKA", "")
    if address:
        return Site(address)
    _needed()
    node = request.getfixturevalue("_shared")
    return Site(node.address, node=node)


@pytest.fixture(scope="session")
def protocol(request) -> Iterator[Site]:
    """Return the real broker or, without one, librdkafka's own, which knows the protocol."""
    if os.environ.get("ASTRAY_TEST_KAFKA") or not isinstance(jars(), str):
        yield request.getfixturevalue("broker")
        return
    mock = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    (one,) = mock.list_topics(timeout=10).brokers.values()
    yield Site(f"{one.host}:{one.port}", is_mock=True)
    mock.flush(1)


@pytest.fixture
def own_broker(tmp_path) -> Iterator[Site]:
    """Return a real broker that the test may stop and kill."""
    _needed()
    (node,) = nodes(tmp_path / "kafka")
    node.start()
    yield Site(node.address, node=node)
    node.kill()


@pytest.fixture(scope="session")
def secured(tmp_path_factory) -> Iterator[Site]:
    """Return a real broker that wants TLS, and a password, a token or a certificate."""
    _needed()
    (node,) = nodes(tmp_path_factory.mktemp("kafka-secured"), secured=True)
    node.start()
    yield Site(node.address, node.security.plain(), node)
    node.kill()
