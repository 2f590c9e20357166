"""Two processes beside one: events/s of `astray run --processes N` over the same Kafka topic.

    python benchmarks/cluster.py [--save]

The topic is full before a run begins. What is measured is the middle of each run, between a
tenth and nine tenths of the events, so that neither start nor end count. The yardsticks, in the
same run of this program, are one process, and two that know nothing of each other, each with
half of the partitions in a topic of its own: what the machine has to give beside a broker and a
database. Each is run three times, in turns. With the default interval about every second of
them has a snapshot in what is measured.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from harness import made_stream, report
from installation import Run, any_broker, fill, fresh_postgres, partition_of, topic_of

_AGENTS, _DAYS = 2000, 14.0
_PARTITIONS = 4
_TURNS = 3
_PATIENCE_S = 300.0
_FIRST, _LAST = 0.1, 0.9
_GOAL = "two processes on two cores at least 1.7 times as fast as one"


def _begun(folder: Path, source: str, processes: int) -> Run:
    folder.mkdir()
    options = ["--source", source, "--store", "env:STORE", "--recovery", "state"]
    return Run(folder, options, processes, STORE=fresh_postgres())


def _rate(folder: Path, sources: Sequence[str], events: int, processes: int) -> float:
    """Return the events/s of runs at the same time, each with a source of its own."""
    runs = [
        _begun(folder.with_name(f"{folder.name}-{number}"), source, processes)
        for number, source in enumerate(sources)
    ]
    moments: list[tuple[float, float]] = []

    def has_read(share: float) -> bool:
        read = sum(run.metric("astray_events_total") for run in runs)
        moments.append((time.monotonic(), read))
        return moments[-1][1] >= share * events

    for share in (_FIRST, _LAST):
        if not runs[0].until(partial(has_read, share), _PATIENCE_S):
            raise SystemExit(f"{events} events were not read: see the logs beside {folder}")
    for run in runs:
        run.stop()
    first = next(moment for moment in moments if moment[1] >= _FIRST * events)
    return (moments[-1][1] - first[1]) / (moments[-1][0] - first[0])


def _is_of(half: int, line: bytes) -> bool:
    """Return whether a line belongs into the left topic (0) or the right one (1)."""
    agent = orjson.loads(line)["agent"].encode()
    return partition_of(agent, _PARTITIONS) * 2 // _PARTITIONS == half


def _by_turn(rates: list[float], of: list[float]) -> list[float]:
    return [round(rate / one, 3) for rate, one in zip(rates, of, strict=True)]


def main() -> None:
    """Measure one process, two, and two strangers in turns."""
    rates: dict[str, list[float]] = {"one": [], "two": [], "strangers": []}
    with tempfile.TemporaryDirectory() as scratch, any_broker(Path(scratch)) as broker:
        path = made_stream(Path(scratch), agents=_AGENTS, days=_DAYS, attacks="all=20")
        lines = path.read_bytes().splitlines()
        whole, *halves = (f"{name}-{time.time_ns()}" for name in ("all", "left", "right"))
        topic_of(broker, whole, _PARTITIONS)
        fill(broker, whole, _PARTITIONS, lines)
        for half, topic in enumerate(halves):
            topic_of(broker, topic, _PARTITIONS)
            fill(broker, topic, _PARTITIONS, filter(partial(_is_of, half), lines))
        sources = [f"kafka://{broker}/{topic}" for topic in (whole, *halves)]
        runs = {"one": (sources[:1], 1), "two": (sources[:1], 2), "strangers": (sources[1:], 1)}
        for turn in range(_TURNS):
            for name, (read, processes) in runs.items():
                folder = Path(scratch) / f"run-{turn}-{name}"
                rates[name].append(_rate(folder, read, len(lines), processes))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    results: dict[str, Any] = {
        "events": len(lines),
        "partitions": _PARTITIONS,
        "one_process_per_second": round(medians["one"]),
        "two_processes_per_second": round(medians["two"]),
        "two_strangers_per_second": round(medians["strangers"]),
        "ratio": round(medians["two"] / medians["one"], 3),
        "ratio_of_strangers": round(medians["strangers"] / medians["one"], 3),
        "ratios_by_turn": _by_turn(rates["two"], rates["one"]),
        "ratios_of_strangers_by_turn": _by_turn(rates["strangers"], rates["one"]),
    }
    report("cluster", _GOAL, results)


if __name__ == "__main__":
    main()
