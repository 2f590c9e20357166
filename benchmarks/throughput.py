"""Events a second on one core, from bytes to decisions.

The yardsticks, in the same run: `orjson.loads` alone over the same lines, which nobody
beats; what a user would write instead; and the same model event by event in Python, which is
astray itself with nothing compiled.

    python benchmarks/throughput.py [--save]
"""

import gc
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson

from astray.config import load_config
from astray.flow.counters import Counters
from astray.flow.dataflow import build_flow
from astray.flow.engine import run_flow
from astray.flow.kernels import compile_kernels
from astray.flow.reading import Reading
from astray.flow.sinks import Calling, Collector, RejectsFile
from astray.flow.sources import Sources
from astray.flow.steps import Context
from harness import made_stream, report, timed
from plain_flow import run_plain

_AGENTS, _DAYS = 10_000, 2.0
"""Some millions of events: what a run does once, as its tables grow, weighs what it does live."""

_PLAIN_EVENTS = 20_000
_PYTHON_EVENTS = 3_000
_ALONE = "--alone"
_GOAL = (
    "at least 0.30 of orjson.loads alone over the same lines, 40x a plain bytewax + river flow, "
    "5x the same model in Python"
)


def _decode_only(lines: list[bytes]) -> None:
    for line in lines:
        orjson.loads(line)


def _astray(path: Path) -> None:
    config = load_config()
    context = Context(config, [str(path)], Counters())
    flow = build_flow(
        context, Sources([str(path)], Reading()), Calling(Collector()), RejectsFile(None)
    )
    run_flow(flow, 3600.0)


def _in_python(path: Path) -> float:
    """Return how long a stream takes where nothing is compiled."""
    command = [sys.executable, __file__, _ALONE, str(path)]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(told.stdout)


def main() -> None:
    """Measure everything in one run, and report."""
    if sys.argv[1:2] == [_ALONE]:
        print(timed(lambda: _astray(Path(sys.argv[2])), repeats=1))
        return
    compile_kernels()
    with tempfile.TemporaryDirectory() as scratch:
        path = made_stream(Path(scratch), agents=_AGENTS, days=_DAYS, attacks="all=20")
        lines = path.read_bytes().splitlines()
        part = Path(scratch) / "part.jsonl"
        part.write_bytes(b"\n".join(itertools.islice(lines, _PLAIN_EVENTS)) + b"\n")
        gc.disable()
        decode_s = timed(lambda: _decode_only(lines))
        astray_s = timed(lambda: _astray(path))
        plain_s = timed(lambda: run_plain(part, toy=False), repeats=1)
        toy_s = timed(lambda: run_plain(part, toy=True), repeats=1)
        few = Path(scratch) / "few.jsonl"
        few.write_bytes(b"\n".join(itertools.islice(lines, _PYTHON_EVENTS)) + b"\n")
        python_s = _in_python(few)
    rates = {
        "astray": len(lines) / astray_s,
        "orjson_loads_alone": len(lines) / decode_s,
        "plain_flow_default_forest": _PLAIN_EVENTS / plain_s,
        "plain_flow_toy_forest": _PLAIN_EVENTS / toy_s,
        "same_model_in_python": _PYTHON_EVENTS / python_s,
    }
    results = {"events": len(lines), "agents": _AGENTS, "days": _DAYS}
    results |= {f"{name}_per_second": round(rate) for name, rate in rates.items()}
    results |= {
        f"ratio_to_{name}": round(rates["astray"] / rate, 3)
        for name, rate in rates.items()
        if name != "astray"
    }
    report("throughput", _GOAL, results)


if __name__ == "__main__":
    main()
