"""What the next events will look up is asked for before it is their turn.

Half of the hot loop's time was waiting for memory: tables of thousands of agents lie in no
cache, and an event reads a dozen places of them, each known only when the one before has come.
Asked for many events at a time, the waiting overlaps. Nothing is changed and nothing is decided
here; what an event before it changes is asked for in vain.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.index import find_row
from astray.baseline.layout import (
    ACTION,
    CALLEE,
    COMPARED_CHANNELS,
    OWNER,
    PAIR,
    PATTERN,
    PLACE,
    PRINCIPAL,
    RESOURCE,
    SESSION,
    SOURCE,
    TRANSITION,
    USE,
)
from astray.baseline.learning import mass_of
from astray.baseline.memory import Memory
from astray.baseline.pages import fetch_page, find, fingerprint
from astray.baseline.session import session_key
from astray.compiled import inner, int64, merged
from astray.events.ids import mix
from astray.vector import fetch

_LINE = 64
_OFFSETS = {name: int(place[1]) for name, place in (OWNER.fields or {}).items()}
_AGENT_LINES = np.array(
    [0, _LINE, *(_OFFSETS[name] for name in ("mass", "head", "seen")), _OFFSETS["seen"] + _LINE,
     OWNER.itemsize - 1]
)  # fmt: skip
"""Where the parts of an agent's row lie that every event reads."""

_SESSION_BYTES = SESSION.itemsize

_AGENT, _SESSION, _FIRST = 0, 1, 2
_RESOURCES = _FIRST + 5
_RESOURCES_MAX = 2
_LEVELS = 5
"""Places in what is noted of an event: rows, then items; 0 where there is none."""


@inner
def _fetch_place(index: Any, key: np.uint64) -> None:
    fetch(index, int64(key & np.uint64(len(index) - 1)), int64(0))


@merged
def _fetch_rows(memory: Memory, event: Any, ahead: NDArray[np.int64]) -> None:
    """Note the rows of the event's agent and session, and ask for them."""
    agent = find_row(memory.agent_index, event["agent"])
    session = find_row(memory.session_index, session_key(event))
    ahead[_AGENT], ahead[_SESSION] = max(agent, 0), max(session, 0)
    if agent >= 0:
        for line in range(len(_AGENT_LINES)):
            fetch(memory.agents, agent, int64(_AGENT_LINES[line]))
    if session >= 0:
        for line in range(0, _SESSION_BYTES, _LINE):
            fetch(memory.sessions, session, int64(line))


@inner
def _note(ahead: NDArray[np.int64], place: int, channel: int, id_: np.uint64) -> None:
    ahead[place] = fingerprint(channel, id_) if id_ != np.uint64(0) else 0


@merged
def _note_items(memory: Memory, event: Any, resources: NDArray[Any], ahead: Any) -> None:
    """Note the items of an event, and ask for where its session would have them."""
    session, action = memory.sessions[ahead[_SESSION]], event["action"]
    _note(ahead, _FIRST, int64(ACTION), action)
    _note(ahead, _FIRST + 1, int64(TRANSITION), mix(session["previous"], action))
    _note(ahead, _FIRST + 2, int64(SOURCE), event["source"])
    _note(ahead, _FIRST + 3, int64(PRINCIPAL), event["principal"])
    _note(ahead, _FIRST + 4, int64(CALLEE), event["callee"])
    ahead[_RESOURCES:] = 0
    for number in range(min(int64(event["resource_count"]), _RESOURCES_MAX)):
        resource = resources[event["resource_first"] + number]
        place, pattern = _RESOURCES + number * _LEVELS, resource["pattern"]
        _note(ahead, place, int64(RESOURCE), resource["id"])
        _note(ahead, place + 1, int64(PAIR), mix(action, resource["id"]))
        _note(ahead, place + 2, int64(PATTERN), pattern)
        _note(ahead, place + 3, int64(PLACE), resource["place"])
        _note(ahead, place + 4, int64(USE), mix(action, pattern))
    for place in range(_FIRST, len(ahead)):
        if ahead[place] != 0:
            fetch_page(memory.pages, session, int64(ahead[place]))


@merged
def _fetch_of_agent(memory: Memory, ahead: NDArray[np.int64]) -> None:
    """Ask for where the agent would have what is new to the session; forget what is not."""
    session, agent = memory.sessions[ahead[_SESSION]], memory.agents[ahead[_AGENT]]
    for place in range(_FIRST, len(ahead)):
        item = int64(ahead[place])
        if item == 0:
            continue
        if find(memory.pages, session, item) >= 0:
            ahead[place] = 0
            continue
        fetch_page(memory.pages, agent, item)
        if place < _FIRST + COMPARED_CHANNELS:
            fetch_page(memory.pages, memory.groups[agent["parent"]], mass_of(item))


@merged
def _fetch_of_group(memory: Memory, ahead: NDArray[np.int64]) -> None:
    """Ask for where the group would have what is new to the agent."""
    agent = memory.agents[ahead[_AGENT]]
    for place in range(_FIRST, len(ahead)):
        item = int64(ahead[place])
        if item != 0 and find(memory.pages, agent, item) < 0:
            fetch_page(memory.pages, memory.groups[agent["parent"]], item)


@merged
def look_ahead(
    memory: Memory,
    rows: NDArray[Any],
    resources: NDArray[Any],
    order: NDArray[np.int64],
    first: int,
    end: int,
) -> None:
    """Ask for what the events `rows[order[first:end]]` will read, as far as it can be known.

    There are at most `EVENTS_AHEAD`. Each step needs what the one before has asked for.
    """
    ahead = memory.ahead
    for place in range(first, end):
        _fetch_place(memory.agent_index, rows[order[place]]["agent"])
        _fetch_place(memory.session_index, session_key(rows[order[place]]))
    for place in range(first, end):
        _fetch_rows(memory, rows[order[place]], ahead[place - first])
    for place in range(first, end):
        _note_items(memory, rows[order[place]], resources, ahead[place - first])
    for place in range(first, end):
        _fetch_of_agent(memory, ahead[place - first])
    for place in range(first, end):
        _fetch_of_group(memory, ahead[place - first])
