"""What the host does when the hot loop has run short: flush, grow, or make somebody go.

Growth doubles. At a cap the agents that matter least go: those longest silent, the ones
with few sessions first, so that a flood of made-up agents pushes out itself.
"""

import numpy as np
from numpy.typing import NDArray

from astray.baseline.buffers import N_EVICTED, N_PENDING_LOST, PENDING_USED
from astray.baseline.index import drop_row
from astray.baseline.memory import (
    AGENTS,
    GROUPS,
    SESSIONS,
    Memory,
    longer,
    with_more_pages,
    with_more_rows,
)
from astray.baseline.observe import (
    DONE,
    FEW_AGENTS,
    FEW_GROUPS,
    FEW_PAGES,
    FEW_SESSIONS,
    end_session,
    few_buffers,
)
from astray.baseline.pages import release
from astray.baseline.settings import ShardSettings
from astray.baseline.turn import summed

_PENDING_ROWS_MAX = 1 << 22
_SHARE_LEAVING = 16
_SESSIONS_COUNTED_MAX = 50
_DAY_US = 86_400_000_000


def make_room(
    memory: Memory, settings: ShardSettings, shortage: int, scratch: NDArray[np.float32]
) -> Memory:
    """Return the memory with room for what the loop was short of."""
    if shortage == FEW_PAGES:
        return with_more_pages(memory)
    if shortage == FEW_GROUPS:
        return with_more_rows(memory, GROUPS)
    if shortage == FEW_AGENTS:
        if len(memory.agents) < settings.agents_max:
            return with_more_rows(memory, AGENTS)
        return _evict_agents(memory, settings, scratch)
    if shortage == FEW_SESSIONS:
        if len(memory.sessions) < settings.sessions_max:
            return with_more_rows(memory, SESSIONS)
        return _end_oldest(memory, settings, scratch)
    return _with_short_pending(memory)


def _with_short_pending(memory: Memory) -> Memory:
    """Sum up what is pending; if that leaves little room make more, and at the cap lose some."""
    used = int(memory.counters[PENDING_USED])
    if used < len(memory.pending) // 2:
        return memory
    short = summed(memory.pending[:used])
    if len(short) > len(memory.pending) // 2:
        if len(memory.pending) < _PENDING_ROWS_MAX:
            memory = memory._replace(pending=longer(memory.pending))
        else:
            memory.counters[N_PENDING_LOST] += len(short) - len(memory.pending) // 2
            # Fingerprints are random, so this is a sample, and the same one for any order.
            short = short[np.argsort(short["item"], kind="stable")[: len(memory.pending) // 2]]
    memory.pending[: len(short)] = short
    memory.counters[PENDING_USED] = len(short)
    return memory


def _oldest(worth_us: NDArray[np.int64], rows: NDArray[np.intp]) -> list[int]:
    """Return the rows of least worth: a sixteenth of them, at least one."""
    count = max(len(rows) // _SHARE_LEAVING, 1)
    order: list[int] = rows[np.argsort(worth_us[rows], kind="stable")[:count]].tolist()
    return order


def _end_oldest(memory: Memory, settings: ShardSettings, scratch: NDArray[np.float32]) -> Memory:
    """End the sessions longest without an event, as if they were idle."""
    for row in _oldest(memory.sessions["last_us"], np.flatnonzero(memory.sessions["key"])):
        if few_buffers(memory) == FEW_PAGES:
            memory = with_more_pages(memory)
        if few_buffers(memory) != DONE:
            return memory  # the loop asks again once its buffers are flushed
        with np.errstate(over="ignore"):
            end_session(memory, settings.loop, scratch, row)
    return memory


def _evict_agents(memory: Memory, settings: ShardSettings, scratch: NDArray[np.float32]) -> Memory:
    """Forget agents without an open session: those longest silent, young ones first."""
    agents = memory.agents
    resting = np.flatnonzero((agents["key"] != 0) & (agents["head"] == 0))
    if not len(resting):
        return _end_oldest(memory, settings, scratch)
    worth_us = agents["last_us"] + np.minimum(agents["sessions"], _SESSIONS_COUNTED_MAX) * _DAY_US
    for row in _oldest(worth_us, resting):
        agent = agents[row]
        with np.errstate(over="ignore"):
            drop_row(memory.agent_index, agent["key"])
            release(memory.pages, agent)
        agent["key"] = 0
        agent["run"] = memory.vacant[AGENTS]
        memory.vacant[AGENTS] = row
        memory.counters[N_EVICTED] += 1
    return memory
