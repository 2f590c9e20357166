"""What the speed depends on: agents, what has been seen before, and a flood of new things.

    python benchmarks/scaling.py [--millions 50] [--save]

Everything from bytes to decisions but the engine around it, on one core. The yardstick, in the
same run and all the time beside it, is `orjson.loads` over the same lines, so that a busy
machine changes no ratio. With `--save` a chart is drawn as well.
"""

import gc
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import orjson

from astray.baseline.records import Records
from astray.baseline.settings import shard_settings
from astray.baseline.shard import Shard
from astray.config import load_config
from astray.decide.decider import Decider
from astray.decide.limits import lowest_limits
from astray.events import Chunk, decode
from astray.flow.kernels import compile_kernels
from astray.flow.steps import Route
from harness import RESULTS, report

_FLEETS = (1_000, 10_000, 100_000, 1_000_000)
_EVENTS = 1_000_000
_MILLIONS = 50
_LONG_FLEET = 10_000
_LINES = 4_000
_YARDSTICK_EVERY = 8
_DAY_EVENTS = 200
_SESSION_EVENTS = 12
_PEERS = 40
_ACTIONS, _RESOURCES = 30, 200
_HABITS = 12
_FIRST_S = 1_700_000_000.0
_DAY_S = 86_400.0
_GOAL = (
    "1,000 to 1,000,000 agents keep 0.5 of the events/s; the last million of 51 keeps 0.9 of the "
    "first; a flood of new things runs at 0.7 of normal"
)


