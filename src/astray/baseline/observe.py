"""The hot loop: one compiled pass over a shard's events of a window.

Each event is scored from the past, then remembered in its session; a session that has ended
is learnt. The loop stops when a buffer is full or a table must grow, says why, and goes on
where it stopped once the host has seen to it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.ahead import look_ahead
from astray.baseline.buffers import (
    EVIDENCE_USED,
    KEPT_USED,
    N_CUT,
    N_ENDED,
    N_EVENTS,
    N_OPENED,
    N_REDELIVERED,
    PENDING_USED,
    RECORDS_USED,
)
from astray.baseline.granting import must_ask, said_of
from astray.baseline.index import drop_row, find_row, put_row
from astray.baseline.items import add_items
from astray.baseline.kept import KEPT_MARGIN, keep
from astray.baseline.layout import (
    BYTES,
    DENIALS,
    EVENTS,
    EVENTS_AHEAD,
    FLEET,
    FORBIDDEN_TAGS,
    SEEN_MAX,
    SENSITIVE_TAG,
    UNGROUPED,
)
from astray.baseline.learning import fused_bits, learn, ranked_bits, units_of
from astray.baseline.marking import add_permission, add_sensitive
from astray.baseline.memory import AGENTS, GROUPS, SCRIPTS, SESSIONS, Memory
from astray.baseline.pages import release, used_pages
from astray.baseline.ranking import age_class
from astray.baseline.rehearsing import REHEARSALS_MAX, rehearse, remember
from astray.baseline.reporting import report
from astray.baseline.rows import give_row, take_row
from astray.baseline.session import add_totals, begin, raise_statistics, session_key
from astray.compiled import compiled, inner, int64, merged
from astray.events.ids import mix

DONE, FULL, FEW_AGENTS, FEW_GROUPS, FEW_SESSIONS, FEW_SCRIPTS, FEW_PAGES, FEW_ANSWERS = range(8)
"""Why the loop stopped."""

_PAGES_MARGIN = 1024
"""Pages that one event or one ending session can use, with tables doubling to their caps."""

_RECORDS_MARGIN, _EVIDENCE_MARGIN, _PENDING_MARGIN = 3 + 3 * REHEARSALS_MAX, 192, 2048

_NONE = np.uint64(0)


@inner
def _group_row(memory: Memory, settings: Any, key: np.uint64, parent: int) -> int:
    """Return the row of a group or fleet (`parent` 0); beyond the cap all new ones share one."""
    row = find_row(memory.group_index, key)
    if row < 0 and memory.used[GROUPS] >= settings["groups_max"]:
        return 1
    if row < 0:
        row = take_row(memory.groups, memory.used, memory.vacant, int64(GROUPS))
        memory.groups[row]["key"] = key
        memory.groups[row]["parent"] = parent if parent > 0 else row
        put_row(memory.group_index, key, row)
    return row


@merged
def _new_agent(memory: Memory, settings: Any, event: Any) -> int:
    """Give a new agent its row, and its group and fleet theirs."""
    tenant, group = event["tenant"], event["group"]
    key = group if group != _NONE else mix(tenant, UNGROUPED)
    fleet = _group_row(memory, settings, mix(tenant, FLEET), int64(0))
    parent = _group_row(memory, settings, key, fleet)
    row = take_row(memory.agents, memory.used, memory.vacant, int64(AGENTS))
    memory.agents[row]["key"] = event["agent"]
    memory.agents[row]["parent"] = parent
    put_row(memory.agent_index, event["agent"], row)
    return row


@inner
def _few_buffers(memory: Memory) -> int:
    """Return what the end of a session could run out of, or `DONE`."""
    counters = memory.counters
    if used_pages(memory.pages) + _PAGES_MARGIN > len(memory.pages):
        return FEW_PAGES
    if (
        counters[RECORDS_USED] + _RECORDS_MARGIN > len(memory.records)
        or counters[EVIDENCE_USED] + _EVIDENCE_MARGIN > len(memory.evidence)
        or counters[PENDING_USED] + _PENDING_MARGIN > len(memory.pending)
        or counters[KEPT_USED] + KEPT_MARGIN > len(memory.kept)
    ):
        return FULL
    return DONE


@merged
def _few_rows(memory: Memory, settings: Any, agent_row: int) -> int:
    """Return which rows an event could run out of, or `DONE`.

    An event that is tried again after a shortage has its agent already, and must not ask for
    room for it once more: somebody would be forgotten for nothing.
    """
    used, vacant = memory.used, memory.vacant
    if agent_row < 0:
        if vacant[AGENTS] == 0 and used[AGENTS] == len(memory.agents):
            return FEW_AGENTS
        if used[GROUPS] + 2 > len(memory.groups) and used[GROUPS] < settings["groups_max"]:
            return FEW_GROUPS
    if vacant[SESSIONS] == 0 and used[SESSIONS] == len(memory.sessions):
        return FEW_SESSIONS
    if vacant[SCRIPTS] == 0 and used[SCRIPTS] == len(memory.scripts):
        return FEW_SCRIPTS
    return DONE


@inner
def _unlink(sessions: NDArray[Any], agent: Any, session: Any) -> None:
    before, after = session["before"], session["after"]
    if before > 0:
        sessions[before]["after"] = after
    else:
        agent["head"] = after
    if after > 0:
        sessions[after]["before"] = before
    else:
        agent["tail"] = before


@inner
def _append(sessions: NDArray[Any], agent: Any, row: int) -> None:
    """Put a session last in its agent's list: it is the most recently active one."""
    tail = agent["tail"]
    sessions[row]["before"] = tail
    sessions[row]["after"] = 0
    if tail > 0:
        sessions[tail]["after"] = row
    else:
        agent["head"] = row
    agent["tail"] = row


