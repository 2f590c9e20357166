"""Everything of Kafka that a run has to do with: looked at first, with all that is wrong."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace

from confluent_kafka import Consumer

from astray.config import Config
from astray.config_kafka import KafkaSink
from astray.errors import ConfigError
from astray.flow.alerting import ALERT, DECISION
from astray.flow.counters import Counters
from astray.flow.kafka.address import is_kafka, parse_all, partition_name
from astray.flow.kafka.letters import LettersTopic, Patience
from astray.flow.kafka.link import Link, first_look, option_problems, resolved
from astray.flow.kafka.publishing import Publishing
from astray.flow.kafka.topics import Topics
from astray.flow.kafka.verdicts import VerdictsTopic
from astray.flow.reading import Reading
from astray.flow.sources import Feed
from astray.store import Store

_SOURCE, _SINK = "source.kafka.config", "sink.kafka.config"


@dataclass(frozen=True)
class Kafka:
    """What a run reads from Kafka and writes to it, as it was found by `connect`.

    `files` are the sources that are not Kafka's. `source`, `sink` and `told` are the ways to the
    clusters to read from, to write to, and where verdicts are; None where there is nothing to do.
    """

    config: Config
    files: tuple[str, ...] = ()
    counts: Mapping[str, int] | None = None
    source: Link | None = None
    sink: Link | None = None
    told: Link | None = None

    @property
    def names(self) -> list[str]:
        """Return the names of all sources; a partition is one."""
        counts = self.counts or {}
        return [*self.files, *(partition_name(t, n) for t in counts for n in range(counts[t]))]

    def feeds(self, reading: Reading, stack: ExitStack) -> list[Feed]:
        """Return what the readers read of Kafka, until the stack is left."""
        if self.source is None:
            return []
        config, counts = self.config.source.kafka, dict(self.counts or {})
        return [stack.enter_context(Topics(self.source, config, counts, reading))]

    def verdicts(self, store: Store, counters: Counters) -> AbstractContextManager[object]:
        """Return what reads verdicts into the case store, once entered; without a topic nothing."""
        link, config = self.told, self.config.source.kafka
        if link is None or config.verdicts is None:
            return nullcontext()
        return VerdictsTopic(link.fresh(), config.verdicts, config.group, store, counters)

    def letters(self, reading: Reading) -> Callable[[], LettersTopic] | None:
        """Return how to open the topic of rejects, if there is to be one."""
        link, topic = self.sink, self.config.sink.kafka.rejects
        if link is None or topic is None:
            return None
        return lambda: LettersTopic(link.fresh(), topic, Patience(reading.stop))

    def publishing(self, store: Store) -> list[Publishing]:
        """Return the topics that get what the store records."""
        sink, link = self.config.sink.kafka, self.sink
        if link is None:
            return []
        topics = ((ALERT, sink.alerts), (DECISION, sink.decisions))
        return [Publishing(link.fresh(), topic, store, kind) for kind, topic in topics if topic]


def connect(config: Config, sources: Sequence[str], environment: Mapping[str, str]) -> Kafka:
    """Look at all that is read from Kafka and written to it.

    Raises
    ------
    ConfigError
        Something cannot be used; everything is named at once.
    """
    kafka = Kafka(config, tuple(name for name in sources if not is_kafka(name)))
    kafka, problems = _with_source(kafka, list(filter(is_kafka, sources)), environment)
    kafka, told = _with_verdicts(kafka, environment)
    problems += [problem for problem in told if problem not in problems]
    sink = config.sink.kafka
    if _written(sink):
        link, found = _link(",".join(sink.brokers), sink.config, _SINK, environment)
        if not sink.brokers:
            found.append("sink.kafka: brokers are not set")
        if not found:
            found = _looked(link, _written(sink))[1]
        kafka, problems = replace(kafka, sink=link), [*problems, *found]
    if problems:
        raise ConfigError(problems)
    return kafka


def _written(sink: KafkaSink) -> list[str]:
    return list(filter(None, (sink.alerts, sink.decisions, sink.rejects)))


def _with_source(
    kafka: Kafka, given: Sequence[str], environment: Mapping[str, str]
) -> tuple[Kafka, list[str]]:
    if not given:
        return kafka, []
    config = kafka.config.source.kafka
    address, unclear = parse_all(given, config)
    link, problems = _link(address.servers, config.config, _SOURCE, environment)
    if unclear or problems:
        return kafka, [*unclear, *problems]
    counts, problems = _looked(link, address.topics)
    return replace(kafka, source=link, counts=counts), problems


def _with_verdicts(kafka: Kafka, environment: Mapping[str, str]) -> tuple[Kafka, list[str]]:
    config = kafka.config.source.kafka
    if config.verdicts is None:
        return kafka, []
    if not config.brokers:
        return kafka, ["source.kafka: verdicts are to be read, and brokers are not set"]
    link, problems = _link(",".join(config.brokers), config.config, _SOURCE, environment)
    if not problems:
        problems = _looked(link, [config.verdicts])[1]
    return replace(kafka, told=link), problems


def _link(
    servers: str, options: Mapping[str, str], section: str, environment: Mapping[str, str]
) -> tuple[Link, list[str]]:
    """Return the way to a cluster, and what is wrong with its options."""
    found, hidden, problems = resolved(options, section, environment)
    link = Link(servers, found, hidden)
    return link, problems or option_problems(link, section, found)


def _looked(link: Link, topics: Sequence[str]) -> tuple[Mapping[str, int], list[str]]:
    """Return the partitions of topics, and a sentence for each topic that is not there."""
    client = Consumer(link.client(group_id="astray", allow_auto_create_topics="false"))
    try:
        found = first_look(link, client, topics)
    finally:
        client.close()
    if isinstance(found, str):
        return {}, [found]
    missing = [f"kafka {link.servers}: there is no topic {t}" for t in topics if t not in found]
    return found, missing
