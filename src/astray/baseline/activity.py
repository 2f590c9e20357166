"""Who and what has shown itself in a window: the first events of it that show an agent or action.

This is what the alarm about silence learns rhythms from. It is told as the events come, and
costs a look into a small cache per event. The cache is no state: what it has lost, or what a
restart has made it forget, is told again, and telling twice says nothing new.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from astray.compiled import compiled, int64
from astray.events import Decoded, Lines
from astray.events.ids import mix, pair_id, stable_id
from astray.vector import fetch

TOLD_SLOTS = 1 << 17
"""Places of the cache, a power of two: beyond so many agents in a window some are told twice."""

_AHEAD = 8
"""Events after which a place of the cache that is asked for is there."""

SHOWN = np.dtype([("tenant", np.uint64), ("agent", np.uint64), ("action", np.uint64)])
"""An agent and an action, as ids that no tenant shares with another, nor agents with actions."""

_ACTION = np.uint64(0x616374696F6E)


@dataclass(frozen=True, slots=True)
class Shown:
    """Events of one source and window that show an agent or an action first, with their lines.

    `is_first`: the source itself may not have been heard of in this window before.
    """

    source: str
    is_first: bool
    rows: NDArray[Any]
    lines: Lines

    def only(self, places: NDArray[np.intp]) -> Self:
        """Return what is shown at these places."""
        if len(places) == len(self.rows):
            return self
        return replace(self, rows=self.rows.take(places), lines=self.lines.only(places))


class Activity:
    """What a shard has told of the window that it is in."""

    def __init__(self) -> None:
        self._told = np.zeros(TOLD_SLOTS, np.uint64)
        self._window_us = 0
        self._sources: dict[str, int] = {}  # that have given something, with their ids

    def shown(self, decoded: Decoded, order: NDArray[np.intp], window_us: int) -> Shown | None:
        """Return what these events show that has not been told of their window and source."""
        if window_us != self._window_us:
            self._window_us = window_us
            self._sources.clear()
        source = decoded.chunk.source
        is_first = source not in self._sources
        source_id = self._sources.setdefault(source, stable_id(source))
        places = np.empty(len(order), np.int64)
        rows = np.empty(len(order), SHOWN)
        with np.errstate(over="ignore"):  # only the interpreted form warns; wrapping is meant
            stamp = np.uint64(pair_id(source_id, window_us))
            found = _untold(self._told, decoded.rows, order, stamp, places, rows)
        if not found:
            return None
        return Shown(source, is_first, rows[:found].copy(), decoded.lines(places[:found]))


@compiled
def _untold(
    told: NDArray[np.uint64],
    events: NDArray[Any],
    order: NDArray[np.intp],
    stamp: np.uint64,
    places: NDArray[np.int64],
    out: NDArray[Any],
) -> int:
    """Note which events show something that is not in the cache, and put it there.

    `stamp` is the window's and the source's: by which sources something is told of must not
    depend on which of them was read first.
    """
    last = np.uint64(len(told) - 1)
    found = 0
    for place in range(len(order)):
        if place + _AHEAD < len(order):
            fetch(told, int64(events[order[place + _AHEAD]]["agent"] & last), int64(0))
        event = events[order[place]]
        agent, action = event["agent"], mix(mix(event["tenant"], event["action"]), _ACTION)
        if told[agent & last] != agent ^ stamp or told[action & last] != action ^ stamp:
            told[agent & last] = agent ^ stamp
            told[action & last] = action ^ stamp
            places[found] = order[place]
            out[found]["tenant"] = event["tenant"]
            out[found]["agent"] = agent
            out[found]["action"] = action
            found += 1
    return int64(found)
