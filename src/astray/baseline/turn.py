"""The turn of an event-time window: idle sessions end and peers learn.

Within a window nothing that agents share changes, so the order of agents in it cannot
matter. At its turn everything its sessions have taught is summed up in whole units and
folded into groups and fleet, in an order that depends on the sums alone.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.buffers import N_RANKED, PENDING_USED, UNITS, UNSETTLED
from astray.baseline.layout import AGE_CLASSES, NOVELTY_CHANNELS, OWNER, STATISTICS, TOTALS
from astray.baseline.learning import mass_of
from astray.baseline.memory import GROUPS, SESSIONS, Memory
from astray.baseline.observe import DONE, FEW_PAGES, end_idle
from astray.baseline.pages import (
    PAGE,
    RUN_BITS_MAX,
    add,
    fetch_page,
    set_weight,
    used_pages,
    weight_at,
)
from astray.baseline.ranking import counted, fold, is_settled, rank
from astray.baseline.records import OpenSessions
from astray.baseline.sorting import order_of
from astray.compiled import compiled, float64, inner, int64
from astray.vector import fetch

_FIXED = 65536.0
_EXPONENT_MAX = 40
"""Weights are scaled down by 2**40 before they outgrow 32-bit floats."""

_TENANTS, _TRIES = 1 << 11, 64
_OF_AN_AGENT = 16
"""Open sessions that count of one agent: nobody keeps others from being ranked by opening many."""

_AHEAD = 8
"""Lessons, or sessions, after which what is asked for is there."""

_OWNER_BYTES, _PAGE_BYTES, _LINE = OWNER.itemsize, PAGE.itemsize, 64

_LEVEL = np.uint64(32)
_OTHERS = ("mass", "totals", "square", "silence")


@inner
def _is_idle(session: Any, idle_since_us: int) -> bool:
    return session["key"] != 0 and session["last_us"] <= idle_since_us


@inner
def _fetch_end(memory: Memory, session: Any) -> None:
    """Ask for what the end of a session will read first: its agent's row, and its items."""
    for line in range(0, _OWNER_BYTES, _LINE):
        fetch(memory.agents, int64(session["agent"]), int64(line))
    for line in range(0, _PAGE_BYTES, _LINE):
        fetch(memory.pages, int64(session["run"]), int64(line))


@compiled
def end_all_idle(
    memory: Memory, settings: Any, scratch: NDArray[np.float32], first: int, now_us: int
) -> tuple[int, int]:
    """End every session idle by `now_us`, from row `first` on; return where and why it stopped."""
    idle_since_us = now_us - settings["idle_us"]
    for row in range(first, memory.used[SESSIONS]):
        ahead = row + _AHEAD
        if ahead < memory.used[SESSIONS] and _is_idle(memory.sessions[ahead], idle_since_us):
            _fetch_end(memory, memory.sessions[ahead])
        if _is_idle(memory.sessions[row], idle_since_us):
            session = memory.sessions[row]
            status = end_idle(memory, settings, scratch, int64(session["agent"]), now_us)
            if status != DONE:
                return row, status
    return memory.used[SESSIONS], DONE


@inner
def _slot_of(tenant: int, tenants: NDArray[np.uint64], taken: NDArray[np.bool_]) -> int:
    """Return a tenant's place, or -1 where there is no room for it."""
    slot = int64(tenant % np.uint64(len(tenants)))
    for _ in range(_TRIES):
        if not taken[slot]:
            taken[slot] = True
            tenants[slot] = tenant
        if tenants[slot] == tenant:
            return slot
        slot = (slot + 1) % len(tenants)
    return -1


@compiled
def _count_open(
    memory: Memory,
    tenants: NDArray[np.uint64],
    taken: NDArray[np.bool_],
    counts: NDArray[np.int64],
) -> None:
    """Count open sessions by tenant and age class; see `open_sessions`."""
    for row in range(1, memory.used[SESSIONS]):
        session = memory.sessions[row]
        if session["key"] == 0 or session["before"] > 0:
            continue  # the least recently active one speaks for all of its agent
        slot = _slot_of(session["tenant"], tenants, taken)
        place, counted = row, 0
        while slot >= 0 and place > 0 and counted < _OF_AN_AGENT:
            counts[slot, memory.sessions[place]["age"]] += 1
            place = memory.sessions[place]["after"]
            counted += 1


