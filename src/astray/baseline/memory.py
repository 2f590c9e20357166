"""All arrays of a shard.

Row 0 of `agents`, `groups`, `sessions` and `scripts` is all zero: the template of a new row, so
that 0 can mean "none" wherever a row is named. Free rows are linked through `run`. Row 1 of
`groups` is its own fleet and takes in whoever comes when there is no room for more groups.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from astray import large
from astray.baseline.buffers import COUNTERS, EVIDENCE, PENDING, RECORD, UNSETTLED, WINDOW
from astray.baseline.granting import nothing_asked
from astray.baseline.index import Index, build_index
from astray.baseline.kept import KEPT, KEPT_ROWS_MIN
from astray.baseline.layout import (
    ATOM,
    ATOM_RESOURCES,
    DONOR,
    EVENTS_AHEAD,
    NOTED_AHEAD,
    OWNER,
    PLAYED_MAX,
    SCRIPT,
    SESSION,
    TAUGHT,
)
from astray.baseline.pages import Pages, new_pages
from astray.baseline.ranking import Ranks, Tally, new_tally, rank
from astray.events.columns import EVENT
from astray.events.places import RESOURCE

DONORS, RECENT_DONORS = 512, 64

AGENTS, GROUPS, SESSIONS, SCRIPTS = range(4)
"""Kinds of rows: places in `used` and `vacant`."""

_RECORDS_MAX, _EVIDENCE_MAX = 4096, 4096
PENDING_ROWS_MIN = 1 << 16
_ROWS_MIN, _PAGES_MIN = 64, 1 << 12
_CROWD = 0x63726F7764


class Memory(NamedTuple):
    """The arrays the hot loop works on."""

    agents: NDArray[Any]
    groups: NDArray[Any]
    sessions: NDArray[Any]
    scripts: NDArray[Any]  # of the sessions that are rehearsed on
    used: NDArray[np.int64]  # rows ever used, by kind, with the template
    vacant: NDArray[np.int64]  # first free row, by kind; 0: none
    agent_index: Index
    group_index: Index
    session_index: Index
    pages: Pages
    window: NDArray[Any]
    tally: Tally
    recent: Tally
    ranks: Ranks
    counters: NDArray[np.int64]
    taught: NDArray[Any]  # one per group
    pending: NDArray[Any]
    records: NDArray[Any]
    evidence: NDArray[Any]
    asked: Index  # what grants say of actions that were new to somebody
    donors: NDArray[Any]
    recent_donors: NDArray[Any]
    kept: NDArray[Any]  # ended sessions that somebody may still judge
    plan: NDArray[Any]  # the atoms of a rehearsed attack ...
    pseudo: NDArray[Any]  # ... its session, after an empty one, and its event
    pseudo_event: NDArray[Any]
    pseudo_resources: NDArray[Any]
    ahead: NDArray[np.int64]  # what is noted of the next events, to ask for it in time

    @classmethod
    def new(cls) -> Self:
        """Return the memory of a shard that has seen nothing."""
        tally = new_tally()
        groups = np.zeros(_ROWS_MIN, OWNER)
        groups[1]["key"], groups[1]["parent"] = _CROWD, 1
        return cls.around(
            agents=np.zeros(_ROWS_MIN, OWNER),
            groups=groups,
            sessions=np.zeros(_ROWS_MIN, SESSION),
            scripts=np.zeros(_ROWS_MIN, SCRIPT),
            used=np.array([1, 2, 1, 1], np.int64),
            vacant=np.zeros(4, np.int64),
            pages=new_pages(_PAGES_MIN),
            window=np.zeros(1, WINDOW),
            tally=tally,
            recent=tally.copy(),
            counters=np.zeros(COUNTERS, np.int64),
            taught=np.zeros(_ROWS_MIN, TAUGHT),
            pending=np.zeros(0, PENDING),
            donors=np.zeros(DONORS, DONOR),
            recent_donors=np.zeros(RECENT_DONORS, DONOR),
            kept=np.zeros(0, KEPT),
        )

    @classmethod
    def around(cls, **kept: Any) -> Self:
        """Return the memory around what a snapshot keeps: the rest follows from it."""
        pending = large.longer(kept.pop("pending"), PENDING_ROWS_MIN)
        judged = kept.pop("kept")
        judged = large.longer(judged, max(1 << len(judged).bit_length(), KEPT_ROWS_MIN))
        ranks = np.zeros(kept["tally"].shape, np.float32)
        rank(kept["tally"], kept["counters"][UNSETTLED:], ranks)
        return cls(
            agent_index=build_index(kept["agents"]["key"]),
            group_index=build_index(kept["groups"]["key"]),
            session_index=build_index(kept["sessions"]["key"]),
            ranks=ranks,
            records=np.zeros(_RECORDS_MAX, RECORD),
            evidence=np.zeros(_EVIDENCE_MAX, EVIDENCE),
            asked=nothing_asked(),
            pending=pending,
            kept=judged,
            plan=np.zeros(PLAYED_MAX, ATOM),
            pseudo=np.zeros(2, SESSION),
            pseudo_event=np.zeros(1, EVENT),
            pseudo_resources=np.zeros(ATOM_RESOURCES, RESOURCE),
            ahead=np.zeros((EVENTS_AHEAD, NOTED_AHEAD), np.int64),
            **kept,
        )


def with_more_rows(memory: Memory, kind: int, rows_max: int) -> Memory:
    """Return the memory with up to twice the rows of one kind.

    Lengths are powers of two, up to the cap. So a restored memory, which begins without room,
    comes to the cap with the same event as one that was never written.
    """
    name = ("agent", "group", "session", "script")[kind]
    rows = getattr(memory, f"{name}s")
    rows = large.longer(rows, max(min(1 << len(rows).bit_length(), rows_max), _ROWS_MIN))
    if kind == SCRIPTS:
        return memory._replace(scripts=rows)
    grown = memory._replace(**{f"{name}s": rows, f"{name}_index": build_index(rows["key"])})
    if kind == GROUPS:
        return grown._replace(taught=large.longer(memory.taught, len(rows)))
    return grown


def with_more_pages(memory: Memory) -> Memory:
    """Return the memory with room for as many pages again; a restored one has none left."""
    more = max(len(memory.pages) * 2, _PAGES_MIN)
    return memory._replace(pages=large.longer(memory.pages, more))
