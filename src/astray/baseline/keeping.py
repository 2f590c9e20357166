"""Room for kept sessions: how many there may be, of everybody and of one agent."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray import large
from astray.baseline.buffers import KEPT_USED, N_UNKEPT, UNITS
from astray.baseline.kept import KEPT, KEPT_MARGIN, KEPT_MAX, KEPT_OF_AGENT_MAX, PEERS_EXCUSED
from astray.baseline.memory import Memory
from astray.baseline.pages import release
from astray.baseline.revising import excuse_peers_no_more

Kept = NDArray[Any]
"""Rows of `kept.KEPT`."""

Places = NDArray[np.bool_]


def kept_rows(memory: Memory) -> Kept:
    """Return the kept sessions, in the order in which they ended; they can be written."""
    return memory.kept[: memory.counters[KEPT_USED]]


def with_room_to_keep(memory: Memory) -> Memory:
    """Return the memory with room for more kept sessions; at the cap half of them go."""
    used = int(memory.counters[KEPT_USED])
    if used + KEPT_MARGIN <= len(memory.kept):
        return memory
    if len(memory.kept) < KEPT_MAX:
        return memory._replace(kept=large.longer(memory.kept, 2 * len(memory.kept)))
    trim(memory)
    rows = kept_rows(memory)
    newest_first = np.lexsort((rows["key"], -rows["last_us"], _merit(rows)))
    leaving = np.ones(len(rows), np.bool_)
    leaving[newest_first[: KEPT_MAX // 2]] = False
    drop(memory, leaving)
    return memory


def trim(memory: Memory) -> None:
    """Let the oldest sessions go of agents that have too many."""
    rows = kept_rows(memory)
    if len(rows) <= KEPT_OF_AGENT_MAX:
        return
    order = np.lexsort((rows["key"], -rows["last_us"], _merit(rows), rows["agent"]))
    agents = rows["agent"][order]
    place_of_agent = np.arange(len(rows)) - np.searchsorted(agents, agents)
    leaving = np.zeros(len(rows), np.bool_)
    leaving[order[place_of_agent >= KEPT_OF_AGENT_MAX]] = True
    drop(memory, leaving)


def _merit(rows: Kept) -> NDArray[np.int64]:
    """Return who stays longest: 0 what was judged, 1 what is in quarantine, 2 all else."""
    return np.where(rows["verdict"] != 0, 0, np.where(rows["units"] == 0, 1, 2))


def forget_agents(memory: Memory, keys: NDArray[np.uint64]) -> None:
    """Keep nothing of agents that are being forgotten."""
    drop(memory, np.isin(kept_rows(memory)["agent"], keys))


def drop(memory: Memory, leaving: Places) -> None:
    """Keep these sessions no longer; those that might still have been learnt are counted."""
    if not leaving.any():
        return
    rows = kept_rows(memory)
    waited = leaving & (rows["units"] < UNITS) & (rows["taught"] == 0.0)
    memory.counters[N_UNKEPT] += np.count_nonzero(waited)
    for place in np.flatnonzero(leaving).tolist():
        pardon_no_more(memory, place)
        release(memory.pages, rows[place])
    staying = rows[~leaving]
    rows[: len(staying)] = staying
    rows[len(staying) :] = np.zeros(1, KEPT)
    memory.counters[KEPT_USED] = len(staying)


def pardon_no_more(memory: Memory, place: int, weight: float = 0.0, bits_max: int = 0) -> None:
    """Excuse peers no more for what this session excuses; see `excuse_peers_no_more`.

    Another session may excuse the same: all of them say so again at the next turn.
    """
    if memory.kept[place]["state"] == PEERS_EXCUSED:
        excuse_peers_no_more(memory, place, weight, bits_max)
        rows = kept_rows(memory)
        rows["held_us"][rows["state"] == PEERS_EXCUSED] = 0