def open_sessions(memory: Memory) -> tuple[OpenSessions, ...]:
    """Return how many sessions are open, by tenant; an agent cannot make up more than a few."""
    tenants, taken = np.zeros(_TENANTS, np.uint64), np.zeros(_TENANTS, np.bool_)
    counts = np.zeros((_TENANTS, AGE_CLASSES), np.int64)
    _count_open(memory, tenants, taken, counts)
    found = np.flatnonzero(taken)
    columns = zip(tenants[found].tolist(), counts[found].tolist(), strict=True)
    return tuple(OpenSessions(tenant, tuple(by_age)) for tenant, by_age in sorted(columns))


@inner
def _teach_item(memory: Memory, owner: Any, item: int, weight: float, bits_max: int) -> None:
    place = add(memory.pages, owner, item, bits_max, weight)
    if place >= 0:
        set_weight(memory.pages, place, weight_at(memory.pages, place) + weight)


@inner
def _fetch_lesson(memory: Memory, lesson: Any) -> None:
    """Ask for what a lesson will change."""
    owner, item = memory.groups[lesson["group"]], int64(lesson["item"])
    fetch_page(memory.pages, owner, item)
    if lesson["mass"] > 0:
        fetch_page(memory.pages, owner, mass_of(item))


@compiled
def teach(memory: Memory, lessons: NDArray[Any], first: int, bits_max: int) -> tuple[int, int]:
    """Fold lessons into their owners' tables from `first` on; return where and why it stopped."""
    unit = memory.window[0]["weight"] / UNITS
    margin = 2 << RUN_BITS_MAX
    for place in range(first, len(lessons)):
        if used_pages(memory.pages) + 2 * margin > len(memory.pages):
            return place, FEW_PAGES
        if place + _AHEAD < len(lessons):
            _fetch_lesson(memory, lessons[place + _AHEAD])
        lesson = lessons[place]
        owner, item = memory.groups[lesson["group"]], int64(lesson["item"])
        if lesson["known"] > 0:
            _teach_item(memory, owner, item, lesson["known"] * unit, bits_max)
        if lesson["mass"] > 0:
            _teach_item(memory, owner, mass_of(item), lesson["mass"] * unit, bits_max)
    return len(lessons), DONE


def summed(lessons: NDArray[Any]) -> NDArray[Any]:
    """Return the lessons with one row per owner and item, in order of both."""
    keys = np.empty(len(lessons), np.uint64)
    _key(lessons, keys)
    total = np.empty(len(lessons), lessons.dtype)
    return total[: _add_up(lessons, order_of(keys), total)]


@compiled
def _key(lessons: NDArray[Any], keys: NDArray[np.uint64]) -> None:
    for place in range(len(lessons)):
        owner = np.uint64(int64(lessons[place]["group"]))
        keys[place] = (owner << _LEVEL) | np.uint64(int64(lessons[place]["item"]))


@compiled
def _add_up(lessons: NDArray[Any], order: NDArray[np.int64], total: NDArray[Any]) -> int:
    """Fill `total` with one row per owner and item of lessons in order; return how many."""
    used = 0
    for place in range(len(order)):
        lesson, last = lessons[order[place]], total[used - 1]
        if used > 0 and last["group"] == lesson["group"] and last["item"] == lesson["item"]:
            last["known"] += lesson["known"]
            last["mass"] += lesson["mass"]
        else:
            total[used] = lesson
            used += 1
    return used


@compiled
def _for_fleets(lessons: NDArray[Any], groups: NDArray[Any], of_fleets: NDArray[Any]) -> int:
    """Fill `of_fleets` with what is known to groups, for their fleets; return how many."""
    used = 0
    for place in range(len(lessons)):
        lesson = lessons[place]
        if lesson["known"] > 0:
            of_fleets[used]["group"] = groups[lesson["group"]]["parent"]
            of_fleets[used]["item"] = lesson["item"]
            of_fleets[used]["known"] = lesson["known"]
            of_fleets[used]["mass"] = 0
            used += 1
    return used


def lessons_of(memory: Memory) -> NDArray[Any]:
    """Return what the window has taught groups and fleet."""
    of_groups = summed(memory.pending[: memory.counters[PENDING_USED]])
    of_fleets = np.empty(len(of_groups), of_groups.dtype)
    used = _for_fleets(of_groups, memory.groups, of_fleets)
    return np.concatenate((of_groups, summed(of_fleets[:used])))


