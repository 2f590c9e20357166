"""Which shard an agent belongs to, before and after its shards are divided anew.

Events are routed by what they say, but a baseline does not keep all of that: an agent without
a group goes by its own id, and lies in its tenant's group of those without one. Who that is
can be told where the tenant is known.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astray.baseline.layout import FLEET, UNGROUPED
from astray.baseline.memory import Memory
from astray.events import Rows
from astray.events.ids import pair_ids

NOWHERE, UNKNOWN = -1, -2
"""No shard: a row that nobody has; an agent of which it is not known how its events are routed."""

CROWD = 1
"""The row of the group of all that came when there was no room for more groups."""

Shards = NDArray[np.int64]


class Spread(NamedTuple):
    """How agents are spread over shards."""

    shards: int
    by_group: bool

    def __str__(self) -> str:
        """Return it as it is said."""
        return f"{self.shards} shards by {'group' if self.by_group else 'agent'}"

    def of_events(self, rows: Rows) -> Shards:
        """Return the shard of each event, as the dataflow routes them."""
        key = rows["agent"]
        if self.by_group:
            key = np.where(rows["group"] != 0, rows["group"], key)
        return self.of_keys(key)

    def of_keys(self, keys: NDArray[np.uint64]) -> Shards:
        """Return the shards of what is routed by these keys."""
        return (keys % np.uint64(self.shards)).astype(np.int64)

    def keeps_together(self, after: "Spread") -> bool:
        """Return whether all of one shard comes to one shard, whatever it is routed by."""
        alike = self.by_group == after.by_group
        return after.shards == 1 or (alike and self.shards % after.shards == 0)


class Tenants:
    """The tenants whose fleets and agents without a group can be told."""

    def __init__(self, ids: Iterable[int]) -> None:
        known = np.array(sorted({0, *ids}), np.uint64)
        self.fleets = pair_ids(known, np.full(len(known), FLEET))
        self.ungrouped = pair_ids(known, np.full(len(known), UNGROUPED))


def shards_of_agents(
    memory: Memory, number: int, before: Spread, after: Spread, tenants: Tenants
) -> Shards:
    """Return the new shard of each row of agents; `number` is that of their present one."""
    key, parent = memory.agents["key"], memory.agents["parent"]
    if before.keeps_together(after):
        shards = np.full(len(key), number % after.shards)
    elif after.by_group:
        group, fleet = memory.groups["key"], memory.groups["parent"]
        alone = np.isin(group, tenants.ungrouped)
        shards = after.of_keys(np.where(alone[parent], key, group[parent]))
        told = np.isin(group[fleet], tenants.fleets)
        shards[(parent == CROWD) | ~told[parent]] = UNKNOWN
    else:
        shards = after.of_keys(key)
    shards[key == 0] = NOWHERE
    return shards


def shards_of_records(
    rows: NDArray[Any], number: int, before: Spread, after: Spread, tenants: Tenants
) -> Shards:
    """Return the new shard of each session that a shard has reported (rows of `buffers.RECORD`)."""
    if before.keeps_together(after):
        return np.full(len(rows), number % after.shards)
    if not after.by_group:
        return after.of_keys(rows["agent"])
    alone = np.isin(rows["group"], tenants.ungrouped)
    return after.of_keys(np.where(alone, rows["agent"], rows["group"]))


class Shares(NamedTuple):
    """How much of each row of groups comes to which shard; the shares of a row make 1."""

    row: NDArray[np.int64]
    shard: Shards
    share: NDArray[np.float64]

    def at(self, shard: int) -> tuple[list[int], list[float]]:
        """Return the rows that come to a shard, and their shares."""
        here = self.shard == shard
        return self.row[here].tolist(), self.share[here].tolist()

    def most(self, rows: int) -> Shards:
        """Return, for each of so many rows, the shard to which most of it comes."""
        order = np.lexsort((-self.shard, self.share))
        found = np.full(rows, NOWHERE)
        found[self.row[order]] = self.shard[order]
        return found


def weights_of(memory: Memory) -> NDArray[np.float64]:
    """Return what each row of agents weighs in what it shares with others."""
    return memory.agents["sessions"] + 1.0


def shares_of(memory: Memory, shards: Shards, number: int, after: Spread) -> Shares:
    """Return the shares of groups and fleets: those of their agents' sessions.

    What has no agent any more goes as a whole: a group where its next agent will, others
    anywhere.
    """
    live = np.flatnonzero(shards >= 0)
    parent = memory.agents["parent"][live]
    row = np.concatenate((parent, memory.groups["parent"][parent])).astype(np.int64)
    cell = row * after.shards + np.tile(shards[live], 2)
    cells, inverse = np.unique(cell, return_inverse=True)
    share = np.bincount(inverse, np.tile(weights_of(memory)[live], 2), len(cells))
    row, shard = np.divmod(cells, after.shards)
    total = np.bincount(row, share, len(memory.groups))
    left = np.flatnonzero((total == 0) & (memory.groups["key"] != 0))
    instead = after.of_keys(memory.groups["key"][left]) if after.by_group else left * 0 + number
    return Shares(
        np.concatenate((row, left)),
        np.concatenate((shard, instead % after.shards)),
        np.concatenate((share / total[row], np.ones(len(left)))),
    )
