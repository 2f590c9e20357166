"""A shard as bytes and back.

What can be rebuilt (the indexes, the odds) is left out, and so is room for growth. Lessons that
wait for the turn of the window are summed up: when the memory did so last is no part of it.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astray import blob, large
from astray.baseline.buffers import COUNTERS, KEPT_USED, PENDING_USED
from astray.baseline.findings import Findings
from astray.baseline.judging import Judging
from astray.baseline.kept import KEPT
from astray.baseline.memory import AGENTS, GROUPS, SCRIPTS, SESSIONS, Memory
from astray.baseline.pages import used_pages
from astray.baseline.turn import summed
from astray.baseline.upgrading import upgraded_shard
from astray.baseline.waiting import Waiting

_KIND = "shard"
_WAITING = "waiting:"
_SWARMS = "swarms:"

Arrays = dict[str, NDArray[Any]]


def dump(
    number: int,
    memory: Memory,
    findings: Findings,
    waiting: Waiting,
    judging: Judging,
    swarms: Arrays,
) -> bytes:
    """Return a shard as bytes."""
    used, counters = memory.used, memory.counters.copy()
    pending = summed(memory.pending[: counters[PENDING_USED]])
    counters[PENDING_USED] = len(pending)
    arrays: Arrays = {
        "agents": memory.agents[: used[AGENTS]],
        "groups": memory.groups[: used[GROUPS]],
        "sessions": memory.sessions[: used[SESSIONS]],
        "scripts": memory.scripts[: used[SCRIPTS]],
        "used": used,
        "vacant": memory.vacant,
        "pages": memory.pages[: used_pages(memory.pages)],
        "window": memory.window,
        "tally": memory.tally,
        "recent": memory.recent,
        "counters": counters,
        "taught": memory.taught[: used[GROUPS]],
        "pending": pending,
        "donors": memory.donors,
        "recent_donors": memory.recent_donors,
        "kept": memory.kept[: counters[KEPT_USED]],
    }
    arrays |= {f"{_SWARMS}{name}": array for name, array in swarms.items()}
    clocks, lines = waiting.dump()
    meta = {
        "number": number,
        "findings": findings.dump(),
        "waiting": clocks,
        "judging": judging.dump(),
    }
    return blob.pack(_KIND, meta, arrays | {f"{_WAITING}{name}": lines[name] for name in lines})


class Loaded(NamedTuple):
    """What a dump is of: a number, arrays, and the rest as JSON, with the arrays that it has."""

    number: int
    memory: Memory
    findings: list[Any]
    waiting: tuple[dict[str, Any], Arrays]
    judging: dict[str, Any]
    swarms: Arrays


def load(data: bytes) -> Loaded:
    """Return what is in a dumped shard; dumps of before there were verdicts have none.

    Raises
    ------
    StateError
        The bytes are not a shard's, damaged, or of a schema version that is not read.
    """
    meta, arrays = blob.unpack(data, _KIND)
    waiting = _popped(arrays, _WAITING)
    swarms = _popped(arrays, _SWARMS)  # older dumps have none
    arrays = upgraded_shard(arrays)
    arrays["counters"] = large.longer(arrays["counters"], COUNTERS)
    arrays.setdefault("kept", np.zeros(0, KEPT))
    memory = Memory.around(**arrays)
    waits = (meta["waiting"], waiting)
    return Loaded(meta["number"], memory, meta["findings"], waits, meta.get("judging", {}), swarms)


def _popped(arrays: Arrays, prefix: str) -> Arrays:
    """Take the arrays of a part out of all of them."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}
