"""Rehearsals of attacks at the end of sessions: on which, of which kind, with whose events.

The first event of a session tells whether it is chosen; only then what it does is remembered.
Donors are past ones of them, from which foreign events are taken. They stay the same while a
window lasts, and which of a window's sessions become donors depends on what they did alone,
so neither the order of sessions inside it matters nor what agents are called.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.buffers import (
    DONORS_NEXT,
    DONORS_USED,
    N_ENDED,
    RECENT_DONORS_USED,
    REHEARSED_PER_MILLION,
)
from astray.baseline.layout import (
    ACTION,
    ATOMS_MAX,
    CALLEE,
    DORMANCY,
    PAIR,
    PATTERN,
    PLACE,
    RESOURCE,
    SENSITIVE_TAG,
    USE,
)
from astray.baseline.memory import SCRIPTS, Memory
from astray.baseline.pages import Pages, fetch_page, fingerprint, release
from astray.baseline.rehearsal import (
    DELEGATION,
    FIRST_ROW,
    FOREIGN,
    donor_of,
    draw,
    keep_atom,
    more_sleep,
    plan_attack,
    play,
)
from astray.baseline.reporting import report
from astray.baseline.rows import take_row
from astray.baseline.session import begin
from astray.compiled import float64, inner, int64, merged
from astray.events.ids import mix

REHEARSALS_MAX = 5
"""Attacks on one session, at most: as many as are asked for, and one of delegation."""

_AHEAD = 2
"""Events of an attack after which what is asked for is there."""

_SESSIONS = 1024
"""So many sessions, about, are rehearsed on before it is done more rarely."""

_SHARE_MIN = 1 / 32
_MILLION = 1e6
_SEVERAL = _NONE = np.uint64(0)
_HIGH = np.uint64(56)


@merged
def remember(
    memory: Memory,
    session: Any,
    event: Any,
    resources: NDArray[Any],
    tags: np.uint64,
) -> None:
    """Remember an event of a session that is chosen for rehearsals: its first event tells."""
    if session["rows"] == 0:
        first = mix(mix(event["tenant"], np.uint64(event["ts_us"])), event["action"])
        seed = mix(first, event["source"])
        if draw(seed, int64(0)) * _MILLION < memory.counters[REHEARSED_PER_MILLION]:
            used, vacant = memory.used, memory.vacant
            session["script"] = take_row(memory.scripts, used, vacant, int64(SCRIPTS))
    if session["script"] > 0:
        script = memory.scripts[session["script"]]
        is_sensitive = int64(tags & SENSITIVE_TAG != _NONE)
        keep_atom(script, event, resources, is_sensitive, session["last_us"])


@inner
def _content(session: Any, script: Any) -> np.uint64:
    """Return an id of when a session began and what it did, whatever its agent is called."""
    content = mix(session["tenant"], np.uint64(session["start_us"]))
    for place in range(int64(script["atoms_used"])):
        atom = script["atoms"][place]
        content = mix(content ^ atom["action"], atom["resource"][0])
        content = mix(content ^ atom["source"], atom["resource"][1] ^ np.uint64(atom["gap_us"]))
        size = np.uint64(float64(atom["bytes"])) ^ (np.uint64(atom["outcome"]) << _HIGH)
        count = np.uint64(float64(atom["count"])) ^ (np.uint64(atom["depth"]) << _HIGH)
        content = mix(content ^ size ^ atom["callee"], count)
    return content


@inner
def _keep_donor(memory: Memory, session: Any, script: Any, agent: Any, order: np.uint64) -> None:
    """Keep a session among the window's candidates: those of the lowest order stay."""
    counters, recent = memory.counters, memory.recent_donors
    group = memory.groups[agent["parent"]]["key"]
    place = int64(counters[RECENT_DONORS_USED])
    for other in range(place):
        if recent[other]["order"] == order:  # the same has been done already: by several, then
            is_own = recent[other]["agent"] == agent["key"]
            recent[other]["agent"] = agent["key"] if is_own else _SEVERAL
            recent[other]["group"] = group if recent[other]["group"] == group else _SEVERAL
            return
    if place == len(recent):
        place = 0
        for other in range(len(recent)):
            if recent[other]["order"] > recent[place]["order"]:
                place = other
        if recent[place]["order"] <= order:
            return
    else:
        counters[RECENT_DONORS_USED] = place + 1
    donor = recent[place]
    donor["tenant"] = session["tenant"]
    donor["agent"] = agent["key"]
    donor["group"] = group
    donor["order"] = order
    donor["atoms_used"] = script["atoms_used"]
    for atom in range(ATOMS_MAX):
        donor["atoms"][atom] = script["atoms"][atom]