@inner
def _beyond_limits(session: Any, settings: Any) -> bool:
    """Return whether a value is beyond the lowest hard limit that any policy sets for it."""
    total = session["total"]
    return (
        session["minute_events_most"] > settings["limit_minute"]
        or total[EVENTS] > settings["limit_events"]
        or total[BYTES] > settings["limit_bytes"]
        or session["last_us"] - session["start_us"] > settings["limit_length_us"]
        or (
            total[DENIALS] > settings["limit_denied"] * total[EVENTS]
            and total[EVENTS] >= settings["limit_denied_events"]
        )
    )


@inner
def _may_be_judged(session: Any, bits: float, settings: Any) -> bool:
    """Return whether a session was suspicious, or may have been reported for something else."""
    return (
        bits >= min(settings["report_bits"], settings["suspicious_bits"])
        or session["tags"] != _NONE
        or _beyond_limits(session, settings)
    )


@inner
def end_session(memory: Memory, settings: Any, scratch: NDArray[np.float32], row: int) -> None:
    """End a session: rank it, report it, learn it if it looks clean, and free its row."""
    session = memory.sessions[row]
    agent = memory.agents[session["agent"]]
    group = memory.groups[agent["parent"]]
    bits = ranked_bits(session, memory.ranks, memory.recent, scratch)
    units = units_of(bits, settings)
    report(memory.records, memory.counters, session, agent, group, int64(-1), session["last_us"])
    memory.counters[N_ENDED] += 1
    if session["script"] > 0:
        rehearse(memory, settings, session, agent, group)
        give_row(memory.scripts, memory.vacant, int64(SCRIPTS), session["script"])
    learn(
        session, agent, memory.taught, group["parent"], units, memory.pages, memory.pending,
        memory.counters, settings, memory.window[0],
    )  # fmt: skip
    _unlink(memory.sessions, agent, session)
    drop_row(memory.session_index, session["key"])
    if _may_be_judged(session, bits, settings):
        weight = memory.window[0]["weight"]
        keep(memory.kept, memory.counters, memory.pages, session, agent, units, weight)
    else:
        release(memory.pages, session)
    session["key"] = 0
    give_row(memory.sessions, memory.vacant, int64(SESSIONS), row)


@merged
def _open_session(memory: Memory, settings: Any, event: Any, key: np.uint64, agent_row: int) -> int:
    row = take_row(memory.sessions, memory.used, memory.vacant, int64(SESSIONS))
    session, agent = memory.sessions[row], memory.agents[agent_row]
    session["key"] = key
    session["number"] = memory.counters[N_OPENED]
    session["agent"] = agent_row
    session["age"] = age_class(agent["sessions"])
    memory.counters[N_OPENED] += 1
    put_row(memory.session_index, key, row)
    _append(memory.sessions, agent, row)
    group = memory.groups[agent["parent"]]
    begin(session, event, agent, group, memory.pages, settings, memory.window[0])
    return row


@inner
def _redelivered(agent: Any, event: np.uint64) -> bool:
    """Return whether the agent has had this event lately; remember it if not."""
    short = np.uint32(event)
    for place in range(SEEN_MAX):
        if agent["seen"][place] == short:
            return True
    agent["seen"][agent["seen_next"]] = short
    agent["seen_next"] = (agent["seen_next"] + 1) % SEEN_MAX
    return False


@merged
def _session_row(memory: Memory, settings: Any, event: Any, agent_row: int) -> int:
    """Return the row of the event's session, opening one if need be."""
    key = session_key(event)
    row = find_row(memory.session_index, key)
    if row < 0:
        return _open_session(memory, settings, event, key, agent_row)
    agent = memory.agents[agent_row]
    if agent["tail"] != row:
        _unlink(memory.sessions, agent, memory.sessions[row])
        _append(memory.sessions, agent, row)
    return row


@merged
def end_idle(
    memory: Memory, settings: Any, scratch: NDArray[np.float32], agent_row: int, now_us: int
) -> int:
    """End what an agent has left idle by `now_us`; return `DONE` or what has run short."""
    agent = memory.agents[agent_row]
    idle_since_us = now_us - settings["idle_us"]
    while agent["head"] > 0 and memory.sessions[agent["head"]]["last_us"] <= idle_since_us:
        shortage = _few_buffers(memory)
        if shortage != DONE:
            return shortage
        end_session(memory, settings, scratch, int64(agent["head"]))
    return _few_buffers(memory)


