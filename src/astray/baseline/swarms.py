"""Swarms: what more and more agents do within one window, while each of them seems to be itself.

Agents are counted by what they do, and by what they do to which resource, in HyperLogLog
registers (Flajolet et al., 2007; for few agents by linear counting). A register knows neither
how often nor in which order agents come, so neither repetition nor interleaving matters, and
an agent that does everything there is adds no more than itself to any count. What shares a
cell is counted together; where that is likely to matter a swarm has to be larger.

A shard tells of a swarm whenever it has doubled. The counts are of one window.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from astray.compiled import compiled, inner, int64
from astray.events import Decoded, Lines
from astray.events.ids import mix
from astray.events.schema import RESOURCES_MAX
from astray.vector import fetch

CELLS = 1 << 14
"""A power of two: half a megabyte of registers."""

REGISTERS = 32
"""Registers of a cell, a power of two: its count is right within about a sixth."""

SWARM = np.dtype(
    [
        ("tenant", np.uint64),
        ("done", np.uint64),  # what is done
        ("key", np.uint64),  # ... and to what
        ("kin", np.uint64),  # what is done, and to what kind of thing
        ("place", np.int64),  # which of the line's resources; -1: none
        ("agents", np.int64),  # at least so many
    ]
)
"""A swarm, as told when it has doubled. Kin are swarms round things that look alike."""

_TIMES_TYPICAL = 4.0
_ALPHA = 0.697  # of 32 registers
_EMPTY_MIN = 3
"""While so many registers are empty, linear counting is better (ibid., figure 3)."""

_BITS = np.uint64(5)
_RANK_MAX = 58
_ACTION, _AGENT = np.uint64(0x737761726D61), np.uint64(0x737761726D62)
_NONE, _ONE = np.uint64(0), np.uint64(1)
_CELL, _REGISTER = np.uint64(CELLS - 1), np.uint64(REGISTERS - 1)
_WEIGHT = 2.0 ** -np.arange(64)
_EMPTY = np.maximum(np.arange(REGISTERS + 1), 1)
_DOUBLED = np.log2(np.maximum(REGISTERS * np.log(REGISTERS / _EMPTY), 1.0)).astype(np.int64)
"""How often the agents have doubled of which so many registers are left empty."""

_AHEAD = 8
"""Events after which a cell that is asked for is there."""

_TOLD_MAX = 512
_OF_EVENT = 1 + RESOURCES_MAX

Registers = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Swarming:
    """Swarms that have doubled, rows of `SWARM`, each with the event that made it so."""

    rows: NDArray[Any]
    lines: Lines

    def only(self, places: NDArray[np.intp]) -> Self:
        """Return the swarms at these places."""
        return replace(self, rows=self.rows.take(places), lines=self.lines.only(places))


class Swarms:
    """How many of a shard's agents do what in a window; swarms of `agents_min` are told of.

    Where a typical cell has counted many, as there are more things than cells, a swarm has to be
    several times as large.
    """

    def __init__(self, agents_min: int) -> None:
        self._agents_min = agents_min
        self._registers = np.zeros((CELLS, REGISTERS), np.uint8)
        self._least = agents_min

    def swarming(
        self, decoded: Decoded, order: NDArray[np.intp], window_us: int
    ) -> Swarming | None:
        """Count these events of the window; return the swarms that have doubled by them.

        What comes late is not of the window, and may have been counted in its own.
        """
        if not self._agents_min or not len(order):
            return None
        told: list[tuple[NDArray[Any], NDArray[np.int64]]] = []
        place, found = 0, 0
        rows, lines = np.empty(_TOLD_MAX, SWARM), np.empty(_TOLD_MAX, np.int64)
        while place < len(order):
            with np.errstate(over="ignore"):  # only the interpreted form warns; wrapping is meant
                place, found = _count(
                    self._registers, decoded.rows, decoded.resources, order, place,
                    window_us, self._least, rows, lines,
                )  # fmt: skip
            if found:
                told.append((rows[:found].copy(), lines[:found].copy()))
        if not told:
            return None
        every, places = (np.concatenate(columns) for columns in zip(*told, strict=True))
        return Swarming(every, decoded.lines(places))

    def turn(self) -> None:
        """Enter another window."""
        if self._agents_min:
            empty = max(int(np.count_nonzero(self._registers == 0)), 1)
            typical = REGISTERS * math.log(self._registers.size / empty)
            self._least = max(self._agents_min, math.ceil(_TIMES_TYPICAL * typical))
            self._registers[:] = 0

    def dump(self) -> dict[str, NDArray[Any]]:
        """Return all counts as arrays."""
        places = np.flatnonzero(self._registers.any(axis=1))
        least = np.array([self._least], np.int64)
        return {"least": least, "places": places, "cells": self._registers[places]}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take the counts of a dump; one of before there were any has none."""
        if arrays and self._agents_min:
            self._least = max(int(arrays["least"][0]), self._agents_min)
            self._registers[arrays["places"]] = arrays["cells"]


