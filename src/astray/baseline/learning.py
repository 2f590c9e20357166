"""The end of a session: it is ranked, reported, and learnt if it looks clean.

Observations are held back until here. An odd session teaches its agent little and makes nothing
known to its peers, else who is hijacked first would make the attacker usual for all others; a
very odd one teaches nothing. All of them are ranked against, because a reference that leaves
the odd ones out makes every next session look odder.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.buffers import N_PENDING_LOST, N_QUARANTINED, PENDING_USED, UNITS
from astray.baseline.dormancy import learn_silence
from astray.baseline.fusion import fuse
from astray.baseline.layout import (
    HOUR,
    NOVELTY_CHANNELS,
    STATISTICS,
    TOTALS,
    TRANSITION,
)
from astray.baseline.pages import (
    NOTE_MAX,
    WAYS,
    Pages,
    add,
    fetch_page,
    note_at,
    set_note,
    set_weight,
    weight_at,
)
from astray.baseline.ranking import Ranks, Tally, fused_bin
from astray.compiled import float64, inner, int64

SUSPICIOUS_UNITS = 3
"""What a suspicious session teaches: three such make an item known to its agent."""

NEWS_MAX = 3
"""New items of one session that count towards a rate of novelty: a flood cannot buy calm."""

SPREADS_MAX = 3.0
_FIXED = 65536.0
_DAY_US = 86_400_000_000
MASS_MASK = 0x5BD1E995


@inner
def mass_of(item: int) -> int:
    """Return the item under which a group keeps how common `item` is among its sessions."""
    return item ^ MASS_MASK if item != MASS_MASK else item


@inner
def has_mass(channel: int) -> bool:
    """Return whether peers keep a distribution on this channel."""
    return channel <= TRANSITION or channel == HOUR


@inner
def mass_place(channel: int) -> int:
    """Return where an owner sums up the weights of this channel."""
    return channel if channel <= TRANSITION else 2


@inner
def fused_place(session: Any, ranks: Ranks, scratch: NDArray[np.float32]) -> int:
    """Return the bin of a session's fused number as it stands."""
    for statistic in range(len(STATISTICS)):
        scratch[statistic] = ranks[session["age"], statistic, session["bin"][statistic]]
    return fused_bin(fuse(scratch))


@inner
def fused_bits(session: Any, ranks: Ranks, scratch: NDArray[np.float32]) -> float:
    """Return how rare a session is as it stands, in bits, by the shard's own ranking."""
    return ranks[session["age"], len(STATISTICS), fused_place(session, ranks, scratch)]


@inner
def ranked_bits(session: Any, ranks: Ranks, recent: Tally, scratch: NDArray[np.float32]) -> float:
    """Count the session for the shard's ranking; return how rare it is, in bits."""
    age = session["age"]
    for statistic in range(len(STATISTICS)):
        recent[age, statistic, session["bin"][statistic]] += 1
    fused = fused_place(session, ranks, scratch)
    recent[age, len(STATISTICS), fused] += 1
    return ranks[age, len(STATISTICS), fused]


@inner
def units_of(bits: float, settings: Any) -> int:
    """Return how much a session that is so rare may teach, in units."""
    if bits >= settings["quarantine_bits"]:
        return 0
    return SUSPICIOUS_UNITS if bits >= settings["suspicious_bits"] else UNITS


@inner
def _push(
    pending: NDArray[Any], counters: NDArray[np.int64], group: int, item: int, known: int, mass: int
) -> None:
    used = counters[PENDING_USED]
    if used == len(pending):
        counters[N_PENDING_LOST] += 1
        return
    row = pending[used]
    row["group"] = group
    row["item"] = item
    row["known"] = known
    row["mass"] = mass
    counters[PENDING_USED] = used + 1