@inner
def _fold_totals(owner: Any, lesson: Any, unit: float) -> None:
    """Merge the window's moments into an owner's (Chan et al., 1979)."""
    units = lesson["totals"]
    old, new = float64(owner["totals"]), units * unit
    share = new / (old + new)
    for total in range(len(TOTALS)):
        mean = lesson["sum"][total] / _FIXED / units
        square = max(lesson["square"][total] / _FIXED / units - mean * mean, 0.0) * new
        step = mean - float64(owner["mean"][total])
        owner["square"][total] = (
            float64(owner["square"][total]) + square + step * step * share * old
        )
        owner["mean"][total] = float64(owner["mean"][total]) + step * share
    step = lesson["silence"] / _FIXED / units - float64(owner["child_silence"])
    owner["child_silence"] = float64(owner["child_silence"]) + step * share
    owner["totals"] = old + new


@inner
def _fold_rates(owner: Any, lesson: Any, unit: float) -> None:
    for channel in range(NOVELTY_CHANNELS):
        owner["draws"][channel] += lesson["draws"][channel] * unit
        owner["news"][channel] += lesson["news"][channel] * unit
        for age in range(AGE_CLASSES):
            owner["child_draws"][age, channel] += lesson["child_draws"][age, channel] * unit
            owner["child_news"][age, channel] += lesson["child_news"][age, channel] * unit
    for place in range(len(owner["mass"])):
        owner["mass"][place] += lesson["mass"][place] * unit


@compiled
def fold_taught(memory: Memory) -> None:
    """Fold the window's rates, masses and totals into groups and fleet."""
    unit = memory.window[0]["weight"] / UNITS
    for row in range(1, memory.used[GROUPS]):
        owner, lesson = memory.groups[row], memory.taught[row]
        if lesson["sessions"] > 0:
            _fold_rates(owner, lesson, unit)
            if lesson["totals"] > 0:
                _fold_totals(owner, lesson, unit)
            memory.taught[row] = memory.taught[0]


def fold_ranking(memory: Memory, still_open: Iterable[OpenSessions]) -> None:
    """Let the sessions since the last time count in the shard's ranking, if they are many.

    What is merely longer than the shortest sessions of a fleet's first hours is not odd here
    either, and is learnt like any other.
    """
    ever = memory.counters[N_RANKED:UNSETTLED] + counted(memory.recent)
    is_renewed = fold(memory.tally, memory.recent)
    if is_renewed:
        memory.counters[N_RANKED:UNSETTLED] = ever
    ever = np.maximum(ever, counted(memory.tally))  # resharded, a ranking is of more than its own
    by_age = np.sum([of.by_age for of in still_open], axis=0, dtype=np.int64)
    unsettled = ~is_settled(ever, by_age)
    if is_renewed or (unsettled != memory.counters[UNSETTLED:]).any():
        memory.counters[UNSETTLED:] = unsettled
        rank(memory.tally, memory.counters[UNSETTLED:], memory.ranks)


def advance(memory: Memory, first_us: int, half_life_us: int) -> None:
    """Move the window to `first_us`."""
    window = memory.window[0]
    if window["first_us"] == 0:
        window["origin_us"] = first_us
    exponent = (first_us - window["origin_us"]) / half_life_us
    if exponent > _EXPONENT_MAX:
        steps = int(exponent // _EXPONENT_MAX) * _EXPONENT_MAX
        _scale_down(memory, steps)
        window["origin_us"] += steps * half_life_us
        exponent -= steps
    window["first_us"] = first_us
    window["weight"] = 2.0**exponent


def _scale_down(memory: Memory, exponent: int) -> None:
    factor = 2.0**-exponent
    leaves = _leaf_weights(memory)
    kept = [memory.pages["weight"][first:end].copy() for first, end in leaves]
    memory.pages["weight"] *= factor
    for (first, end), weights in zip(leaves, kept, strict=True):  # likenesses do not decay
        memory.pages["weight"][first:end] = weights
    for owners in (memory.agents, memory.groups):
        for name in ("draws", "news", "child_draws", "child_news", *_OTHERS):
            owners[name] *= factor
    for name in ("before", "taught", "totals_taught"):
        memory.kept[name] *= factor


def _leaf_weights(memory: Memory) -> list[tuple[int, int]]:
    open_ = memory.sessions[memory.sessions["key"] != 0]
    return [(int(s["run"]), int(s["run"]) + (1 << int(s["run_bits"]))) for s in open_]


def compile_ends(memory: Memory, settings: Any) -> None:
    """Have compiled what ends the sessions of a window."""
    end_all_idle(memory, settings, np.zeros(len(STATISTICS), np.float32), 1, 0)


def compile_turn(memory: Memory) -> None:
    """Have compiled what the turn of a window needs, besides the end of sessions."""
    teach(memory, lessons_of(memory), 0, 0)
    fold_taught(memory)
    fold_ranking(memory, open_sessions(memory))
