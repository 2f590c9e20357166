"""How a session would stand if an event came now: the shard's own scoring, and no trace of it.

What the event adds is added to a copy of its session by the code that scores the stream. The
copy's items lie in pages that the shard has never used, and its ledger is put back.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from astray.baseline.buffers import COUNTERS, EVIDENCE, EVIDENCE_USED, RECORD, RECORDS_USED
from astray.baseline.granting import NOTHING_SAID, Said
from astray.baseline.index import find_row
from astray.baseline.items import add_items
from astray.baseline.layout import FLEET, IMPLICIT, OWNER, SENSITIVE_TAG, SESSION, UNGROUPED
from astray.baseline.marking import add_permission, add_sensitive
from astray.baseline.memory import GROUPS, Memory, with_more_pages
from astray.baseline.pages import RUN_BITS_MAX, WAYS, used_pages
from astray.baseline.part import NO_TAGS
from astray.baseline.ranking import age_class
from astray.baseline.reporting import report
from astray.baseline.session import add_totals, begin, raise_statistics
from astray.baseline.shard import Shard
from astray.compiled import compiled, inner, int64
from astray.events.ids import mix

_PAGES_MARGIN = 1 << (RUN_BITS_MAX + 1)
EVIDENCE_MAX = 512
"""More than one event can leave."""

_USED = WAYS - 1
_NONE = np.uint64(0)
_AGENT, _GROUP, _FLEET_OWNER = range(3)


class _Copies(NamedTuple):
    """What a look writes, instead of the shard's own."""

    owners: NDArray[Any]
    session: NDArray[Any]
    ledger: NDArray[np.uint32]
    evidence: NDArray[Any]
    counters: NDArray[np.int64]
    records: NDArray[Any]

    @classmethod
    def new(cls) -> Self:
        """Return empty ones."""
        return cls(
            np.zeros(3, OWNER),
            np.zeros(1, SESSION),
            np.zeros(WAYS, np.uint32),
            np.zeros(EVIDENCE_MAX, EVIDENCE),
            np.zeros(COUNTERS, np.int64),
            np.zeros(1, RECORD),
        )


class Onlooker:
    """Looks at a shard without changing it."""

    def __init__(self) -> None:
        self._copies = _Copies.new()

    def standing(
        self,
        shard: Shard,
        rows: NDArray[Any],
        resources: NDArray[Any],
        tags: NDArray[np.uint64] = NO_TAGS,
        said: Said = NOTHING_SAID,
    ) -> NDArray[Any]:
        """Return the record (of `buffers.RECORD`) of the session that these events belong to.

        It is scored from what has been learnt by now: no window turns, and what has fallen
        asleep meanwhile has not ended yet.
        """
        while used_pages(shard.memory.pages) + _PAGES_MARGIN > len(shard.memory.pages):
            shard.memory = with_more_pages(shard.memory)
        with np.errstate(over="ignore"):  # only the interpreted form warns
            _stand(shard.memory, shard.settings.loop, rows, resources, tags, said, self._copies)
        return self._copies.records.copy()


@inner
def _find_owners(memory: Memory, settings: Any, event: Any, owners: NDArray[Any]) -> None:
    """Copy the agent of an event, its group and fleet; who is not known has learnt nothing."""
    agent = find_row(memory.agent_index, event["agent"])
    if agent >= 0:
        owners[_AGENT] = memory.agents[agent]
        group = int64(memory.agents[agent]["parent"])
    else:
        owners[_AGENT] = memory.agents[0]
        named = event["group"] != _NONE
        key = event["group"] if named else mix(event["tenant"], UNGROUPED)
        group = find_row(memory.group_index, key)
        if group < 0:
            group = int64(memory.used[GROUPS] >= settings["groups_max"])
    if group > 0:
        fleet = int64(memory.groups[group]["parent"])
    else:
        fleet = max(find_row(memory.group_index, mix(event["tenant"], FLEET)), int64(0))
    owners[_GROUP] = memory.groups[group]
    owners[_FLEET_OWNER] = memory.groups[fleet]


@inner
def _copy_leaf(memory: Memory, session: Any) -> None:
    """Give a copied session pages of its own, the first that were never used."""
    pages = memory.pages
    if session["run"] == 0:
        return
    old, new = int64(session["run"]), int64(pages[0]["item"][_USED])
    count = 1 << int64(session["run_bits"])
    for page in range(count):
        pages[new + page] = pages[old + page]
    pages[0]["item"][_USED] = new + count
    session["run"] = new


@inner
def _open(memory: Memory, settings: Any, event: Any, copies: _Copies) -> None:
    """Copy the event's session, or begin it where it is not open, or asleep."""
    key = event["session"] if event["session"] != _NONE else mix(event["agent"], IMPLICIT)
    row = find_row(memory.session_index, key)
    session, agent = copies.session[0], copies.owners[_AGENT]
    awake_us = event["ts_us"] - settings["idle_us"]
    if row >= 0 and memory.sessions[row]["last_us"] > awake_us:
        copies.session[0] = memory.sessions[row]
        _copy_leaf(memory, session)
        return
    copies.session[0] = memory.sessions[0]
    session["key"] = key
    session["age"] = age_class(agent["sessions"])
    group = copies.owners[_GROUP]
    begin(session, event, agent, group, memory.pages, settings, memory.window[0])


@compiled
def _stand(
    memory: Memory,
    settings: Any,
    rows: NDArray[Any],
    resources: NDArray[Any],
    tags: NDArray[np.uint64],
    said: Said,
    copies: _Copies,
) -> None:
    """Write the record of the first event's session, after all these events."""
    ledger = memory.pages[0]["item"]
    for place in range(len(copies.ledger)):
        copies.ledger[place] = ledger[place]
        if place <= RUN_BITS_MAX:
            ledger[place] = 0  # no run of pages is free: new ones lie beyond what is used
    _find_owners(memory, settings, rows[0], copies.owners)
    _open(memory, settings, rows[0], copies)
    session, agent, group = copies.session[0], copies.owners[_AGENT], copies.owners[_GROUP]
    for row in range(len(rows)):
        copies.counters[EVIDENCE_USED] = 0
        bits, of_action = add_items(
            session, rows[row], resources, agent, group, copies.owners[_FLEET_OWNER],
            memory.pages, settings, memory.window[0], copies.evidence, copies.counters, row,
        )  # fmt: skip
        if len(tags) > 0 and tags[row] & SENSITIVE_TAG != _NONE:
            add_sensitive(session, bits, copies.evidence, copies.counters, int64(0))
        if len(said) > 0 and of_action > 0.0:
            add_permission(
                session, of_action, int64(said[row]), copies.evidence, copies.counters, int64(0)
            )
        add_totals(session, rows[row])
    raise_statistics(session, memory.ranks)
    copies.counters[RECORDS_USED] = 0
    agent["key"] = rows[0]["agent"]
    report(copies.records, copies.counters, session, agent, group, int64(0), session["last_us"])
    for place in range(len(copies.ledger)):
        ledger[place] = copies.ledger[place]
