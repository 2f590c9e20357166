"""What is said of Kafka on the command line, and how its partitions are called."""

from collections.abc import Sequence
from dataclasses import dataclass

from astray.config_kafka import KafkaSource

SCHEME = "kafka://"

_FORM = "kafka://BROKER:PORT[,BROKER:PORT]/TOPIC[,TOPIC], or kafka:// for what [source.kafka] says"


@dataclass(frozen=True, slots=True)
class Address:
    """Brokers, and topics at them."""

    brokers: tuple[str, ...]
    topics: tuple[str, ...]

    @property
    def servers(self) -> str:
        """Return the brokers as librdkafka wants them."""
        return ",".join(self.brokers)


def is_kafka(name: str) -> bool:
    """Return whether a source is Kafka's."""
    return name.startswith(SCHEME)


def parse(name: str, config: KafkaSource) -> Address | str:
    """Return what a `kafka://` source names, or what is wrong with it, in a sentence."""
    rest = name.removeprefix(SCHEME)
    if "@" in rest:  # not repeated: a password may stand before it
        return "kafka://: a name and a password belong to [source.kafka.config], not to --source"
    if not rest:
        return _configured(config)
    servers, slash, topics = rest.partition("/")
    address = Address(_parts(servers), _parts(topics))
    if not slash or "" in (*address.brokers, *address.topics) or "/" in topics:
        return f"{name}: should be {_FORM}"
    twice = _twice(address.topics)
    return f"{name}: topic {twice} is given twice" if twice else address


def parse_all(names: Sequence[str], config: KafkaSource) -> tuple[Address, list[str]]:
    """Return what several `kafka://` sources name together, and what is wrong with them.

    They are one cluster's topics: its options, its group and its way are one.
    """
    parsed = [parse(name, config) for name in names]
    problems = [one for one in parsed if isinstance(one, str)]
    addresses = [one for one in parsed if isinstance(one, Address)]
    if problems:
        return Address((), ()), problems
    clusters = list(dict.fromkeys(tuple(sorted(one.brokers)) for one in addresses))
    if len(clusters) > 1:
        told = " and ".join(",".join(cluster) for cluster in clusters)
        problems.append(f"kafka://: the brokers should be the same in all sources, not {told}")
    topics = tuple(topic for one in addresses for topic in one.topics)
    twice = _twice(topics)
    if twice:
        problems.append(f"kafka://: topic {twice} is given twice")
    return Address(addresses[0].brokers, topics), problems


def _configured(config: KafkaSource) -> Address | str:
    missing = [name for name in ("brokers", "topics") if not getattr(config, name)]
    if missing:
        return f"kafka://: {' and '.join(missing)} of [source.kafka] are not set"
    twice = _twice(config.topics)
    if twice:
        return f"kafka://: topic {twice} of [source.kafka] is given twice"
    return Address(config.brokers, config.topics)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _twice(names: Sequence[str]) -> str:
    return ", ".join(sorted({name for name in names if names.count(name) > 1}))


def topic_name(topic: str) -> str:
    """Return the name of a topic among the sources."""
    return f"kafka:{topic}"


def partition_name(topic: str, number: int) -> str:
    """Return the name of a partition among the sources: its clock and its place go by it."""
    return f"kafka:{topic}/{number}"


def feed_of(source: str) -> str:
    """Return what a source is a part of: the topic of a partition, otherwise itself.

    Silent is a topic or a file. A partition is for whatever its few agents do.
    """
    topic, slash, number = source.rpartition("/")
    is_partition = source.startswith("kafka:") and bool(slash) and number.isdecimal()
    return topic if is_partition else source
