"""From messages in a Kafka topic to decisions, events/s, beside reading and parsing them alone.

    python benchmarks/kafka.py [--save]

It runs on the broker at ASTRAY_TEST_KAFKA or, without one, on one that it starts as the tests
do. The yardstick, in the same run over the same topic: `Consumer.consume` with the same
configuration and `orjson.loads` of every value, nothing else.
"""

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from astray.config import Config, load_config
from astray.flow.counters import Counters
from astray.flow.dataflow import build_flow
from astray.flow.engine import compile_kernels, run_flow
from astray.flow.kafka.connecting import connect
from astray.flow.kafka.link import Link
from astray.flow.kafka.topics import consuming
from astray.flow.sinks import Calling, Collector, RejectsFile
from astray.flow.sources import Reading, Sources
from astray.flow.steps import Context
from harness import ROOT, made_stream, report, timed

_AGENTS, _DAYS = 1000, 6.0
_PARTITIONS = (1, 4)
_AT_ONCE = 10_000
_GOAL = "from a topic to decisions at least 0.5 of consume() and orjson.loads alone"


@contextmanager
def _broker(folder: Path) -> Iterator[str]:
    given = os.environ.get("ASTRAY_TEST_KAFKA")
    if given:
        yield given
        return
    sys.path.insert(0, str(ROOT / "tests" / "kafka"))
    (node,) = importlib.import_module("kafka_broker").nodes(folder / "kafka")
    node.start()
    try:
        yield node.address
    finally:
        node.kill()


def _filled(broker: str, lines: list[bytes], partitions: int) -> str:
    """Write lines to a new topic, agents' lines in their order; return its name."""
    name = f"benchmark-{os.getpid()}-{partitions}"
    admin = AdminClient({"bootstrap.servers": broker})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result()
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 50, "compression.type": "zstd"})
    for number, line in enumerate(lines):
        producer.produce(name, line, partition=number * partitions // len(lines))
        if number % _AT_ONCE == 0:
            producer.flush()
    producer.flush()
    return name


def _consume_and_parse(
    config: Config, broker: str, topic: str, count: int, partitions: int
) -> None:
    link = Link(broker, {}, frozenset())
    consumer = Consumer(consuming(link, config.source.kafka))
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    seen = 0
    while seen < count:
        for message in consumer.consume(_AT_ONCE, 0.1):
            orjson.loads(message.value() or b"")
            seen += 1
    consumer.close()


def _astray(config: Config, broker: str, topic: str, count: int) -> None:
    reading, counters = Reading(), Counters()

    def watch(_: object) -> None:
        if counters.events + counters.rejects.total() >= count:
            reading.stop.set()

    found = connect(config, [f"kafka://{broker}/{topic}"], {})
    with ExitStack() as stack:
        context = Context(config, found.names, counters, watch=watch)
        source = Sources([], reading, found.feeds(reading, stack))
        run_flow(build_flow(context, source, Calling(Collector()), RejectsFile(None)), 3600.0)
    reading.raise_fault()


def main() -> None:
    """Measure everything in one run, and report."""
    compile_kernels()
    config = load_config()
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as scratch, _broker(Path(scratch)) as broker:
        path = made_stream(Path(scratch), agents=_AGENTS, days=_DAYS, attacks="all=20")
        lines = path.read_bytes().splitlines()
        results |= {"events": len(lines), "bytes_per_event": path.stat().st_size // len(lines)}
        for partitions in _PARTITIONS:
            topic = _filled(broker, lines, partitions)
            at = (config, broker, topic, len(lines))
            alone_s = timed(partial(_consume_and_parse, *at, partitions))
            astray_s = timed(partial(_astray, *at))
            results[f"partitions_{partitions}"] = {
                "astray_per_second": round(len(lines) / astray_s),
                "consume_and_loads_per_second": round(len(lines) / alone_s),
                "ratio": round(alone_s / astray_s, 3),
            }
    report("kafka", _GOAL, results)


if __name__ == "__main__":
    main()
