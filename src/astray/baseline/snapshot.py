"""A shard as bytes and back.

What can be rebuilt (the indexes, the odds) is left out, and so is room for growth. Lessons that
wait for the turn of the window are summed up: when the memory did so last is no part of it.
"""

from typing import Any

from numpy.typing import NDArray

from astray import blob
from astray.baseline.buffers import PENDING_USED
from astray.baseline.clocks import Clocks
from astray.baseline.findings import Findings
from astray.baseline.memory import AGENTS, GROUPS, SESSIONS, Memory
from astray.baseline.pages import used_pages
from astray.baseline.turn import summed

_KIND = "shard"


def dump(number: int, memory: Memory, findings: Findings, clocks: Clocks) -> bytes:
    """Return a shard as bytes."""
    used, counters = memory.used, memory.counters.copy()
    pending = summed(memory.pending[: counters[PENDING_USED]])
    counters[PENDING_USED] = len(pending)
    arrays: dict[str, NDArray[Any]] = {
        "agents": memory.agents[: used[AGENTS]],
        "groups": memory.groups[: used[GROUPS]],
        "sessions": memory.sessions[: used[SESSIONS]],
        "used": used,
        "vacant": memory.vacant,
        "pages": memory.pages[: used_pages(memory.pages)],
        "window": memory.window,
        "tally": memory.tally,
        "recent": memory.recent,
        "counters": counters,
        "taught": memory.taught[: used[GROUPS]],
        "pending": pending,
    }
    meta = {"number": number, "findings": findings.dump(), "clocks": clocks.dump()}
    return blob.pack(_KIND, meta, arrays)


def load(data: bytes) -> tuple[int, Memory, list[Any], dict[str, Any]]:
    """Return number, memory, findings and clocks of a dumped shard.

    Raises
    ------
    StateError
        The bytes are not a shard's, damaged, or of another schema version.
    """
    meta, arrays = blob.unpack(data, _KIND)
    return meta["number"], Memory.around(**arrays), meta["findings"], meta["clocks"]
