"""What an event does, to what and for whom: how new each of these is to the agent and its peers.

Scoring reads the baselines and writes the session only; what the session teaches waits for
its end (`learning`).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.buffers import EVIDENCE_USED
from astray.baseline.evidence import (
    hour_bits,
    likeness_bits,
    novelty_bits,
    novelty_rate,
    peer_bits,
)
from astray.baseline.layout import (
    ACTION,
    CALLEE,
    CHANNEL_SHARE,
    COMPARED_CHANNELS,
    HOUR,
    NOVELTY_ACTION,
    NOVELTY_CONTEXT,
    NOVELTY_LARGEST,
    NOVELTY_PEERS,
    NOVELTY_PLACE,
    NOVELTY_RESOURCE,
    NOVELTY_SOURCE,
    NOVELTY_SUM,
    PAIR,
    PATTERN,
    PLACE,
    PRINCIPAL,
    RESOURCE,
    SOURCE,
    TRANSITION,
    USE,
)
from astray.baseline.learning import mass_of, mass_place
from astray.baseline.pages import (
    EXCUSED_NOTE,
    Pages,
    add,
    find,
    fingerprint,
    note_at,
    set_note,
    set_weight,
    weight_at,
)
from astray.compiled import float64, inner, int64
from astray.events.ids import mix

_REFRESHED = np.uint64(8)
_NONE = np.uint64(0)


@inner
def weight_of(pages: Pages, table: Any, item: int, window: Any) -> float:
    """Return what an item weighs for the owner of a table, as of the window."""
    return weight_at(pages, find(pages, table, item)) / window["weight"]


@inner
def _rate(owner: Any, parent: Any, age: int, channel: int, window: Any) -> float:
    """Return how often an owner meets something new on a channel."""
    weight = window["weight"]
    of_children = float64(parent["child_news"][age, channel]) / weight + 0.5
    of_children /= float64(parent["child_draws"][age, channel]) / weight + 1.0
    news = float64(owner["news"][channel]) / weight
    return novelty_rate(news, float64(owner["draws"][channel]) / weight, of_children)


@inner
def likeness(
    pages: Pages,
    agent: Any,
    group: Any,
    window: Any,
    channel: int,
    item: int,
    of_agent: float,
) -> float:
    """Return how much more typical of its group than of the agent an item is, in bits.

    `of_agent` is what the item weighs for the agent.
    """
    place = mass_place(channel)
    weight = window["weight"]
    of_group = weight_of(pages, group, mass_of(item), window)
    agent_mass = float64(agent["mass"][place]) / weight
    group_mass = float64(group["mass"][place]) / weight
    if channel == HOUR:
        return hour_bits(of_agent, agent_mass, of_group, group_mass)
    return likeness_bits(of_agent, agent_mass, of_group, group_mass)


@inner
def _new_item(
    session: Any,
    agent: Any,
    group: Any,
    fleet: Any,
    pages: Pages,
    settings: Any,
    window: Any,
    channel: int,
    item: int,
    found: Any,
) -> float:
    """Return the bits of an item that is new to the agent, and describe it in `found`."""
    known = find(pages, group, item)
    if known >= 0 and note_at(pages, known) == EXCUSED_NOTE:
        return 0.0
    rate = _rate(agent, group, int64(session["age"]), channel, window)
    bits = novelty_bits(rate, session["items_new"][channel])
    session["items_new"][channel] += 1
    found["level"] = 0
    found["rate"] = rate
    found["peer_rate"] = _rate(group, fleet, int64(0), channel, window)
    further = 0.0
    if weight_at(pages, known) / window["weight"] <= settings["known_weight"]:
        found["level"] = 1
        further = peer_bits(found["peer_rate"], rate, session["items_new_to_peers"][channel])
        session["items_new_to_peers"][channel] += 1
        if weight_of(pages, fleet, item, window) <= settings["known_weight"]:
            found["level"] = 2
            fleet_rate = _rate(fleet, fleet, int64(1), channel, window)
            further += peer_bits(
                fleet_rate, found["peer_rate"], session["items_new_to_fleet"][channel]
            )
            session["items_new_to_fleet"][channel] += 1
    found["channel"] = channel
    found["bits"] = bits + further
    if channel < PATTERN:
        session["statistic"][NOVELTY_PEERS] += CHANNEL_SHARE[channel] * further
    return bits + further


@inner
def _see(
    session: Any,
    agent: Any,
    group: Any,
    fleet: Any,
    pages: Pages,
    settings: Any,
    window: Any,
    channel: int,
    id_: np.uint64,
    found: Any,
) -> float:
    """Return the bits of one item of an event; what the session has seen before says nothing."""
    item = fingerprint(channel, id_)
    leaf = find(pages, session, item)
    if leaf >= 0:
        if channel < COMPARED_CHANNELS:
            session["likeness"][channel] += weight_at(pages, leaf)
        return 0.0
    leaf = add(pages, session, item, settings["session_bits_max"], math.inf)
    set_note(pages, leaf, channel)
    of_agent = weight_of(pages, agent, item, window)
    if channel < COMPARED_CHANNELS:
        bits = likeness(pages, agent, group, window, channel, item, of_agent)
        set_weight(pages, leaf, bits)
        session["likeness"][channel] += bits
    session["items"][channel] += 1
    if of_agent > settings["known_weight"]:
        return 0.0
    return _new_item(session, agent, group, fleet, pages, settings, window, channel, item, found)


@inner
def _item(
    session: Any,
    agent: Any,
    group: Any,
    fleet: Any,
    pages: Pages,
    settings: Any,
    window: Any,
    evidence: NDArray[Any],
    counters: NDArray[np.int64],
    channel: int,
    id_: np.uint64,
    row: int,
    place: int,
) -> float:
    """Return an item's share in the event's evidence, and keep it if it is worth telling."""
    found = evidence[counters[EVIDENCE_USED]]
    bits = _see(session, agent, group, fleet, pages, settings, window, channel, id_, found)
    if bits >= settings["evidence_bits"]:
        found["number"] = session["number"]
        found["row"] = row
        found["place"] = place
        found["marks"] = 0
        counters[EVIDENCE_USED] += 1
    if channel == ACTION:
        session["statistic"][NOVELTY_ACTION] += bits
    elif channel == SOURCE:
        session["statistic"][NOVELTY_SOURCE] += bits
    elif channel in (PRINCIPAL, CALLEE):
        session["statistic"][NOVELTY_CONTEXT] += bits
    elif channel >= PATTERN:
        session["statistic"][NOVELTY_PLACE] += bits
    return bits * CHANNEL_SHARE[channel]


@inner
def _add_resource(
    session: Any,
    action: np.uint64,
    resource: Any,
    agent: Any,
    group: Any,
    fleet: Any,
    pages: Pages,
    settings: Any,
    window: Any,
    evidence: NDArray[Any],
    counters: NDArray[np.int64],
    row: int,
    place: int,
) -> float:
    """Return the evidence in a resource, taken at the level that makes it most surprising.

    For an agent that meets another customer in every session a new one is nothing; a new
    kind of resource, or one that lies elsewhere, is. A resource that is known is asked for
    its level now and then only, so that levels are not forgotten while it is in use.
    """
    id_, pattern = resource["id"], resource["pattern"]
    new, seen = session["items_new"][RESOURCE], session["items"][RESOURCE]
    bits, of_pair = 0.0, 0.0
    levels = (
        (RESOURCE, id_),
        (PAIR, mix(action, id_)),
        (PATTERN, pattern),
        (PLACE, resource["place"]),
        (USE, mix(action, pattern)),
    )
    for channel, item in levels:
        if channel == PATTERN:
            is_known = session["items_new"][RESOURCE] == new
            if session["items"][RESOURCE] == seen or (is_known and not _is_refreshed(session, id_)):
                break
        of_item = _item(
            session, agent, group, fleet, pages, settings, window, evidence, counters,
            channel, item, row, place,
        )  # fmt: skip
        if channel in (PAIR, USE):
            of_pair = max(of_pair, of_item)
        else:
            bits = max(bits, of_item)
    return bits + of_pair


@inner
def _is_refreshed(session: Any, id_: np.uint64) -> bool:
    """Return whether a resource's levels are looked at although it is known."""
    return mix(id_, np.uint64(session["start_us"])) % _REFRESHED == _NONE


