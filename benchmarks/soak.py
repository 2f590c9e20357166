"""A long run at half of the maximum rate: memory, lag and files over time.

    python benchmarks/soak.py [--minutes 30] [--save]

A simulated week is sent again and again, each time a week later, with new sessions and new
event ids, to a topic of four partitions with bounded retention. The maximum is measured
first, over a backlog, in the same run; then events come at half of it. The yardstick is the
run itself: what it holds in its last third beside its second.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Producer

from harness import made_stream, report
from installation import Run, broker, partition_of, topic_of

_AGENTS, _DAYS = 1500, 7.0
_WEEK_S = 7 * 86_400
_WEEKS_BEFORE = 100
_PARTITIONS = 4
_BACKLOG = 1_000_000
_SHARE = 0.5
_AT_ONCE_S = 0.1
_UNSENT_MAX = 100_000
_SAMPLE_S = 10.0
_PATIENCE_S = 300.0
_RETENTION = {"retention_bytes": "268435456", "segment_bytes": "67108864"}
_GOAL = "memory flat within 5 %, lag bounded, no file that grows without bound"
Template = tuple[int, bytes, float, bytes, bytes, bytes]
"""Partition, agent, seconds, and what is between time, event id's week, session's week, end."""


def _template(line: bytes) -> Template:
    event = orjson.loads(line)
    agent = event["agent"].encode()
    ts_s = float(event.pop("ts")) - _WEEKS_BEFORE * _WEEK_S
    event["event_id"] += "~"
    event["session"] = f"{event.get('session', agent.decode())}~"
    named = {key: event.pop(key) for key in ("event_id", "session")}
    first, second, third = orjson.dumps(named | event).split(b"~")
    return partition_of(agent, _PARTITIONS), agent, ts_s, b"," + first[1:], second, third


def _weeks(templates: list[Template]) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield partition, agent and line of events without end."""
    week = 0
    while True:
        mark, shift_s = b"-%d" % week, week * _WEEK_S
        for partition, agent, ts_s, first, second, third in templates:
            ts = b'{"ts":%.3f' % (ts_s + shift_s)
            yield partition, agent, b"".join((ts, first, mark, second, mark, third))
        week += 1


class Feed:
    """Sends events to a topic, at a rate."""

    def __init__(self, address: str, topic: str, templates: list[Template]) -> None:
        options = {"bootstrap.servers": address, "linger.ms": 20, "compression.type": "lz4"}
        self._producer = Producer({**options, "queue.buffering.max.messages": 500_000})
        self._topic, self._events = topic, _weeks(templates)
        self.sent = 0

    def send(self, count: int) -> None:
        """Send so many events, and wait until they are there."""
        for number in range(1, count + 1):
            partition, agent, line = next(self._events)
            self._producer.produce(self._topic, line, agent, partition)
            if number % _UNSENT_MAX == 0:
                self._producer.flush()
        self._producer.flush()
        self.sent += count

    def pace(self, rate: float, seconds: float) -> None:
        """Send at a rate for a while; who falls behind catches up."""
        start_s, sent = time.monotonic(), 0
        while (elapsed_s := time.monotonic() - start_s) < seconds:
            due = int(rate * elapsed_s) - sent
            self.send(due)
            sent += due
            time.sleep(_AT_ONCE_S)


def _sample(run: Run, folder: Path, start_s: float) -> dict[str, float]:
    sizes = {path.relative_to(folder).parts[0].split(".db")[0]: 0.0 for path in folder.rglob("*")}
    for path in folder.rglob("*"):
        if path.is_file():
            sizes[path.relative_to(folder).parts[0].split(".db")[0]] += path.stat().st_size / 1e6
    return {
        "minute": round((time.monotonic() - start_s) / 60, 2),
        "resident_mb": round(run.resident_bytes() / 1e6, 1),
        "lag_messages": run.metric("astray_source_lag_messages"),
        "events": run.metric("astray_events_total"),
        "sessions": run.metric("astray_sessions_total"),
        "decisions": run.metric("astray_decisions_total"),
        "state_mb": round(sizes.get("state", 0.0), 1),
        "store_mb": round(sizes.get("cases", 0.0), 1),
    }


def _maximum(run: Run, feed: Feed) -> float:
    """Return the events/s at which a backlog is read, between its first tenth and its last."""
    moments: list[tuple[float, float]] = []

    def has_read() -> bool:
        moments.append((time.monotonic(), run.metric("astray_events_total")))
        return moments[-1][1] >= 0.9 * feed.sent

    if not run.until(has_read, _PATIENCE_S):
        raise SystemExit("the backlog was not read")
    first = next(moment for moment in moments if moment[1] >= 0.1 * feed.sent)
    return (moments[-1][1] - first[1]) / (moments[-1][0] - first[0])


def _summary(samples: list[dict[str, float]]) -> dict[str, Any]:
    third = len(samples) // 3
    second, last = samples[third : 2 * third], samples[2 * third :]

    def grown(what: str) -> float:
        before = statistics.median(sample[what] for sample in second)
        return round(statistics.median(sample[what] for sample in last) / max(before, 1e-9), 3)

    return {
        "resident_mb": last[-1]["resident_mb"],
        "resident_last_to_second_third": grown("resident_mb"),
        "lag_messages_max": max(sample["lag_messages"] for sample in samples),
        "lag_messages_median": statistics.median(sample["lag_messages"] for sample in samples),
        "state_mb_max": max(sample["state_mb"] for sample in samples),
        "state_last_to_second_third": grown("state_mb"),
        "store_mb_max": max(sample["store_mb"] for sample in samples),
        "store_bytes_per_decision": round(
            1e6 * last[-1]["store_mb"] / max(last[-1]["decisions"], 1)
        ),
        "sessions": last[-1]["sessions"],
    }


def main() -> None:
    """Measure the maximum, then run at half of it."""
    minutes = float(sys.argv[sys.argv.index("--minutes") + 1]) if "--minutes" in sys.argv else 30.0
    with tempfile.TemporaryDirectory() as scratch, broker(Path(scratch)) as node:
        stream = made_stream(Path(scratch), agents=_AGENTS, days=_DAYS, attacks="all=10")
        templates = [_template(line) for line in stream.read_bytes().splitlines()]
        topic = topic_of(node.address, "events", _PARTITIONS, **_RETENTION)
        feed = Feed(node.address, topic, templates)
        feed.send(_BACKLOG)
        folder = Path(scratch) / "run"
        folder.mkdir()
        source = f"kafka://{node.address}/{topic}"
        options = ["--source", source, "--recovery", "state"]
        run = Run(folder, [*options, "--store", "sqlite:///cases.db"])
        maximum = _maximum(run, feed)
        start_s, samples = time.monotonic(), []
        while time.monotonic() - start_s < minutes * 60:
            feed.pace(_SHARE * maximum, _SAMPLE_S)
            samples.append(_sample(run, folder, start_s))
        code = run.stop()
    results = {
        "minutes": minutes,
        "maximum_per_second": round(maximum),
        "sent_per_second": round((feed.sent - _BACKLOG) / (time.monotonic() - start_s)),
        "events": feed.sent,
        "exit_code": code,
        **_summary(samples),
        "samples": samples[:: max(1, len(samples) // 30)],
    }
    report("soak", _GOAL, results)


if __name__ == "__main__":
    main()
