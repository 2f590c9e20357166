"""What the host does when the hot loop has run short: flush, grow, or make somebody go.

Growth doubles. At a cap the agents that matter least go: those longest silent, the ones
with few sessions first, so that a flood of made-up agents pushes out itself.
"""

import numpy as np
from numpy.typing import NDArray

from astray import large
from astray.baseline.buffers import N_EVICTED, N_PENDING_LOST, PENDING_USED
from astray.baseline.index import drop_row
from astray.baseline.keeping import forget_agents, with_room_to_keep
from astray.baseline.memory import (
    AGENTS,
    GROUPS,
    SCRIPTS,
    SESSIONS,
    Memory,
    with_more_pages,
    with_more_rows,
)
from astray.baseline.observe import FEW_AGENTS, FEW_GROUPS, FEW_PAGES, FEW_SCRIPTS, FEW_SESSIONS
from astray.baseline.pages import release
from astray.baseline.settings import ShardSettings
from astray.baseline.turn import summed

_PENDING_ROWS_MAX = 1 << 22
_SHARE_LEAVING = 16
_SESSIONS_COUNTED_MAX = 50
_DAY_US = 86_400_000_000


def sessions_must_end(memory: Memory, settings: ShardSettings, shortage: int) -> bool:
    """Return whether only ending sessions before their time makes room."""
    if shortage == FEW_SESSIONS:
        return len(memory.sessions) >= settings.sessions_max
    full = shortage == FEW_AGENTS and len(memory.agents) >= settings.agents_max
    return full and not len(_resting(memory))


def oldest_us(memory: Memory) -> int:
    """Return a moment up to which a sixteenth of the open sessions had their latest event."""
    last_us = memory.sessions["last_us"][memory.sessions["key"] != 0]
    return int(
        np.partition(last_us, len(last_us) // _SHARE_LEAVING)[len(last_us) // _SHARE_LEAVING]
    )


def make_room(memory: Memory, settings: ShardSettings, shortage: int) -> Memory:
    """Return the memory with room for what the loop was short of."""
    if shortage == FEW_PAGES:
        return with_more_pages(memory)
    if shortage == FEW_GROUPS:
        return with_more_rows(memory, GROUPS, int(settings.loop["groups_max"]) + 2)
    if shortage == FEW_SESSIONS:
        return with_more_rows(memory, SESSIONS, settings.sessions_max)
    if shortage == FEW_SCRIPTS:
        return with_more_rows(memory, SCRIPTS, settings.sessions_max)
    if shortage == FEW_AGENTS:
        if len(memory.agents) < settings.agents_max:
            return with_more_rows(memory, AGENTS, settings.agents_max)
        _evict_agents(memory)
        return memory
    return with_room_to_keep(_with_short_pending(memory))


def _with_short_pending(memory: Memory) -> Memory:
    """Sum up what is pending; if that leaves little room make more, and at the cap lose some."""
    used = int(memory.counters[PENDING_USED])
    if used < len(memory.pending) // 2:
        return memory
    short = summed(memory.pending[:used])
    if len(short) > len(memory.pending) // 2:
        if len(memory.pending) < _PENDING_ROWS_MAX:
            memory = memory._replace(pending=large.longer(memory.pending, 2 * len(memory.pending)))
        else:
            memory.counters[N_PENDING_LOST] += len(short) - len(memory.pending) // 2
            # Fingerprints are random, so this is a sample, and the same one for any order.
            short = short[np.argsort(short["item"], kind="stable")[: len(memory.pending) // 2]]
    memory.pending[: len(short)] = short
    memory.counters[PENDING_USED] = len(short)
    return memory


def _resting(memory: Memory) -> NDArray[np.intp]:
    """Return the rows of agents without an open session."""
    return np.flatnonzero((memory.agents["key"] != 0) & (memory.agents["head"] == 0))


def _evict_agents(memory: Memory) -> None:
    """Forget a sixteenth of the resting agents: those longest silent, young ones first."""
    agents, resting = memory.agents, _resting(memory)
    credit = np.minimum(agents["sessions"], _SESSIONS_COUNTED_MAX).astype(np.int64)
    worth_us = (agents["last_us"] + credit * _DAY_US)[resting]
    count = max(len(resting) // _SHARE_LEAVING, 1)
    leaving = resting[np.argsort(worth_us, kind="stable")[:count]]
    forget_agents(memory, agents["key"][leaving])
    for row in leaving.tolist():
        agent = agents[row]
        with np.errstate(over="ignore"):
            drop_row(memory.agent_index, agent["key"])
            release(memory.pages, agent)
        agent["key"] = 0
        agent["run"] = memory.vacant[AGENTS]
        memory.vacant[AGENTS] = row
        memory.counters[N_EVICTED] += 1
