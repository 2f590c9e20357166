"""Agents that move together, with their open sessions, tables and findings.

Most are moved byte for byte. But an agent whose events name several groups has a baseline in
the shard of each: where two of them meet they become one, as if it had been there all along.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.findings import FINDINGS_MAX
from astray.baseline.layout import BURST, LARGEST, OWNER, SEEN_MAX, SESSION
from astray.baseline.memory import Memory
from astray.baseline.pages import Pages
from astray.baseline.reshard.pooling import pool_totals
from astray.baseline.reshard.spread import Shards
from astray.baseline.reshard.tables import Heap, Items, Scripts, together
from astray.baseline.settings import ShardSettings

Keys = NDArray[np.uint64]
Found = dict[int, list[Any]]
"""Dumped findings by the numbers of their sessions."""

_ADDED = (
    "rows", "items_new", "items_new_to_peers", "items_new_to_fleet", "items", "total", "burst",
    "minute_events", "likeness",
)  # fmt: skip
_LARGEST = ("last_us", "minute_first_us", "minute_events_most", "rated", "statistic", "bin")


@dataclass(slots=True)
class Crew:
    """Rows from one place. They name each other by their places here, counted from 1; 0 is none."""

    agents: NDArray[Any]
    parents: Keys
    sessions: NDArray[Any]
    scripts: NDArray[Any]
    pages: Pages
    findings: Found

    def sessions_of(self, place: int) -> list[Any]:
        """Return the open sessions of an agent, the least recently active first."""
        found, at = [], int(self.agents[place]["head"])
        while at > 0:
            found.append(self.sessions[at - 1])
            at = int(self.sessions[at - 1]["after"])
        return found


def crew_of(memory: Memory, findings: Found, moving: NDArray[np.bool_]) -> Crew:
    """Return the agents of a shard that move."""
    rows = np.flatnonzero(moving)
    place = np.zeros(len(memory.agents), np.int32)
    place[rows] = np.arange(1, len(rows) + 1)
    agents, sessions = memory.agents[rows], memory.sessions
    open_rows = np.flatnonzero((sessions["key"] != 0) & (place[sessions["agent"]] > 0))
    session_place = np.zeros(len(sessions), np.int32)
    session_place[open_rows] = np.arange(1, len(open_rows) + 1)
    open_ = sessions[open_rows]
    open_["agent"] = place[open_["agent"]]
    for rows_, names in ((agents, ("head", "tail")), (open_, ("before", "after"))):
        for name in names:
            rows_[name] = session_place[rows_[name]]
    parents = memory.groups["key"][agents["parent"]]
    return Crew(agents, parents, open_, memory.scripts, memory.pages, findings)


def crews_at(
    shard: int, memories: Sequence[Memory], findings: Sequence[Found], shards: Sequence[Shards],
    settings: ShardSettings,
) -> list[Crew]:  # fmt: skip
    """Return all agents that come to a shard; those that meet themselves are joined."""
    moving = [shards_ == shard for shards_ in shards]
    keys = [memory.agents["key"][of] for memory, of in zip(memories, moving, strict=True)]
    distinct, counts = np.unique(np.concatenate(keys), return_counts=True)
    twice = distinct[counts > 1]
    if not len(twice):
        return list(map(crew_of, memories, findings, moving))
    meeting = [
        of & np.isin(memory.agents["key"], twice)
        for memory, of in zip(memories, moving, strict=True)
    ]
    others = [of & ~also for of, also in zip(moving, meeting, strict=True)]
    joined = _joined(list(map(crew_of, memories, findings, meeting)), settings)
    return [*map(crew_of, memories, findings, others), joined]


def _joined(crews: Iterable[Crew], settings: ShardSettings) -> Crew:
    """Return the agents of crews, each of which is in more than one, as one crew."""
    met: dict[int, list[tuple[Crew, int]]] = defaultdict(list)
    for crew in crews:
        for place, key in enumerate(crew.agents["key"].tolist()):
            met[key].append((crew, place))
    heap, scripts = Heap(), Scripts()
    agents: list[Any] = []
    parents: list[int] = []
    sessions: list[Any] = []
    findings: Found = {}
    for key in sorted(met):
        parts = sorted(met[key], key=_establishment, reverse=True)
        agent = _joined_agent(parts, heap, settings)
        agents.append(agent)
        first, place = parts[0]
        parents.append(int(first.parents[place]))
        for session, found in _joined_sessions(parts, heap, scripts, settings):
            session["agent"], session["number"] = len(agents), len(sessions)
            if found:
                findings[len(sessions)] = found
            sessions.append(session)
            _link(agent, sessions)
    rows, open_ = np.array(agents, OWNER), np.array(sessions, SESSION)
    of = np.array(parents, np.uint64)
    return Crew(rows, of, open_, scripts.rows(), heap.pages(), findings)


def _link(agent: Any, sessions: Sequence[Any]) -> None:
    """Put the last session last in its agent's list."""
    before, place = agent["tail"], len(sessions)
    sessions[-1]["before"], sessions[-1]["after"] = before, 0
    if before > 0:
        sessions[before - 1]["after"] = place
    else:
        agent["head"] = place
    agent["tail"] = place


