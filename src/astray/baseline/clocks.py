"""How far the stream has got in event time, over several sources.

A source's clock is its latest event's time. The stream has got as far as the slowest source
that is giving time: files read side by side, or partitions caught up at different speeds,
must not end each other's sessions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.events import Decoded


class Clocks:
    """The clocks of a stream's sources, in microseconds; 0 where nothing has come yet."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._clock_us = dict.fromkeys(sources, 0)
        self._silent: set[str] = set()
        self._reached_us = 0

    def advance(self, decoded: Decoded) -> NDArray[np.int64]:
        """Return the time reached with each event of a chunk and, last, after the chunk."""
        source = decoded.chunk.source
        before_us = self._clock_us.get(source, 0)
        times_us = np.append(decoded.rows["ts_us"], 0)
        times_us[:1] = np.maximum(times_us[:1], before_us)
        own_us = np.maximum.accumulate(times_us)
        self._clock_us[source] = int(own_us[-1])
        if decoded.chunk.silent:
            self._silent.add(source)
        else:
            self._silent.discard(source)
        others_us = [
            clock_us
            for name, clock_us in self._clock_us.items()
            if name != source and name not in self._silent
        ]
        reached_us = np.minimum(own_us, min(others_us)) if others_us else own_us
        if decoded.chunk.silent and others_us:
            reached_us[-1] = min(others_us)
        reached_us = np.maximum(reached_us, self._reached_us)
        self._reached_us = int(reached_us[-1])
        return reached_us

    def dump(self) -> dict[str, Any]:
        """Return the clocks as JSON."""
        return {
            "clock_us": self._clock_us,
            "silent": sorted(self._silent),
            "reached_us": self._reached_us,
        }

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Take the clocks of a dump; sources that are no longer read hold nobody up."""
        for source, clock_us in dumped["clock_us"].items():
            if source in self._clock_us:
                self._clock_us[source] = clock_us
        self._silent = set(dumped["silent"]) & set(self._clock_us)
        self._reached_us = dumped["reached_us"]
