"""Events a second on one core, from bytes to decisions.

The yardsticks, in the same run: `orjson.loads` alone over the same lines, which nobody
beats, and what a user would write instead.

    python benchmarks/throughput.py [--save]
"""

import gc
import itertools
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

_AGENTS, _DAYS = 10_000, 0.5
_PLAIN_EVENTS = 20_000
_GOAL = (
    "at least 0.30 of orjson.loads alone over the same lines, and 40x a plain bytewax + river flow"
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


def main() -> None:
    """Measure everything in one run, and report."""
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
    rates = {
        "astray": len(lines) / astray_s,
        "orjson_loads_alone": len(lines) / decode_s,
        "plain_flow_default_forest": _PLAIN_EVENTS / plain_s,
        "plain_flow_toy_forest": _PLAIN_EVENTS / toy_s,
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