@inner
def _rank(bits: np.uint64) -> int:
    """Return the place of the lowest bit that is set, from 1 on."""
    rank = 1
    while bits & _ONE == _NONE and rank < _RANK_MAX:
        bits >>= _ONE
        rank += 1
    return rank


@inner
def _doubled(cell: Registers, empty: int) -> int:
    """Return how often those that a cell with so many empty registers has counted have doubled."""
    if empty >= _EMPTY_MIN:
        return int64(_DOUBLED[empty])
    total = 0.0
    for place in range(REGISTERS):
        total += _WEIGHT[cell[place]]
    return int64(math.log2(_ALPHA * REGISTERS * REGISTERS / total))


@inner
def _grows(cell: Registers, place: int, rank: int) -> int:
    """Count an agent; return how often a swarm has doubled if that was one time more, or 0."""
    if cell[place] >= rank:
        return 0  # most events
    empty = 0
    for other in range(REGISTERS):  # without a break: vector instructions
        empty += int64(cell[other] == 0)
    fewer = empty - int64(cell[place] == 0)
    if fewer == empty and empty >= _EMPTY_MIN:
        cell[place] = rank
        return 0
    before = _doubled(cell, empty)
    cell[place] = rank
    now = _doubled(cell, fewer)
    return now if now > before else 0


@inner
def _done(event: Any) -> np.uint64:
    return mix(mix(event["tenant"], event["action"]), _ACTION)


@inner
def _fetch_cells(registers: Registers, event: Any, resources: NDArray[Any]) -> None:
    """Ask for the cells that an event will count in, or most of them."""
    done = _done(event)
    fetch(registers, int64(done & _CELL), int64(0))
    if event["resource_count"] > 0:
        key = mix(done, resources[event["resource_first"]]["id"])
        fetch(registers, int64(key & _CELL), int64(0))


@compiled
def _count(
    registers: Registers,
    events: NDArray[Any],
    resources: NDArray[Any],
    order: NDArray[np.intp],
    first: int,
    window_us: int,
    least: int,
    rows: NDArray[Any],
    lines: NDArray[np.int64],
) -> tuple[int, int]:
    """Count events from `first` on; return where it stopped and how many swarms have doubled."""
    found = 0
    for at in range(first, len(order)):
        if found + _OF_EVENT > len(rows):
            return at, found
        if at + _AHEAD < len(order):
            _fetch_cells(registers, events[order[at + _AHEAD]], resources)
        event = events[order[at]]
        if event["ts_us"] < window_us:
            continue
        agent = mix(event["agent"], _AGENT)
        register, rank = int64(agent & _REGISTER), _rank(agent >> _BITS)
        done = _done(event)
        resource_count = int64(event["resource_count"])
        for place in range(resource_count + 1):
            key = done
            if place < resource_count:
                key = mix(done, resources[event["resource_first"] + place]["id"])
            doubled = _grows(registers[int64(key & _CELL)], register, rank)
            if doubled > 0 and 2**doubled >= least:
                row = rows[found]
                row["tenant"] = event["tenant"]
                row["done"] = done
                row["key"] = key
                row["kin"] = done
                row["place"] = -1
                row["agents"] = 2**doubled
                if place < resource_count:
                    of = resources[event["resource_first"] + place]["pattern"]
                    row["kin"] = mix(done, of)
                    row["place"] = place
                lines[found] = order[at]
                found += 1
    return len(order), found
