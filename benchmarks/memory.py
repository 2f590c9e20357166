"""Memory and snapshots: bytes per agent, and how long a snapshot holds the flow.

    python benchmarks/memory.py [--save]

The yardstick, in the same run: one default river forest per agent, as a user would keep.
"""

import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from river import anomaly

from astray.baseline.layout import SESSION
from astray.baseline.part import part_of, windows_of
from astray.baseline.settings import shard_settings
from astray.baseline.shard import Shard
from astray.config import load_config
from astray.decide.decider import Decider
from astray.decide.limits import lowest_limits
from astray.events import Chunk, decode
from astray.flow.kernels import compile_kernels
from harness import made_stream, report, timed
from scaling import Pipeline, Stream

_FLEETS = {100: 10.0, 1_000: 5.0, 10_000: 1.0}
_CHUNK_LINES = 5_000
_FOREST_EVENTS = 600
_LARGE, _LARGE_EVENTS = 100_000, 2_000_000
_GOAL = (
    "4 KiB per agent and open session; a snapshot of 100,000 agents holds the flow for 0.5 s and "
    "is restored in 3 s"
)


def _learnt(path: Path) -> tuple[Shard, float]:
    """Return a shard that has seen a stream, and the seconds that took."""
    config = load_config()
    shard = Shard(0, shard_settings(config, lowest_limits(config)), ["stream"])
    lines = path.read_bytes().splitlines(keepends=True)
    started = time.perf_counter()
    for first in range(0, len(lines), _CHUNK_LINES):
        chunk = decode(Chunk("stream", 0, b"".join(lines[first : first + _CHUNK_LINES])), 2**62)
        windows = windows_of(chunk, shard.settings.window_us)
        shard.assess(part_of(0, chunk, np.arange(len(chunk.rows)), windows))
    return shard, time.perf_counter() - started


def _shard_of(agents: int, days: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        shard, seconds = _learnt(made_stream(Path(scratch), agents=agents, days=days))
    held = sum(getattr(shard.memory, name).nbytes for name in ("agents", "sessions", "pages"))
    state = shard.dump()
    dump_s = timed(shard.dump)
    load_s = timed(lambda: Shard.load(state, shard.settings, ["stream"]))
    return {
        "days": days,
        "events": int(shard.memory.counters[0]),
        "seconds": round(seconds, 2),
        "held_bytes_per_agent": round(held / shard.agents),
        "state_bytes_per_agent": round(len(state) / shard.agents),
        "snapshot_ms": round(dump_s * 1000, 1),
        "restore_ms": round(load_s * 1000, 1),
    }


def _whole() -> dict[str, Any]:
    """Return how long all shards and the decider of a large fleet take to be written and read."""
    stream, pipeline = Stream(_LARGE), Pipeline()
    pipeline.feed(stream.all())
    pipeline.feed(stream.some(_LARGE_EVENTS))
    parts: list[Shard | Decider] = [*pipeline.shards, pipeline.decider]
    states = [part.dump() for part in parts]
    settings, config = pipeline.shards[0].settings, load_config()

    def restore() -> None:
        for state in states[:-1]:
            Shard.load(state, settings, ["s"])
        Decider.load(states[-1], config)

    return {
        "agents": _LARGE,
        "events": _LARGE_EVENTS + 2 * _LARGE,
        "open_sessions": sum(
            int(np.count_nonzero(shard.memory.sessions["key"])) for shard in pipeline.shards
        ),
        "open_session_bytes": SESSION.itemsize,
        "state_bytes_per_agent": round(sum(map(len, states)) / _LARGE),
        "snapshot_ms": round(timed(lambda: [part.dump() for part in parts]) * 1000, 1),
        "restore_ms": round(timed(restore) * 1000, 1),
    }


def _forest() -> dict[str, float]:
    """Return what one default forest costs after some events."""
    forest = anomaly.HalfSpaceTrees(seed=1)
    for number in range(_FOREST_EVENTS):
        forest.learn_one({f"f{n}": (number * (n + 1)) % 97 / 97 for n in range(6)})
    seconds = timed(lambda: pickle.dumps(forest))
    return {"state_bytes": len(pickle.dumps(forest)), "snapshot_ms": round(seconds * 1000, 2)}


def main() -> None:
    """Measure fleets of several sizes."""
    compile_kernels()
    fleets = {f"{agents} agents": _shard_of(agents, days) for agents, days in _FLEETS.items()}
    forest = _forest()
    ratio = fleets["1000 agents"]["state_bytes_per_agent"] / forest["state_bytes"]
    results = fleets | {"100000 agents, all shards and the decider": _whole()}
    results |= {"river_forest_per_agent": forest, "ratio_of_state": round(ratio, 3)}
    report("memory", _GOAL, results)


if __name__ == "__main__":
    main()
