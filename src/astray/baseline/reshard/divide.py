"""The shards of a fleet, divided anew.

    states = Fleet.of(states, before, tenants).divided(after, settings)

What is an agent's own goes with it as it is: its baseline, its table, its open sessions with
what was found in them, and its events that wait. What a shard has for several agents goes with
them, too; `pooling` says how it is divided where they part, and joined where they meet:

- the window, its weight and its origin, and the clocks of sources are the same in all shards,
  as each hears of every chunk: they are copied, and shards that differ in them are refused;
- groups, fleets and the ranking are pooled;
- what the window has taught so far (whole units that count when it turns), and sessions that
  are not in the ranking yet, go where most of their group or shard goes: once, and undivided;
- sessions that may still be judged go with their agents, verdicts to all shards;
- what was counted is added up: it stays what it is over all shards;
- sessions are numbered anew.

The memory of all shards is taken twice while they are divided.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from astray.baseline import snapshot
from astray.baseline.buffers import (
    COUNTERS,
    KEPT_USED,
    N_OPENED,
    PENDING,
    PENDING_USED,
)
from astray.baseline.findings import Findings
from astray.baseline.judging import Judging
from astray.baseline.layout import OWNER, SESSION, TAUGHT
from astray.baseline.memory import Memory
from astray.baseline.ranking import Tally
from astray.baseline.reshard.crews import Crew, Found, crews_at
from astray.baseline.reshard.donors import gathered_donors
from astray.baseline.reshard.judged import gathered_kept, gathered_verdicts
from astray.baseline.reshard.pooling import Piece, pooled_items, pooled_owner, pooled_ranking
from astray.baseline.reshard.queues import Dumped, Held, held_in, routed
from astray.baseline.reshard.spread import (
    CROWD,
    UNKNOWN,
    Shards,
    Shares,
    Spread,
    Tenants,
    shards_of_agents,
    shares_of,
    weights_of,
)
from astray.baseline.reshard.tables import Heap, Scripts
from astray.baseline.settings import ShardSettings
from astray.baseline.turn import summed
from astray.baseline.waiting import Waiting
from astray.events.clock import iso

Groups = Mapping[int, int]
"""Rows of groups by their keys."""

_BESIDE = np.array([1, 1, 2])
"""Rows of agents, sessions and groups that are nobody's: the template, and the crowd."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """All shards of a fleet, as they were dumped."""

    before: Spread
    memories: Sequence[Memory]
    findings: Sequence[Found]
    waiting: Sequence[Dumped]
    held: Sequence[dict[str, Held]]
    judging: Sequence[dict[str, Any]] = ()

    @classmethod
    def of(cls, states: Iterable[bytes], before: Spread) -> Self:
        """Return the fleet of dumped shards, in order; raises `StateError` for a damaged one."""
        loaded = [snapshot.load(state) for state in states]
        waiting = [each.waiting for each in loaded]
        return cls(
            before,
            [each.memory for each in loaded],
            [dict(each.findings) for each in loaded],
            waiting,
            list(map(held_in, waiting)),
            [each.judging for each in loaded],
        )

    @property
    def window_us(self) -> int:
        """The first moment of the window all shards are in; 0 before their first event."""
        return int(self.memories[0].window["first_us"][0]) if self.memories else 0

    @property
    def agents(self) -> int:
        """The number of baselines of agents."""
        return sum(int(np.count_nonzero(memory.agents["key"])) for memory in self.memories)

    @property
    def open_sessions(self) -> int:
        """The number of open sessions."""
        return sum(int(np.count_nonzero(memory.sessions["key"])) for memory in self.memories)

    def tenants(self) -> set[int]:
        """Return the tenants of which something is open or waits."""
        found: set[int] = set()
        for memory in self.memories:
            found.update(memory.sessions["tenant"][memory.sessions["key"] != 0].tolist())
        for of_shard in self.held:
            for some in of_shard.values():
                found.update(some.decoded.rows["tenant"].tolist())
        return found

    def problems(self, after: Spread, tenants: Tenants, settings: ShardSettings) -> list[str]:
        """Return why the fleet cannot be divided so, a sentence each."""
        found: list[str] = []
        windows = [memory.window.tobytes() for memory in self.memories]
        if len(set(windows)) > 1:
            first_us = [int(memory.window["first_us"][0]) for memory in self.memories]
            found.append(
                f"some shards have come to {iso(min(first_us))}, some to {iso(max(first_us))}, "
                "as they do when a source is far behind; let a run go on until it has caught up"
            )
        shards = self._shards(after, tenants)
        unknown = sum(int(np.count_nonzero(each == UNKNOWN)) for each in shards)
        if unknown:
            found.append(
                f"of {unknown:,} agents it is not known any more by what they are routed, as there "
                "were more groups or tenants than there is room for; they can be kept with "
                f'shard_by = "agent", or with a number of shards that divides {self.before.shards}'
            )
            return found
        return found + self._too_many(after, shards, settings)

    def _too_many(
        self, after: Spread, shards: Sequence[Shards], settings: ShardSettings
    ) -> list[str]:
        """Return which caps the new shards would not keep."""
        if not self.memories:
            return []
        most = np.zeros(3, np.int64)
        shares = self._shares(after, shards)
        for shard in range(after.shards):
            here = [each == shard for each in shards]
            pairs = list(zip(self.memories, here, strict=True))
            agents = [memory.agents["key"][of] for memory, of in pairs]
            opened = [_open_keys(memory, of) for memory, of in pairs]
            peers = [_peers(*each, shard) for each in zip(self.memories, shares, strict=True)]
            counts = [len(np.unique(np.concatenate(keys))) for keys in (agents, opened, peers)]
            most = np.maximum(most, counts)
        caps = (settings.agents_max, settings.sessions_max, int(settings.loop["groups_max"]))
        names = ("agents", "sessions", "groups")
        needed = (most + _BESIDE).tolist()
        return [
            f"a shard would have {count:,} {name}: baseline.{name}_max must be at least {need:,}"
            for name, count, need, cap in zip(names, most.tolist(), needed, caps, strict=True)
            if need > cap
        ]

    def _shards(self, after: Spread, tenants: Tenants) -> list[Shards]:
        return [
            shards_of_agents(memory, number, self.before, after, tenants)
            for number, memory in enumerate(self.memories)
        ]

    def _shares(self, after: Spread, shards: Sequence[Shards]) -> list[Shares]:
        return [
            shares_of(memory, of, number, after)
            for number, (memory, of) in enumerate(zip(self.memories, shards, strict=True))
        ]

    def divided(self, after: Spread, tenants: Tenants, settings: ShardSettings) -> list[bytes]:
        """Return the new shards, dumped; there must be no `problems`."""
        if not self.memories:
            return []
        shards = self._shards(after, tenants)
        waiting = routed(self.held, self.waiting, after)
        division = _Division(self, after, shards, self._shares(after, shards), settings)
        return [division.dumped(shard, waiting[shard]) for shard in range(after.shards)]


