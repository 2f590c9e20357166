"""Two processes beside one: events/s of `astray run --processes N` over the same partitions.

    python benchmarks/cluster.py [--save]

Once from a Kafka topic that is full before a run begins, and once from two files, where no broker
works on the same cores. What is measured is the middle of each run, between a tenth and nine tenths
of the events, so that neither start nor end count. The yardsticks, in the same run of this program,
are one process, and two that know nothing of each other, each with half of the partitions in a
topic, or a file, of its own: what the machine has to give. Each is run three times, in turns. With
the default interval about every second of them has a snapshot in what is measured.
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

Measured = dict[str, Any]
Strangers = Sequence[Sequence[str]]
"""The sources of each of several runs that know nothing of each other."""

_GOAL = "two processes on two cores at least 1.7 times as fast as one"


def _begun(folder: Path, sources: Sequence[str], processes: int) -> Run:
    folder.mkdir()
    read = [part for source in sources for part in ("--source", source)]
    options = [*read, "--store", "env:STORE", "--recovery", "state"]
    return Run(folder, options, processes, STORE=fresh_postgres())


def _rate(folder: Path, strangers: Strangers, events: int, processes: int) -> float:
    """Return the events/s of runs at the same time, each with sources of its own."""
    runs = [
        _begun(folder.with_name(f"{folder.name}-{number}"), sources, processes)
        for number, sources in enumerate(strangers)
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


def _compared(scratch: Path, halves: Sequence[str], whole: Sequence[str], events: int) -> Measured:
    """Measure one process, two, and two strangers in turns."""
    runs: dict[str, tuple[Strangers, int]] = {
        "one": ([whole], 1), "two": ([whole], 2), "strangers": ([[half] for half in halves], 1),
    }  # fmt: skip
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(_TURNS):
        for name, (strangers, processes) in runs.items():
            folder = scratch / f"run-{time.time_ns()}-{turn}-{name}"
            rates[name].append(_rate(folder, strangers, events, processes))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "one_process_per_second": round(medians["one"]),
        "two_processes_per_second": round(medians["two"]),
        "two_strangers_per_second": round(medians["strangers"]),
        "ratio": round(medians["two"] / medians["one"], 3),
        "ratio_of_strangers": round(medians["strangers"] / medians["one"], 3),
        "ratios_by_turn": _by_turn(rates["two"], rates["one"]),
        "ratios_of_strangers_by_turn": _by_turn(rates["strangers"], rates["one"]),
    }


def _from_files(scratch: Path, lines: Sequence[bytes]) -> Measured:
    files = [scratch / name for name in ("left.jsonl", "right.jsonl")]
    for half, file in enumerate(files):
        with file.open("wb") as out:
            out.writelines(line + b"\n" for line in lines if _is_of(half, line))
    return _compared(scratch, [*map(str, files)], [*map(str, files)], len(lines))


def _from_kafka(scratch: Path, lines: Sequence[bytes]) -> Measured:
    with any_broker(scratch) as broker:
        whole, *halves = (f"{name}-{time.time_ns()}" for name in ("all", "left", "right"))
        topic_of(broker, whole, _PARTITIONS)
        fill(broker, whole, _PARTITIONS, lines)
        for half, topic in enumerate(halves):
            topic_of(broker, topic, _PARTITIONS)
            fill(broker, topic, _PARTITIONS, filter(partial(_is_of, half), lines))
        whole, *halves = (f"kafka://{broker}/{topic}" for topic in (whole, *halves))
        return _compared(scratch, halves, [whole], len(lines))


def main() -> None:
    """Measure from a topic, and from files."""
    with tempfile.TemporaryDirectory() as scratch:
        path = made_stream(Path(scratch), agents=_AGENTS, days=_DAYS, attacks="all=20")
        lines = path.read_bytes().splitlines()
        results: Measured = {"events": len(lines), "partitions": _PARTITIONS}
        results |= _from_kafka(Path(scratch), lines)
        results["from_files"] = _from_files(Path(scratch), lines)
    report("cluster", _GOAL, results)


if __name__ == "__main__":
    main()
