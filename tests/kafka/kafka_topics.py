"""What tests of Kafka share: topics with messages in them, and readers to read them."""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from kafka_broker import Node
from kafka_security import placed

from astray.config import Config, load_config
from astray.events import Chunk
from astray.flow.kafka.connecting import connect
from astray.flow.sources import Places, Reader, Reading, Sources
from running import WAIT_S, until

_numbers = itertools.count()


@dataclass(frozen=True)
class Site:
    """A cluster, and what a test does to it beside astray."""

    address: str
    options: Mapping[str, str] = field(default_factory=dict)
    node: Node | None = None
    is_mock: bool = False

    @property
    def client(self) -> dict[str, str]:
        """Return a client's configuration."""
        return {"bootstrap.servers": self.address, "log_level": "0", **self.options}

    @property
    def admin(self) -> AdminClient:
        """Return who makes topics."""
        return AdminClient(self.client)

    def topic(self, partitions: int = 1, copies: int = 1, **config: str) -> str:
        """Make a topic nobody else uses; return its name."""
        name = f"topic-{os.getpid()}-{next(_numbers)}"
        if not self.is_mock:
            given = {key.replace("_", "."): value for key, value in config.items()}
            new = NewTopic(name, partitions, copies, config=given)
            admin = self.admin  # which must live until it has its answer
            admin.create_topics([new])[name].result()
            until(lambda: self._led(admin, name) == partitions, f"{name} to be there")
        return name

    @staticmethod
    def _led(admin: AdminClient, topic: str) -> int:
        """Return how many partitions of a topic a broker knows to have a leader.

        A topic that has been made is known to the brokers a little later.
        """
        found = admin.list_topics(timeout=WAIT_S).topics.get(topic)
        return 0 if found is None else sum(one.leader >= 0 for one in found.partitions.values())

    def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions."""
        admin = self.admin
        admin.create_partitions([NewPartitions(topic, partitions)])[topic].result()
        until(lambda: self._led(admin, topic) == partitions, f"{topic} to have grown")

    def delete_before(self, topic: str, offset: int) -> None:
        """Delete the first messages of a topic's one partition, as retention does."""
        admin, place = self.admin, TopicPartition(topic, 0, offset)
        admin.delete_records([place])[place].result()

    def put(self, topic: str, values: Iterable[bytes | None], partition: int = 0, **more) -> None:
        """Write messages, and wait until they are there."""
        options = {"message.max.bytes": "9000000", "linger.ms": "1", "enable.idempotence": "true"}
        producer = Producer(
            {**self.client, **options}
        )  # a batch that is sent again keeps its place
        failed = []

        def landed(error, _):
            if error:
                failed.append(error)

        for value in values:
            producer.produce(topic, value, partition=partition, on_delivery=landed, **more)
            producer.poll(0)
        assert producer.flush(WAIT_S) == 0
        assert failed == []

    def all_of(self, topic: str, count: int) -> list[Message]:
        """Return the messages of a topic, for which it waits; no more may come."""
        options = {
            "group.id": "test",
            "enable.auto.commit": "false",
            "auto.offset.reset": "earliest",
        }
        consumer = Consumer({**self.client, **options})
        partitions = consumer.list_topics(topic).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        found: list[Message] = []
        until_s = time.monotonic() + WAIT_S
        while len(found) < count:
            found += [m for m in consumer.consume(1000, 0.2) if m.error() is None]
            assert time.monotonic() < until_s, f"{len(found)} of {count} messages"
        found += [m for m in consumer.consume(1000, 0.5) if m.error() is None]
        consumer.close()
        return found

    def config(self, **kafka) -> Config:
        """Return a configuration whose source is this cluster."""
        options, _ = placed({**self.options, **kafka.pop("config", {})})
        return load_config(overrides={"source": {"kafka": {"config": options, **kafka}}})

    def url(self, *topics: str) -> str:
        """Return what `--source` is given."""
        return f"kafka://{self.address}/{','.join(topics)}"


class Run:
    """The readers of a run over topics, without an engine; to be left like a file."""

    def __init__(
        self,
        site: Site,
        *topics: str,
        places: Sequence[Places] = (),
        **kafka,
    ) -> None:
        self.reading = Reading()
        self._stack = ExitStack()
        _, environment = placed(site.options)
        found = connect(site.config(**kafka), [site.url(*topics)], environment)
        self.names = found.names
        feeds = found.feeds(self.reading, self._stack)
        sources = Sources([], self.reading, feeds)
        keys = sources.list_parts()
        kept = list(places) or [None] * len(keys)
        self.readers: list[Reader] = [
            sources.build_part("read", key, state) for key, state in zip(keys, kept, strict=True)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self.readers:
            reader.close()
        self._stack.close()

    def places(self) -> list[Places]:
        """Return the states of the readers."""
        return [reader.snapshot() for reader in self.readers]

    def polled(self) -> list[Chunk]:
        """Ask every reader once; an error is raised as a run raises it."""
        chunks = []
        for reader in self.readers:
            try:
                chunks += reader.next_batch()
            except StopIteration:
                self.reading.raise_fault()
        return [chunk for chunk in chunks if not chunk.silent]

    def until(
        self, enough: Callable[[list[Chunk]], bool], chunks: Sequence[Chunk] = ()
    ) -> list[Chunk]:
        """Ask until there is enough."""
        found = list(chunks)
        until_s = time.monotonic() + WAIT_S
        while not enough(found):
            found += self.polled()
            assert time.monotonic() < until_s, f"waited in vain; got {len(values_of(found))} values"
        return found

    def read(self, count: int) -> list[bytes]:
        """Read so many messages; return their lines."""
        return values_of(self.until(lambda chunks: len(values_of(chunks)) >= count))


def values_of(chunks: Sequence[Chunk], source: str = "") -> list[bytes]:
    """Return the lines of chunks, of one source if it is named."""
    chosen = [chunk for chunk in chunks if source in ("", chunk.source)]
    return [line for chunk in chosen for line in chunk.data.split(b"\n")[:-1]]
