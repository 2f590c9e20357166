"""What all benchmarks share: a stream, a clock, and results that say where they come from."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from astray.lab.simulate import SimulationOptions, parse_attacks, simulate, write

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
"""Recordings to measure on, where they are; they are not part of the project."""

RESULTS = Path(__file__).parent / "results"


def made_stream(directory: Path, *, agents: int, days: float, attacks: str = "") -> Path:
    """Simulate a fleet into a JSONL file, and return its path."""
    options = SimulationOptions(agents=agents, days=days, attacks=parse_attacks(attacks))
    events = directory / "stream.events.jsonl"
    write(simulate(options), events, directory / "stream.labels.jsonl")
    return events


def timed(function: Callable[[], Any], repeats: int = 3) -> float:
    """Return the median seconds of some calls: the machines are shared and noisy."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def report(name: str, goal: str, results: dict[str, Any]) -> dict[str, Any]:
    """Print results as JSON; with `--save`, keep them beside the benchmarks; return all of it."""
    document = {
        "benchmark": name,
        "goal": goal,
        "commit": _git("rev-parse", "--short", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", "src")),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "results": results,
    }
    text = json.dumps(document, indent=2)
    print(text)
    if "--save" in sys.argv:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(text + "\n")
    return document


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()