@inner
def _learn_items(
    session: Any,
    agent: Any,
    group: Any,
    units: int,
    pages: Pages,
    pending: NDArray[Any],
    counters: NDArray[np.int64],
    settings: Any,
    window: Any,
) -> None:
    weight = window["weight"] * units / UNITS
    # Days begin at another hour for each agent, so that peers are not all taught at midnight.
    shift = int64(agent["key"] % np.uint64(_DAY_US))
    day = (window["first_us"] + shift) // _DAY_US % NOTE_MAX + 1
    first = int64(session["run"]) * WAYS
    end = first + (WAYS << int64(session["run_bits"]))
    for leaf in range(first, end):
        item = int64(pages[leaf // WAYS]["item"][leaf % WAYS])
        if item != 0:
            fetch_page(pages, agent, item)
    for leaf in range(first, end):
        item = int64(pages[leaf // WAYS]["item"][leaf % WAYS])
        if item == 0:
            continue
        channel = note_at(pages, leaf)
        place = add(pages, agent, item, settings["agent_bits_max"], math.inf)
        set_weight(pages, place, weight_at(pages, place) + weight)
        known = 0
        if units == UNITS and note_at(pages, place) != day:
            known = units
            set_note(pages, place, day)
        mass = 0
        if has_mass(channel):
            mass = units
            agent["mass"][mass_place(channel)] += weight
            group["mass"][mass_place(channel)] += units
        if known > 0 or mass > 0:
            _push(pending, counters, agent["parent"], item, known, mass)


@inner
def _learn_rates(
    session: Any, agent: Any, group: Any, fleet: Any, units: int, weight: float
) -> None:
    age = session["age"]
    for channel in range(NOVELTY_CHANNELS):
        draws = session["items"][channel]
        news = min(session["items_new"][channel], NEWS_MAX)
        news_to_peers = min(session["items_new_to_peers"][channel], NEWS_MAX)
        news_to_fleet = min(session["items_new_to_fleet"][channel], NEWS_MAX)
        agent["draws"][channel] += draws * weight
        agent["news"][channel] += news * weight
        group["child_draws"][age, channel] += draws * units
        group["child_news"][age, channel] += news * units
        group["draws"][channel] += draws * units
        group["news"][channel] += news_to_peers * units
        fleet["child_draws"][0, channel] += draws * units
        fleet["child_news"][0, channel] += news_to_peers * units
        fleet["draws"][channel] += draws * units
        fleet["news"][channel] += news_to_fleet * units


@inner
def _learn_totals(session: Any, agent: Any, group: Any, units: int, weight: float) -> None:
    agent["totals"] += weight
    group["totals"] += units
    for total in range(len(TOTALS)):
        value = math.log1p(session["total"][total])
        location = float64(session["expected"][total])
        reach = SPREADS_MAX * float64(session["spread"][total])
        value = min(max(value, location - reach), location + reach)
        mean = float64(agent["mean"][total])
        step = value - mean
        mean += step * weight / float64(agent["totals"])
        agent["square"][total] += weight * step * (value - mean)
        agent["mean"][total] = mean
        group["sum"][total] += round(value * _FIXED) * units
        group["square"][total] += round(value * value * _FIXED) * units


@inner
def learn(
    session: Any,
    agent: Any,
    taught: NDArray[Any],
    fleet: int,
    units: int,
    pages: Pages,
    pending: NDArray[Any],
    counters: NDArray[np.int64],
    settings: Any,
    window: Any,
) -> None:
    """Commit a session to its agent's baseline at once, and to its peers' when the window turns."""
    agent["sessions"] += 1
    if units == 0:
        counters[N_QUARANTINED] += 1
        return
    weight = window["weight"] * units / UNITS
    group = taught[agent["parent"]]
    group["sessions"] += 1
    taught[fleet]["sessions"] += 1
    _learn_items(session, agent, group, units, pages, pending, counters, settings, window)
    _learn_rates(session, agent, group, taught[fleet], units, weight)
    _learn_totals(session, agent, group, units, weight)
    learn_silence(session, agent, group, units, float64(window["weight"]))
