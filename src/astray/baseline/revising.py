"""What a kept session has taught its agent, taken back or taught again.

Weights are forward-decayed: what a session has added to them stays the same number however
much time passes, so it can be subtracted again, to the rounding of 32-bit floats. An item
that only this session has taught leaves the table. What cannot be taken back: an item that
was pushed out of a full table meanwhile, and what peers have learnt in the session's window.
"""

import math
from typing import Any

from astray.baseline.buffers import KEPT_USED
from astray.baseline.index import find_row
from astray.baseline.kept import HELD
from astray.baseline.layout import NOVELTY_CHANNELS, TOTALS
from astray.baseline.learning import NEWS_MAX, SPREADS_MAX, has_mass, mass_place
from astray.baseline.memory import Memory
from astray.baseline.pages import (
    EXCUSED_NOTE,
    WAYS,
    Pages,
    add,
    find,
    note_at,
    set_note,
    set_weight,
    weight_at,
)
from astray.compiled import compiled, float64, inner, int64

_ROUNDING = 1e-6
_UNUSUAL_SHARE = 0.25
"""What a session with unusual totals that are excused weighs, of all other sessions: the same
totals then lie two standard deviations off, and not ten."""


@inner
def _lower(pages: Pages, table: Any, item: int, weight: float) -> None:
    place = find(pages, table, item)
    if place < 0:
        return
    left = weight_at(pages, place) - weight
    if left <= weight * _ROUNDING:
        left = 0.0
        pages[place // WAYS]["item"][place % WAYS] = 0
        set_note(pages, place, int64(0))
    set_weight(pages, place, left)


@inner
def _value(row: Any, total: int) -> float:
    """Return a total as it is learnt."""
    value = math.log1p(row["total"][total])
    if row["unusual"] > 0:
        return value
    location = float64(row["expected"][total])
    reach = SPREADS_MAX * float64(row["spread"][total])
    return min(max(value, location - reach), location + reach)


@inner
def _add_rates(row: Any, agent: Any, weight: float) -> None:
    """Count the session's items, or with a weight below 0 count them no more."""
    for channel in range(NOVELTY_CHANNELS):
        draws = float64(agent["draws"][channel]) + row["items"][channel] * weight
        news = min(row["items_new"][channel], NEWS_MAX)
        agent["draws"][channel] = max(draws, 0.0)
        agent["news"][channel] = max(float64(agent["news"][channel]) + news * weight, 0.0)


@inner
def _add_totals(row: Any, agent: Any, weight: float) -> None:
    whole = float64(agent["totals"]) + weight
    for total in range(len(TOTALS)):
        value = _value(row, int64(total))
        before = float64(agent["mean"][total])
        after = before + (value - before) * weight / whole
        agent["square"][total] += weight * (value - before) * (value - after)
        agent["mean"][total] = after
    agent["totals"] = whole


@inner
def _subtract_totals(row: Any, agent: Any, weight: float) -> None:
    whole = float64(agent["totals"])
    left = whole - weight
    for total in range(len(TOTALS)):
        if left <= whole * _ROUNDING:
            agent["mean"][total] = 0.0
            agent["square"][total] = 0.0
            continue
        value = _value(row, int64(total))
        after = float64(agent["mean"][total])
        before = (whole * after - weight * value) / left
        square = float64(agent["square"][total]) - weight * (value - before) * (value - after)
        agent["square"][total] = max(square, 0.0)
        agent["mean"][total] = before
    agent["totals"] = left if left > whole * _ROUNDING else 0.0


@compiled
def take_back(memory: Memory, place: int) -> None:
    """Take everything back that a kept session has taught its agent."""
    row = memory.kept[place]
    agent_row = find_row(memory.agent_index, row["agent"])
    if agent_row < 0 or row["taught"] <= 0.0:
        return
    agent, pages = memory.agents[agent_row], memory.pages
    first = int64(row["run"]) * WAYS
    for leaf in range(first, first + (WAYS << int64(row["run_bits"]))):
        item = int64(pages[leaf // WAYS]["item"][leaf % WAYS])
        if item == 0:
            continue
        _lower(pages, agent, item, weight_at(pages, leaf))
        set_weight(pages, leaf, 0.0)
        channel = note_at(pages, leaf)
        if has_mass(channel):
            mass = float64(agent["mass"][mass_place(channel)]) - row["taught"]
            agent["mass"][mass_place(channel)] = max(mass, 0.0)
    _add_rates(row, agent, -row["taught"])
    _subtract_totals(row, agent, row["totals_taught"])
    row["taught"] = 0.0
    row["totals_taught"] = 0.0
    row["unusual"] = 0


@inner
def _is_unusual(row: Any) -> bool:
    """Return whether a total of the session lies beyond what is learnt of one."""
    for total in range(len(TOTALS)):
        reach = SPREADS_MAX * float64(row["spread"][total])
        if math.log1p(row["total"][total]) > float64(row["expected"][total]) + reach:
            return True
    return False


@compiled
def teach_again(memory: Memory, place: int, weight: float, bits_max: int, is_excused: int) -> None:
    """Teach a kept session of which nothing is taught; what is excused with its totals as is."""
    row = memory.kept[place]
    agent_row = find_row(memory.agent_index, row["agent"])
    if agent_row < 0:
        return
    agent, pages = memory.agents[agent_row], memory.pages
    first = int64(row["run"]) * WAYS
    for leaf in range(first, first + (WAYS << int64(row["run_bits"]))):
        item = int64(pages[leaf // WAYS]["item"][leaf % WAYS])
        if item == 0:
            continue
        at = add(pages, agent, item, bits_max, math.inf)
        set_weight(pages, at, weight_at(pages, at) + weight)
        set_weight(pages, leaf, weight)
        channel = note_at(pages, leaf)
        if has_mass(channel):
            agent["mass"][mass_place(channel)] += weight
    _add_rates(row, agent, weight)
    row["taught"] = weight
    row["totals_taught"] = weight
    if is_excused > 0 and _is_unusual(row):
        row["unusual"] = 1
        row["totals_taught"] = max(weight, float64(agent["totals"]) * _UNUSUAL_SHARE)
    _add_totals(row, agent, row["totals_taught"])


@compiled
def excuse_peers(memory: Memory, place: int, bits_max: int) -> None:
    """Let the session's items be new to nobody of its agent's group; the group learns nothing."""
    row = memory.kept[place]
    agent_row = find_row(memory.agent_index, row["agent"])
    if agent_row < 0:
        return
    group, pages = memory.groups[memory.agents[agent_row]["parent"]], memory.pages
    first = int64(row["run"]) * WAYS
    for leaf in range(first, first + (WAYS << int64(row["run_bits"]))):
        item = int64(pages[leaf // WAYS]["item"][leaf % WAYS])
        if item != 0:
            at = add(pages, group, item, bits_max, math.inf)
            set_note(pages, at, int64(EXCUSED_NOTE))


@inner
def _raise_item(pages: Pages, owner: Any, item: int, weight: float, bits_max: int) -> None:
    place = add(pages, owner, item, bits_max, weight)
    if place >= 0:
        set_weight(pages, place, max(weight_at(pages, place), weight))


@compiled
def excuse_peers_no_more(memory: Memory, place: int, weight: float, bits_max: int) -> None:
    """Let the session's items be new again to who does not know them.

    With a weight group and fleet have learnt them now, and forget them as they forget all else.
    """
    row = memory.kept[place]
    agent_row = find_row(memory.agent_index, row["agent"])
    if agent_row < 0:
        return
    group = memory.groups[memory.agents[agent_row]["parent"]]
    fleet, pages = memory.groups[group["parent"]], memory.pages
    first = int64(row["run"]) * WAYS
    for leaf in range(first, first + (WAYS << int64(row["run_bits"]))):
        item = int64(pages[leaf // WAYS]["item"][leaf % WAYS])
        at = find(pages, group, item) if item != 0 else -1
        if at < 0:
            continue
        set_note(pages, at, int64(0))
        if weight > 0.0:
            _raise_item(pages, group, item, weight, bits_max)
            _raise_item(pages, fleet, item, weight, bits_max)
        elif weight_at(pages, at) <= 0.0:
            pages[at // WAYS]["item"][at % WAYS] = 0


@inner
def _is_agreed(memory: Memory, row: Any, known_weight: float, agreement: float) -> bool:
    agent_row = find_row(memory.agent_index, row["agent"])
    if agent_row < 0:
        return False
    weight = memory.window[0]["weight"]
    agent, pages = memory.agents[agent_row], memory.pages
    group = memory.groups[agent["parent"]]
    unknown = 0
    first = int64(row["run"]) * WAYS
    for leaf in range(first, first + (WAYS << int64(row["run_bits"]))):
        item = int64(pages[leaf // WAYS]["item"][leaf % WAYS])
        if item == 0 or weight_at(pages, find(pages, agent, item)) > known_weight * weight:
            continue
        if weight_at(pages, find(pages, group, item)) < agreement * weight:
            return False
        unknown += 1
    return unknown > 0


@compiled
def next_agreed(memory: Memory, first: int, known_weight: float, agreement: float) -> int:
    """Return the next session in quarantine whose news is usual among peers; -1: there is none."""
    for place in range(first, memory.counters[KEPT_USED]):
        row = memory.kept[place]
        if row["state"] != HELD or row["units"] > 0:
            continue
        if _is_agreed(memory, row, known_weight, agreement):
            return place
    return -1
