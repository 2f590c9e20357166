"""Events that wait in shards, routed anew; see `baseline.waiting`.

A source's clock is the same in all shards, as each hears of every chunk, and is copied. What
waits of a source is put in the order of its windows again: the order of agents in one does not
matter.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astray.baseline.reshard.spread import Spread
from astray.events import ANY_TIME_US, Chunk, Decoded, decode

Arrays = dict[str, NDArray[Any]]
Dumped = tuple[dict[str, Any], Arrays]
"""What waits in a shard, as `Waiting.dump` writes it."""


class Held(NamedTuple):
    """What waits of a source in a shard."""

    decoded: Decoded
    window_us: NDArray[np.int64]
    tags: NDArray[np.uint64]


def held_in(waiting: Dumped) -> dict[str, Held]:
    """Return what waits in a shard by its source."""
    meta, arrays = waiting
    return {
        name: Held(
            decode(Chunk(name, 0, arrays[f"lines{place}"].tobytes()), ANY_TIME_US),
            arrays[f"window_us{place}"],
            arrays[f"tags{place}"],
        )
        for place, name in enumerate(meta["clocks"])
    }


def routed(
    held: Sequence[dict[str, Held]], waiting: Sequence[Dumped], after: Spread
) -> list[Dumped]:
    """Return what is to wait in each new shard."""
    queues: list[dict[str, list[Held]]] = [defaultdict(list) for _ in range(after.shards)]
    for of_shard in held:
        for name, some in of_shard.items():
            shards = after.of_events(some.decoded.rows)
            for shard in np.unique(shards).tolist():
                order = np.flatnonzero(shards == shard)
                queues[shard][name].append(
                    Held(some.decoded.only(order), some.window_us[order], some.tags[order])
                )
    return [_dumped(queue, waiting) for queue in queues]


def _dumped(queue: dict[str, list[Held]], waiting: Sequence[Dumped]) -> Dumped:
    """Return what waits in a shard as it is dumped.

    A source that is read no longer is known only where something of it waits.
    """
    clocks: dict[str, Any] = {}
    for meta, _ in waiting:
        clocks |= meta["clocks"]
    everywhere = set(clocks).intersection(*(meta["clocks"] for meta, _ in waiting))
    names = sorted(everywhere | set(queue))
    arrays: Arrays = {}
    for place, name in enumerate(names):
        lines, window_us, tags = _in_order(queue.get(name, []))
        arrays[f"lines{place}"] = np.frombuffer(lines, np.uint8)
        arrays[f"window_us{place}"], arrays[f"tags{place}"] = window_us, tags
    reached_us = max(meta["reached_us"] for meta, _ in waiting)
    return {"clocks": {name: clocks[name] for name in names}, "reached_us": reached_us}, arrays


def _in_order(queue: Sequence[Held]) -> tuple[bytes, NDArray[np.int64], NDArray[np.uint64]]:
    window_us = np.concatenate([np.zeros(0, np.int64), *(held.window_us for held in queue)])
    tags = np.concatenate([np.zeros(0, np.uint64), *(held.tags for held in queue)])
    lines = b"".join(held.decoded.chunk.data for held in queue).splitlines(keepends=True)
    order = np.argsort(window_us, kind="stable")
    return b"".join(lines[place] for place in order.tolist()), window_us[order], tags[order]
