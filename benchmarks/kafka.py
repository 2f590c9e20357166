"""From messages in a Kafka topic to decisions, events/s, beside reading and parsing them alone.

    python benchmarks/kafka.py [--save]

It runs on the broker at ASTRAY_TEST_KAFKA or, without one, on one that it starts as the tests
do. The yardstick, in the same run over the same topic: `Consumer.consume` with the same
configuration and `orjson.loads` of every value, nothing else.
"""

import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import orjson
from confluent_kafka import Consumer, TopicPartition

from astray.config import Config, load_config
from astray.flow.counters import Counters
from astray.flow.dataflow import build_flow
from astray.flow.engine import run_flow
from astray.flow.kafka.connecting import connect
from astray.flow.kafka.link import Link
from astray.flow.kafka.topics import consuming
from astray.flow.kernels import compile_kernels
from astray.flow.reading import Reading
from astray.flow.sinks import Calling, Collector, RejectsFile
from astray.flow.sources import Sources
from astray.flow.steps import Context
from harness import made_stream, report, timed
from installation import any_broker, fill, topic_of

_AGENTS, _DAYS = 1000, 18.0
"""Some millions of events: what is learnt once in a fleet's first days weighs what it does live."""

_PARTITIONS = (1, 4)
_AT_ONCE = 10_000
_GOAL = "from a topic to decisions at least 0.5 of consume() and orjson.loads alone"


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
    with tempfile.TemporaryDirectory() as scratch, any_broker(Path(scratch)) as broker:
        path = made_stream(Path(scratch), agents=_AGENTS, days=_DAYS, attacks="all=20")
        lines = path.read_bytes().splitlines()
        results |= {"events": len(lines), "bytes_per_event": path.stat().st_size // len(lines)}
        for partitions in _PARTITIONS:
            topic = topic_of(broker, f"events-{partitions}-{time.time_ns()}", partitions)
            fill(broker, topic, partitions, lines)
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