@inner
def _fetch_atom(pages: Pages, atom: Any, agent: Any, group: Any, fleet: Any) -> None:
    """Ask for where agent, peers and fleet would have what an event of an attack does."""
    action, resource, pattern = atom["action"], atom["resource"][0], atom["pattern"][0]
    items = (
        (ACTION, action),
        (CALLEE, atom["callee"]),
        (RESOURCE, resource),
        (PAIR, mix(action, resource)),
        (PATTERN, pattern),
        (PLACE, atom["place"][0]),
        (USE, mix(action, pattern)),
    )
    for channel, id_ in items:
        item = fingerprint(int64(channel), id_)
        fetch_page(pages, agent, item)
        fetch_page(pages, group, item)
        fetch_page(pages, fleet, item)


@merged
def _rehearse_kind(
    memory: Memory,
    settings: Any,
    session: Any,
    agent: Any,
    group: Any,
    kind: int,
    donor: int,
    seed: np.uint64,
) -> None:
    """Play an attack of a kind on a session, and report how it would have looked."""
    pseudo, event = memory.pseudo[1], memory.pseudo_event[0]
    memory.pseudo[1] = memory.pseudo[0]
    pseudo["number"] = session["number"]
    pseudo["key"] = session["key"]
    pseudo["age"] = session["age"]
    event["ts_us"] = session["start_us"]
    event["tenant"] = session["tenant"]
    fleet, window = memory.groups[group["parent"]], memory.window[0]
    begin(pseudo, event, agent, group, memory.pages, settings, window)
    # The agent has acted since, so how long it was silent is known from its session alone.
    slept = float64(session["statistic"][DORMANCY])
    pseudo["statistic"][DORMANCY] = slept + more_sleep(kind, seed)
    script = memory.scripts[session["script"]]
    count = plan_attack(script, memory.donors[donor], kind, seed, memory.plan)
    for place in range(count):
        if place + _AHEAD < count:
            _fetch_atom(memory.pages, memory.plan[place + _AHEAD], agent, group, fleet)
        play(
            memory.plan[place], pseudo, event, memory.pseudo_resources, agent, group, fleet,
            memory.pages, settings, window, memory.ranks, memory.evidence, memory.counters,
        )  # fmt: skip
    report(
        memory.records, memory.counters, pseudo, agent, group, FIRST_ROW - kind,
        session["last_us"],
    )  # fmt: skip
    release(memory.pages, pseudo)


@merged
def rehearse(memory: Memory, settings: Any, session: Any, agent: Any, group: Any) -> None:
    """Rehearse attacks on a session that ends, one of those that have been chosen."""
    counters = memory.counters
    script = memory.scripts[session["script"]]
    seed = _content(session, script)
    _keep_donor(memory, session, script, agent, seed)
    fleet = memory.groups[group["parent"]]
    first = int64(draw(seed, int64(11)) * DELEGATION)
    rehearsals = int64(settings["rehearsals"])
    # Besides the others, so that these are as many as in a fleet in which nobody calls anybody.
    calls = fleet["draws"][CALLEE] > 0.0 and draw(seed, int64(13)) * DELEGATION < rehearsals
    for turn in range(rehearsals + int64(calls)):
        kind = (first + turn) % DELEGATION if turn < rehearsals else int64(DELEGATION)
        own = mix(seed, np.uint64(turn + 1))
        used = int64(counters[DONORS_USED])
        donor = donor_of(memory.donors, used, session, agent["key"], group["key"], own)
        if donor >= 0 or kind > FOREIGN:
            _rehearse_kind(memory, settings, session, agent, group, kind, max(donor, int64(0)), own)


def fold_donors(memory: Memory) -> None:
    """Let the window's candidates be donors, in an order of their own; settle the next share."""
    counters = memory.counters
    recent = memory.recent_donors[: counters[RECENT_DONORS_USED]]
    for donor in recent[np.argsort(recent["order"], kind="stable")]:
        memory.donors[counters[DONORS_NEXT]] = donor
        counters[DONORS_NEXT] = (counters[DONORS_NEXT] + 1) % len(memory.donors)
    counters[DONORS_USED] = min(counters[DONORS_USED] + len(recent), len(memory.donors))
    counters[RECENT_DONORS_USED] = 0
    ended = max(int(counters[N_ENDED]), 1)
    share = min(1.0, max(_SESSIONS / ended, _SHARE_MIN))
    counters[REHEARSED_PER_MILLION] = int(share * _MILLION)