class Stream:
    """Events of a fleet: agents of a group share actions and resources, each with its habits."""

    def __init__(self, agents: int) -> None:
        self.agents = agents
        self._rng = np.random.default_rng(7)
        self._seen = np.zeros(agents, np.int64)
        self._now_s = _FIRST_S
        self._step_s = _DAY_S / _DAY_EVENTS / agents

    def all(self) -> Iterator[bytes]:
        """Yield chunks in which every agent has two events."""
        everybody = np.arange(self.agents).repeat(2)
        for first in range(0, len(everybody), _LINES):
            yield self._chunk(everybody[first : first + _LINES])

    def some(self, events: int) -> Iterator[bytes]:
        """Yield chunks of agents drawn at random."""
        for first in range(0, events, _LINES):
            count = min(_LINES, events - first)
            yield self._chunk(self._rng.integers(0, self.agents, count))

    def flood(self, events: int) -> Iterator[bytes]:
        """Yield chunks in which half of the events are one agent's, all of them new."""
        numbers = itertools.count()
        for chunk in self.some(events // 2):
            flood = (
                b'{"ts":%.3f,"agent":"flood","action":"f%d","resources":["/f/%d/x"],'
                b'"session":"flood-%d"}\n' % (self._now_s, number, number, number // 5000)
                for number in numbers
            )
            pairs = zip(_lines(chunk), flood, strict=False)  # the flood does not end
            yield b"".join(itertools.chain.from_iterable(pairs))

    def _chunk(self, agents: np.ndarray) -> bytes:
        habits = self._rng.integers(0, _HABITS, (2, len(agents)))
        lines = []
        for agent, action, resource in zip(agents.tolist(), *habits.tolist(), strict=True):
            seen = self._seen[agent] = self._seen[agent] + 1
            is_last = seen % _SESSION_EVENTS == _SESSION_EVENTS - 1
            group = agent // _PEERS
            lines.append(
                b'{"ts":%.3f,"agent":"agent-%d","group":"g%d","action":"a%d","resources":'
                b'["/data/%d/r%d"],"session":"%d-%d","bytes":%d,"source":"10.0.%d.1"%s}\n'
                % (
                    self._now_s,
                    agent,
                    group,
                    (agent * 7 + action) % _ACTIONS,
                    group,
                    (agent * 31 + resource) % _RESOURCES,
                    agent,
                    seen // _SESSION_EVENTS,
                    1000 + 97 * action,
                    group % 250,
                    b',"session_end":true' if is_last else b"",
                )
            )
            self._now_s += self._step_s
        return b"".join(lines)


@dataclass
class Pipeline:
    """All steps from bytes to decisions, and how long they and the yardstick took."""

    seconds: float = 0.0
    events: int = 0
    loads_s: float = 0.0
    loads: int = 0
    shards: list[Shard] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with nothing learnt."""
        config = load_config()
        settings = shard_settings(config, lowest_limits(config))
        self.shards = [Shard(n, settings, ["s"]) for n in range(config.events.shards)]
        self._route, self.decider, self._at = Route(config), Decider(config), 0

    def feed(self, chunks: Iterator[bytes]) -> dict[str, float]:
        """Take chunks in; return events/s and their ratio to the yardstick's."""
        self.seconds, self.events, self.loads_s, self.loads = 0.0, 0, 0.0, 0
        for number, chunk in enumerate(chunks):
            started = time.perf_counter()
            self._take(chunk)
            self.seconds += time.perf_counter() - started
            if number % _YARDSTICK_EVERY == 0:
                self._yardstick(_lines(chunk))
        rate, loads = self.events / self.seconds, self.loads / self.loads_s
        return {"events_per_second": round(rate), "ratio_to_loads": round(rate / loads, 4)}

    def _take(self, chunk: bytes) -> None:
        decoded = decode(Chunk("s", self._at, chunk), 2**62)
        self._at += len(chunk)
        self.events += len(decoded.rows)
        told: list[Records] = []
        for _, parcel in self._route([decoded]):
            told += self.shards[parcel.content.shard].assess(parcel.content)
        self.decider.decide(told)

    def _yardstick(self, lines: list[bytes]) -> None:
        started = time.perf_counter()
        for line in lines:
            orjson.loads(line)
        self.loads_s += time.perf_counter() - started
        self.loads += len(lines)

    def bytes_per_agent(self) -> int:
        """Return what agents and all tables take, without rows that nobody has."""
        total = 0
        for shard in self.shards:
            memory = shard.memory
            total += memory.agents[: memory.used[0]].nbytes + memory.agent_index.nbytes
            total += memory.pages[: memory.pages[0]["item"][-1]].nbytes
        return round(total / sum(shard.agents for shard in self.shards))


def _lines(chunk: bytes) -> list[bytes]:
    return chunk.splitlines(keepends=True)


def _of_fleet(agents: int) -> dict[str, float]:
    stream, pipeline = Stream(agents), Pipeline()
    pipeline.feed(stream.all())
    pipeline.feed(stream.some(_EVENTS // 4))
    measured = pipeline.feed(stream.some(_EVENTS))
    return measured | {"bytes_per_agent": pipeline.bytes_per_agent()}


def _of_a_long_run(millions: int) -> dict[str, float]:
    stream, pipeline = Stream(_LONG_FLEET), Pipeline()
    first = pipeline.feed(stream.some(_EVENTS))
    pipeline.feed(stream.some((millions - 1) * _EVENTS))
    last = pipeline.feed(stream.some(_EVENTS))
    kept = round(last["ratio_to_loads"] / first["ratio_to_loads"], 3)
    return {"millions": millions, "kept": kept} | {
        f"{name}_{key}": value
        for name, found in (("first", first), ("last", last))
        for key, value in found.items()
    }


def _of_a_flood() -> dict[str, float]:
    stream, pipeline = Stream(_LONG_FLEET), Pipeline()
    pipeline.feed(stream.some(_EVENTS))
    normal = pipeline.feed(stream.some(_EVENTS // 2))
    flooded = pipeline.feed(stream.flood(_EVENTS // 2))
    again = pipeline.feed(stream.some(_EVENTS // 2))
    usual = (normal["ratio_to_loads"] + again["ratio_to_loads"]) / 2
    return {
        "normal_per_second": normal["events_per_second"],
        "flooded_per_second": flooded["events_per_second"],
        "kept": round(flooded["ratio_to_loads"] / usual, 3),
    }


def _draw(fleets: dict[str, dict[str, float]]) -> None:
    """Draw events/s and memory against the number of agents."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 - nobody else needs it

    figure, (speed, memory) = plt.subplots(1, 2, figsize=(9, 3.2))
    agents = [int(name) for name in fleets]
    speed.semilogx(agents, [found["ratio_to_loads"] for found in fleets.values()], "o-")
    speed.set(xlabel="agents", ylabel="events/s, of orjson.loads alone", ylim=(0, None))
    kib = [found["bytes_per_agent"] / 1024 for found in fleets.values()]
    memory.semilogx(agents, kib, "o-", color="tab:orange")
    memory.set(xlabel="agents", ylabel="KiB per agent", ylim=(0, None))
    for axes in (speed, memory):
        axes.grid(visible=True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(RESULTS / "scaling.png", dpi=110)


def main() -> None:
    """Measure fleets of all sizes, a flood, and a long run."""
    given = sys.argv.index("--millions") + 1 if "--millions" in sys.argv else 0
    millions = int(sys.argv[given]) if given else _MILLIONS
    compile_kernels()
    gc.freeze()
    fleets = {str(agents): _of_fleet(agents) for agents in _FLEETS}
    few, many = (fleets[str(agents)]["ratio_to_loads"] for agents in (_FLEETS[0], _FLEETS[-1]))
    results = {
        "fleets": fleets,
        "kept_by_a_million_agents": round(many / few, 3),
        "flood": _of_a_flood(),
        "long_run": _of_a_long_run(millions),
    }
    report("scaling", _GOAL, results)
    if "--save" in sys.argv:
        _draw(fleets)


if __name__ == "__main__":
    main()