def _establishment(part: tuple[Crew, int]) -> tuple[int, int]:
    crew, place = part
    return int(crew.agents[place]["sessions"]), int(crew.agents[place]["last_us"])


def _joined_agent(of: Sequence[tuple[Crew, int]], heap: Heap, settings: ShardSettings) -> Any:
    """Return the baseline of an agent that has several, the most established first."""
    parts = [crew.agents[place] for crew, place in of]
    tables = [Items.of(crew.pages, crew.agents[place]) for crew, place in of]
    agent = parts[0].copy()
    heap.put_table(agent, _added(tables).table(int(settings.loop["agent_bits_max"])))
    agent["totals"] = agent["head"] = agent["tail"] = 0
    for name in ("sessions", "draws", "news", "mass"):
        agent[name] = sum(part[name] for part in parts)
    pool_totals(agent, parts, [1.0] * len(parts))
    for name in ("last_us", "silence"):
        agent[name] = max(part[name] for part in parts)
    latest = [np.roll(part["seen"], -int(part["seen_next"]))[::-1] for part in parts]
    by_turns = np.stack(latest, axis=1).ravel()[:SEEN_MAX]
    agent["seen"], agent["seen_next"] = by_turns[::-1], 0
    return agent


def _added(tables: Sequence[Items]) -> Items:
    """Return what is in any of these tables: weights are added, the larger note stays.

    That is the later day, but for one in 255: then peers are told of an item once more.
    """
    whole = together(tables)
    distinct, place = np.unique(whole.item, return_inverse=True)
    weight, note = np.zeros(len(distinct), np.float32), np.zeros(len(distinct), np.uint8)
    np.add.at(weight, place, whole.weight)
    np.maximum.at(note, place, whole.note)
    return Items(distinct, weight, note)


def _joined_sessions(
    parts: Sequence[tuple[Crew, int]], heap: Heap, scripts: Scripts, settings: ShardSettings
) -> Iterable[tuple[Any, list[Any]]]:
    """Return the open sessions of an agent and what was found in them; one of each name."""
    met: dict[int, list[tuple[Crew, Any]]] = defaultdict(list)
    for crew, place in parts:
        for session in crew.sessions_of(place):
            met[int(session["key"])].append((crew, session))
    joined = []
    for of_one in met.values():
        session = _joined_session([session for _, session in of_one])
        scripts.put_one(session, min(of_one, key=_beginning)[0].scripts)
        leaves = [Items.of(crew.pages, part) for crew, part in of_one]
        leaf = together(leaves)
        leaf = leaf.only(np.unique(leaf.item, return_index=True)[1])
        heap.put_table(session, leaf.table(int(settings.loop["session_bits_max"])))
        found = [
            each for crew, part in of_one for each in crew.findings.get(int(part["number"]), [])
        ]
        joined.append((session, sorted(found, key=itemgetter(0), reverse=True)[:FINDINGS_MAX]))
    return sorted(joined, key=lambda each: int(each[0]["last_us"]))


def _beginning(of_one: tuple[Crew, Any]) -> int:
    return int(of_one[1]["start_us"])


def _joined_session(parts: Sequence[Any]) -> Any:
    """Return one open session for several of one name: its totals are theirs together."""
    parts = sorted(parts, key=lambda part: int(part["start_us"]))
    session = parts[0].copy()
    for name in _ADDED:
        session[name] = sum(part[name] for part in parts)
    for name in _LARGEST:
        session[name] = np.max([part[name] for part in parts], axis=0)
    for total in (LARGEST, BURST):
        session["total"][total] = max(part["total"][total] for part in parts)
    session["tags"] = np.bitwise_or.reduce([part["tags"] for part in parts])
    session["previous"] = max(parts, key=lambda part: int(part["last_us"]))["previous"]
    return session
