"""Two processes beside one: events/s of `astray run --processes N` over the same Kafka topic.

    python benchmarks/cluster.py [--save]

The topic is full before a run begins. What is measured is the middle of each run, between a
tenth and nine tenths of the events, so that neither start nor end count. The yardstick is
one process, in the same run of this program; each is run three times, in turns.
"""

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from harness import made_stream, report
from installation import Run, any_broker, fill, fresh_postgres, topic_of

_AGENTS, _DAYS = 2000, 6.0
_PARTITIONS = 4
_TURNS = 3
_PATIENCE_S = 300.0
_FIRST, _LAST = 0.1, 0.9
_GOAL = "two processes on two cores at least 1.7 times as fast as one"


def _rate(folder: Path, source: str, events: int, processes: int) -> float:
    """Return the events/s of one run."""
    folder.mkdir()
    options = ["--source", source, "--store", "env:STORE", "--recovery", "state"]
    run = Run(folder, options, processes, STORE=fresh_postgres())
    moments: list[tuple[float, float]] = []

    def has_read(share: float) -> bool:
        moments.append((time.monotonic(), run.metric("astray_events_total")))
        return moments[-1][1] >= share * events

    for share in (_FIRST, _LAST):
        if not run.until(partial(has_read, share), _PATIENCE_S):
            raise SystemExit(f"{events} events were not read: see {folder / 'log.txt'}")
    run.stop()
    first = next(moment for moment in moments if moment[1] >= _FIRST * events)
    return (moments[-1][1] - first[1]) / (moments[-1][0] - first[0])


def main() -> None:
    """Measure one process and two in turns."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as scratch, any_broker(Path(scratch)) as broker:
        path = made_stream(Path(scratch), agents=_AGENTS, days=_DAYS, attacks="all=20")
        lines = path.read_bytes().splitlines()
        topic = topic_of(broker, f"events-{time.time_ns()}", _PARTITIONS)
        fill(broker, topic, _PARTITIONS, lines)
        for turn in range(_TURNS):
            for processes, found in rates.items():
                folder = Path(scratch) / f"run-{turn}-{processes}"
                found.append(_rate(folder, f"kafka://{broker}/{topic}", len(lines), processes))
    medians = {processes: statistics.median(found) for processes, found in rates.items()}
    results: dict[str, Any] = {
        "events": len(lines),
        "partitions": _PARTITIONS,
        "one_process_per_second": round(medians[1]),
        "two_processes_per_second": round(medians[2]),
        "ratio": round(medians[2] / medians[1], 3),
        "ratios_by_turn": [round(b / a, 3) for a, b in zip(rates[1], rates[2], strict=True)],
    }
    report("cluster", _GOAL, results)


if __name__ == "__main__":
    main()