def _open_keys(memory: Memory, moving: NDArray[np.bool_]) -> NDArray[np.uint64]:
    sessions = memory.sessions
    return sessions["key"][(sessions["key"] != 0) & moving[sessions["agent"]]]


def _peers(memory: Memory, shares: Shares, shard: int) -> NDArray[np.uint64]:
    """Return the keys of the groups and fleets that come to a shard, but for the crowd's."""
    rows = np.array(shares.at(shard)[0], np.int64)
    rows = np.union1d(rows, memory.groups["parent"][rows])
    return memory.groups["key"][rows[rows != CROWD]]


@dataclass(frozen=True, slots=True)
class _Division:
    """A fleet being divided: where each row of agents goes, and the shares of groups."""

    fleet: Fleet
    after: Spread
    shards: Sequence[Shards]
    shares: Sequence[Shares]
    settings: ShardSettings

    def dumped(self, shard: int, waiting: Dumped) -> bytes:
        """Return a new shard as bytes."""
        heap, scripts = Heap(), Scripts()
        fleet = self.fleet
        groups, rows = self._groups(shard, heap)
        crews = crews_at(shard, fleet.memories, fleet.findings, self.shards, self.settings)
        agents, sessions, findings = _assembled(crews, rows, heap, scripts)
        pending = self._pending(shard, rows)
        counters = self._counters(shard, len(sessions) - 1)
        counters[PENDING_USED] = len(pending)
        tally, recent = self._ranking(shard)
        kept = gathered_kept(shard, fleet.memories, self.shards, heap)
        counters[KEPT_USED] = len(kept)
        own = fleet.memories[shard :: self.after.shards]
        acted = scripts.rows()
        memory = Memory.around(
            **gathered_donors(fleet.memories, own, counters),
            agents=agents,
            groups=groups,
            sessions=sessions,
            scripts=acted,
            used=np.array(list(map(len, (agents, groups, sessions, acted))), np.int64),
            vacant=np.zeros(4, np.int64),
            pages=heap.pages(),
            window=fleet.memories[0].window.copy(),
            tally=tally,
            recent=recent,
            counters=counters,
            taught=self._taught(shard, rows),
            pending=pending,
            kept=kept,
        )
        found, queue, judging = Findings(), Waiting(list(waiting[0]["clocks"])), Judging()
        judging.load(gathered_verdicts(fleet.judging))
        found.load([[number, kept] for number, kept in sorted(findings.items())])
        queue.load(*waiting)
        return snapshot.dump(shard, memory, found, queue, judging, swarms={})  # counted anew

    def _pieces(self, shard: int) -> dict[int, list[Piece]]:
        """Return the pieces of the groups and fleets of a shard by their keys."""
        pieces: dict[int, list[Piece]] = defaultdict(list)
        for memory, shares in zip(self.fleet.memories, self.shares, strict=True):
            keys, parents = memory.groups["key"], memory.groups["parent"]
            rows, of_rows = shares.at(shard)
            for row, share in zip(rows, of_rows, strict=True):
                pieces[int(keys[row])].append(Piece(memory, row, share))
            # A fleet whose agents are elsewhere, or gone, tells what is known all the same.
            for fleet in sorted({int(parents[row]) for row in rows} - set(rows)):
                pieces[int(keys[fleet])].append(Piece(memory, fleet, 0.0))
        return pieces

    def _groups(self, shard: int, heap: Heap) -> tuple[NDArray[Any], Groups]:
        pieces = self._pieces(shard)
        crowd = int(self.fleet.memories[0].groups["key"][CROWD])
        keys = [crowd, *sorted(key for key in pieces if key != crowd)]
        rows = {key: row for row, key in enumerate(keys, CROWD)}
        groups = np.zeros(len(keys) + CROWD, OWNER)
        groups[CROWD]["key"] = crowd
        groups[CROWD]["parent"] = CROWD
        for key, of_one in pieces.items():
            row, first = rows[key], of_one[0]
            groups[row] = self._group(of_one, heap)
            fleet = first.memory.groups[first.owner["parent"]]
            groups[row]["parent"] = rows[int(fleet["key"])]
        return groups, rows

    def _group(self, pieces: Sequence[Piece], heap: Heap) -> Any:
        if len(pieces) == 1 and pieces[0].share == 1.0:
            whole = pieces[0].owner[None].copy()
            heap.put_tables(whole, pieces[0].memory.pages)
            return whole[0]
        owner = pooled_owner(pieces)
        table = pooled_items(pieces)
        if len(table.item):
            heap.put_table(owner, table.table(int(self.settings.loop["group_bits_max"])))
        return owner

    def _taught(self, shard: int, rows: Groups) -> NDArray[Any]:
        taught = np.zeros(len(rows) + CROWD, TAUGHT)
        for memory, shares in zip(self.fleet.memories, self.shares, strict=True):
            most = shares.most(len(memory.groups))
            for row in np.flatnonzero((most == shard) & (memory.taught["sessions"] > 0)).tolist():
                lesson = taught[rows[int(memory.groups["key"][row])]]
                for name in TAUGHT.names or ():
                    lesson[name] += memory.taught[row][name]
        return taught

    def _pending(self, shard: int, rows: Groups) -> NDArray[Any]:
        found = [np.zeros(0, PENDING)]
        for memory, shares in zip(self.fleet.memories, self.shares, strict=True):
            most = shares.most(len(memory.groups))
            lessons = memory.pending[: memory.counters[PENDING_USED]]
            lessons = lessons[most[lessons["group"]] == shard]
            keys = memory.groups["key"][lessons["group"]]
            lessons["group"] = [rows[key] for key in keys.tolist()]
            found.append(lessons)
        return summed(np.concatenate(found))

    def _counters(self, shard: int, open_sessions: int) -> NDArray[np.int64]:
        """Return what a shard has counted, among it the sessions that are numbered below."""
        counters = np.zeros(COUNTERS, np.int64)
        for number, memory in enumerate(self.fleet.memories):
            if number % self.after.shards == shard:
                counters += memory.counters
                counters[N_OPENED] -= np.count_nonzero(memory.sessions["key"])
        counters[N_OPENED] += open_sessions
        return counters

    def _ranking(self, shard: int) -> tuple[Tally, Tally]:
        """Return the ranking of a shard, and what is to come into it."""
        memories = self.fleet.memories
        moved = np.array([self._weights(place) for place in range(len(memories))])
        shares = moved[:, shard] / np.maximum(moved.sum(axis=1), 1.0)
        if not shares.any():  # whoever comes here one day is compared with all
            shares = np.ones(len(memories))
        recent = np.zeros_like(memories[0].recent)
        for number, memory in enumerate(memories):
            all_elsewhere = not moved[number].any()
            home = number % self.after.shards if all_elsewhere else int(moved[number].argmax())
            if home == shard:
                recent += memory.recent
        return pooled_ranking([memory.tally for memory in memories], shares.tolist()), recent

    def _weights(self, place: int) -> NDArray[np.float64]:
        """Return what the agents of an old shard weigh in each new one."""
        shards = self.shards[place]
        live = shards >= 0
        weights = weights_of(self.fleet.memories[place])[live]
        return np.bincount(shards[live], weights, self.after.shards).astype(np.float64)


