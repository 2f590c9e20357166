"""How far the sources of a process have got, so that none is read far ahead of another.

Events wait for the slowest source, in memory that is bounded: past that bound nobody is
waited for. A source that has to begin again with its broker, while others go on at full
speed, would meet that bound in seconds. So whoever is ahead is not read for a while.
"""

import time
from collections.abc import Iterable

AHEAD_US = 4 * 3_600_000_000
"""So much event time a source may be ahead of the slowest that is giving."""

HELD_S = 30.0
"""So long one is held: a source that is always late must not stop the others for ever."""


class Pace:
    """The event times that sources have reached; one thread writes and reads it."""

    def __init__(self, held_s: float = HELD_S) -> None:
        self._held_s = held_s
        self._reached_us: dict[str, int] = {}
        self._held_since_s: dict[str, float] = {}

    def expect(self, sources: Iterable[str]) -> None:
        """Wait for sources that have given nothing yet, or that have been read before."""
        for source in sources:
            self._reached_us.setdefault(source, 0)

    def reach(self, source: str, ts_us: int) -> None:
        """Take note of a source's latest event time."""
        self._reached_us[source] = max(self._reached_us.get(source, 0), ts_us)

    def rest(self, source: str) -> None:
        """Wait for a source no more: it has nothing to give now."""
        self._reached_us.pop(source, None)

    def holds(self, reader: str, sources: Iterable[str]) -> bool:
        """Return whether a reader of these sources is to wait for the others."""
        own_us = [self._reached_us[source] for source in sources if source in self._reached_us]
        is_ahead = bool(own_us) and min(own_us) > min(self._reached_us.values()) + AHEAD_US
        if not is_ahead:
            self._held_since_s.pop(reader, None)
            return False
        now_s = time.monotonic()
        return now_s - self._held_since_s.setdefault(reader, now_s) < self._held_s
