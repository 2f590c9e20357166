"""What a run counts, for people and machines watching it and for its last words.

The dataflow writes once per batch, never per event. What the core counts by itself is read
where it lies, when somebody asks: other threads may, at any time.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from astray.baseline.shard import Shard
from astray.decide.decider import Decider
from astray.decide.floods import Lost
from astray.flow.statefiles import State

SCORE_EDGES: Final = tuple(range(20, 121, 10))
"""Upper edges of the buckets that ended sessions are counted in by score."""

_EDGES = np.array(SCORE_EDGES, np.float64)


@dataclass(frozen=True)
class Watched:
    """A shard and what it had counted when this run began; a state brings its counts along."""

    shard: Shard
    before: NDArray[np.int64]

    def count(self, counter: int) -> int:
        """Return one of the counts of `baseline.buffers`, of this run alone."""
        return int(self.shard.memory.counters[counter] - self.before[counter])

    @property
    def size_bytes(self) -> int:
        """The memory that the shard's arrays take."""
        return sum(int(array.nbytes) for array in self.shard.memory)


@dataclass
class Snapshots:
    """What it took to make the state durable, as far as the flow waits for it."""

    count: int = 0
    size_bytes: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0

    def timed(self, dump: Callable[[], bytes], put: Callable[[bytes], State]) -> State:
        """Return what is kept of a state once it has been put away; take note of what it took."""
        started_s = time.perf_counter()
        state = dump()
        kept = put(state)
        took_s = time.perf_counter() - started_s
        self.count += 1
        self.size_bytes += len(state)
        self.seconds += took_s
        self.longest_s = max(self.longest_s, took_s)
        return kept


@dataclass
class Counters:
    """Counts of this run; written by the dataflow, read by whoever shows them.

    `latest_us` is the latest event time of the last batch, `newest_us` that of all; `verdicts`
    are those that the case store has told of. `reaching` has the scores at which policies act,
    each with the ended sessions that have reached it. `removed` has the rows that went from the
    case store, by table, and `undelivered` the webhooks in it that nobody has taken at the end.
    """

    events: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    latest_us: int = 0
    newest_us: int = 0
    verdicts: int = 0
    sessions: int = 0
    scores: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(SCORE_EDGES) + 1, np.int64)
    )
    scores_sum: float = 0.0
    reaching: dict[float, int] = field(default_factory=dict)
    decisions: Counter[str] = field(default_factory=Counter)
    withheld: Counter[str] = field(default_factory=Counter)
    reviews: int = 0
    floods: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    undelivered: int = 0
    snapshots: Snapshots = field(default_factory=Snapshots)
    shards: dict[int, Watched] = field(default_factory=dict)
    deciders: list[Decider] = field(default_factory=list)

    @property
    def agents(self) -> int:
        """The number of agents that have a baseline, over all shards."""
        return sum(watched.shard.agents for watched in list(self.shards.values()))

    @property
    def floods_lost(self) -> dict[str, int]:
        """What was lost of floods for want of room, over all deciders."""
        lost = [decider.floods_lost for decider in list(self.deciders)]
        return {why: sum(each[why] for each in lost) for why in Lost}

    def watch(self, shard: Shard) -> None:
        """Have what a shard counts read where it lies."""
        self.shards[shard.number] = Watched(shard, shard.memory.counters.copy())

    def act_at(self, scores: Iterable[float]) -> None:
        """Count the sessions that reach these scores."""
        self.reaching = dict.fromkeys(sorted(scores), 0)

    def end_sessions(self, scored: NDArray[Any]) -> None:
        """Count those of ranked sessions (rows of `decider.SCORED`) that have ended."""
        scores = scored["score"][~scored["live"]]
        if not len(scores):
            return
        places = np.searchsorted(_EDGES, scores)
        self.scores += np.bincount(places, minlength=len(SCORE_EDGES) + 1)
        self.scores_sum += float(scores.sum())
        self.sessions += len(scores)
        for limit in self.reaching:
            self.reaching[limit] += int(np.count_nonzero(scores >= limit))