def _assembled(
    crews: Sequence[Crew], rows: Groups, heap: Heap, scripts: Scripts
) -> tuple[NDArray[Any], NDArray[Any], Found]:
    """Return the agents and open sessions of crews, with templates before them, and findings."""
    agents, sessions = [np.zeros(1, OWNER)], [np.zeros(1, SESSION)]
    findings: Found = {}
    agent_first = session_first = 0
    for crew in crews:
        for rows_, names, first in (
            (crew.agents, ("head", "tail"), session_first),
            (crew.sessions, ("before", "after"), session_first),
            (crew.sessions, ("agent",), agent_first),
        ):
            for name in names:
                rows_[name] += np.where(rows_[name] > 0, first, 0).astype(np.int32)
        crew.agents["parent"] = [rows[key] for key in crew.parents.tolist()]
        numbers = crew.sessions["number"].tolist()
        for place, number in enumerate(numbers, session_first):
            if number in crew.findings:
                findings[place] = crew.findings[number]
        crew.sessions["number"] = np.arange(session_first, session_first + len(numbers))
        heap.put_tables(crew.agents, crew.pages)
        heap.put_tables(crew.sessions, crew.pages)
        scripts.put(crew.sessions, crew.scripts)
        agents.append(crew.agents)
        sessions.append(crew.sessions)
        agent_first += len(crew.agents)
        session_first += len(crew.sessions)
    return np.concatenate(agents), np.concatenate(sessions), findings
