"""Kept sessions and verdicts, divided anew: sessions go with their agents, verdicts to all."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from astray.baseline.judging import KNOWN_MAX, WAITING_MAX
from astray.baseline.keeping import Kept, kept_rows
from astray.baseline.kept import KEPT, KEPT_MARGIN, KEPT_MAX, PEERS_EXCUSED
from astray.baseline.memory import Memory
from astray.baseline.reshard.spread import Shards
from astray.baseline.reshard.tables import Heap


def gathered_kept(
    shard: int, memories: Sequence[Memory], shards: Sequence[Shards], heap: Heap
) -> Kept:
    """Return what is kept of the agents of a new shard, in the order in which it ended.

    What is excused is to be said again to whoever are the peers now.
    """
    found = [np.zeros(0, KEPT)]
    for memory, of in zip(memories, shards, strict=True):
        rows = kept_rows(memory)
        moving = rows[np.isin(rows["agent"], memory.agents["key"][of == shard])].copy()
        heap.put_tables(moving, memory.pages)
        found.append(moving)
    whole = np.concatenate(found)
    whole["held_us"][whole["state"] == PEERS_EXCUSED] = 0
    return whole[np.lexsort((whole["key"], whole["last_us"]))][-(KEPT_MAX - KEPT_MARGIN) :]


def gathered_verdicts(dumped: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the verdicts of all shards, each once, as they are dumped.

    So are the names of sessions: a shard forgets those that are not its own within a day.
    """
    waiting: dict[int, list[int]] = {}
    known: dict[int, None] = {}
    names: list[Any] = []
    for each in dumped:
        waiting |= {one[2]: one for one in each.get("waiting", ())}
        known |= dict.fromkeys(each.get("known", ()))
        names += each.get("names", ())
    latest = list(known)[-KNOWN_MAX:]
    some = sorted(waiting.values())[:WAITING_MAX]
    return {"waiting": some, "known": latest, "names": sorted(names)}