@inner
def add_items(
    session: Any,
    event: Any,
    resources: NDArray[Any],
    agent: Any,
    group: Any,
    fleet: Any,
    pages: Pages,
    settings: Any,
    window: Any,
    evidence: NDArray[Any],
    counters: NDArray[np.int64],
    row: int,
) -> tuple[float, float]:
    """Add what an event does, to what and for whom, to its session.

    Returns its evidence, and what of it is its action's.
    """
    bits, of_action = 0.0, 0.0
    action = event["action"]
    pairs = (
        (ACTION, action),
        (TRANSITION, mix(session["previous"], action)),
        (SOURCE, event["source"]),
        (PRINCIPAL, event["principal"]),
        (CALLEE, event["callee"]),
    )
    for channel, id_ in pairs:
        if id_ != np.uint64(0):
            of_item = _item(
                session, agent, group, fleet, pages, settings, window, evidence, counters,
                channel, id_, row, int64(-1),
            )  # fmt: skip
            bits += of_item
            of_action += of_item if channel == ACTION else 0.0
    first = event["resource_first"]
    for place in range(int64(event["resource_count"])):
        of_resource = _add_resource(
            session, action, resources[first + place], agent, group, fleet, pages, settings,
            window, evidence, counters, row, place,
        )  # fmt: skip
        session["statistic"][NOVELTY_RESOURCE] += of_resource
        bits += of_resource
    session["previous"] = action
    session["statistic"][NOVELTY_SUM] += bits
    largest = float64(session["statistic"][NOVELTY_LARGEST])
    session["statistic"][NOVELTY_LARGEST] = max(bits, largest)
    return bits, of_action