@merged
def _own_idle(memory: Memory, settings: Any, event: Any) -> int:
    """Return the event's own session if it is idle behind one that late events kept awake, or 0."""
    row = find_row(memory.session_index, session_key(event))
    if row >= 0 and memory.sessions[row]["last_us"] <= event["ts_us"] - settings["idle_us"]:
        return row
    return 0


@merged
def _is_unanswered(memory: Memory, settings: Any, event: Any, agent_row: int) -> bool:
    agent = memory.agents[agent_row]
    return must_ask(memory.asked, event, agent, memory.pages, settings, memory.window[0])


@merged
def _observe_event(
    memory: Memory,
    settings: Any,
    scratch: NDArray[np.float32],
    event: Any,
    resources: NDArray[Any],
    tags: np.uint64,
    agent_row: int,
    row: int,
) -> int:
    """Score an event and remember it; return the session that has come to its end by it, or 0."""
    session_row = _session_row(memory, settings, event, agent_row)
    session, agent = memory.sessions[session_row], memory.agents[agent_row]
    group = memory.groups[agent["parent"]]
    told = int64(memory.counters[EVIDENCE_USED])
    bits, of_action = add_items(
        session, event, resources, agent, group, memory.groups[group["parent"]], memory.pages,
        settings, memory.window[0], memory.evidence, memory.counters, row,
    )  # fmt: skip
    if tags & SENSITIVE_TAG != _NONE:
        add_sensitive(session, bits, memory.evidence, memory.counters, told)
    if of_action > 0.0 and settings["grants"] > 0:
        said = said_of(memory.asked, event)
        add_permission(session, of_action, said, memory.evidence, memory.counters, told)
    if settings["rehearsals"] > 0:
        remember(memory, session, event, resources, tags)
    add_totals(session, event)
    agent["last_us"] = max(agent["last_us"], event["ts_us"])
    forbidden = tags & FORBIDDEN_TAGS
    tagged = forbidden & ~session["tags"] != _NONE
    session["tags"] |= forbidden
    rare = raise_statistics(session, memory.ranks)
    if rare:  # ranked only now: most events change nothing that is rare
        rare = fused_bits(session, memory.ranks, scratch) >= settings["report_bits"]
    if rare or tagged or _beyond_limits(session, settings):
        report(memory.records, memory.counters, session, agent, group, row, event["ts_us"])
    if session["rows"] >= settings["rows_max"]:
        memory.counters[N_CUT] += 1
        return session_row
    return session_row if event["session_end"] else 0


@compiled
def observe(
    memory: Memory,
    settings: Any,
    rows: NDArray[Any],
    resources: NDArray[Any],
    tags: NDArray[np.uint64],
    order: NDArray[np.int64],
    first: int,
    end: int,
    scratch: NDArray[np.float32],
) -> tuple[int, int]:
    """Observe the events `rows[order[first:end]]`; return where it stopped and why.

    `tags` has an element per row, or none at all. All events lie in the shard's window.
    """
    for place in range(first, end):
        if (place - first) % EVENTS_AHEAD == 0:
            until = min(place + EVENTS_AHEAD, end)
            look_ahead(memory, rows, resources, order, place, until)
        row = order[place]
        event = rows[row]
        agent_row = find_row(memory.agent_index, event["agent"])
        shortage = _few_rows(memory, settings, agent_row)
        if shortage != DONE:
            return place, shortage
        if agent_row < 0:
            agent_row = _new_agent(memory, settings, event)
        shortage = end_idle(memory, settings, scratch, agent_row, event["ts_us"])
        if shortage != DONE:
            return place, shortage
        ended = _own_idle(memory, settings, event)
        if ended > 0:
            end_session(memory, settings, scratch, ended)
        if settings["grants"] > 0 and _is_unanswered(memory, settings, event, agent_row):
            return place, FEW_ANSWERS
        memory.counters[N_EVENTS] += 1
        if event["event"] != _NONE and _redelivered(memory.agents[agent_row], event["event"]):
            memory.counters[N_REDELIVERED] += 1
            continue
        tag = tags[row] if len(tags) > 0 else _NONE
        ended = _observe_event(memory, settings, scratch, event, resources, tag, agent_row, row)
        if ended > 0:
            end_session(memory, settings, scratch, ended)
    return end, DONE


@compiled
def report_open(memory: Memory, first: int) -> int:
    """Write open sessions into the records from row `first` on; return where it stopped."""
    for row in range(first, memory.used[SESSIONS]):
        session = memory.sessions[row]
        if session["key"] != _NONE:
            if memory.counters[RECORDS_USED] == len(memory.records):
                return row
            agent = memory.agents[session["agent"]]
            group = memory.groups[agent["parent"]]
            report(
                memory.records,
                memory.counters,
                session,
                agent,
                group,
                int64(-1),
                session["last_us"],
            )
    return memory.used[SESSIONS]
