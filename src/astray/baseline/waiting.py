"""Events that wait for their window, where several sources are read side by side.

A source's clock is its latest event's time. The stream has got as far as the slowest source
that is giving: files read side by side, or partitions caught up at different speeds, must not
end each other's sessions, nor may it matter who was faster. So a shard enters a window when
every source has reached it, and events that are ahead wait. A source that has nothing more to
give now says that it is silent, and holds nobody up.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.part import NO_TAGS, Part
from astray.events import ANY_TIME_US, Chunk, Decoded, decode

WAITING_MAX = 1 << 18
"""Events that a shard lets wait. Beyond them it does not wait for slow sources any more."""

_NO_WINDOWS = np.zeros(0, np.int64)

Due = tuple[Decoded, NDArray[np.intp], NDArray[np.uint64]]
"""Events whose window has come: a chunk, their places in it, the chunk's tags."""


@dataclass(slots=True)
class _Source:
    """How far a source has got: the first moments of windows, in microseconds; 0: nowhere."""

    reached_us: int = 0
    silent: bool = False
    is_read: bool = True
    ahead_us: list[int] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)

    def take_in(self, part: Part) -> None:
        before_us = self.reached_us
        self.silent = part.decoded.chunk.silent
        new_us = part.windows_us[part.windows_us > before_us].tolist()
        self.ahead_us += new_us
        self.reached_us = new_us[-1] if new_us else before_us
        if len(part.order):
            window_us = np.maximum(part.window_us, before_us)
            self.parts.append(_with(part, part.order, window_us))

    def due(self, window_us: int) -> Iterator[Part]:
        """Take out the events of this window and of those before it."""
        while self.parts:
            part = self.parts[0]
            end = int(np.searchsorted(part.window_us, window_us, "right"))
            if end == 0:
                return
            if end < len(part.order):
                self.parts[0] = _with(part, part.order[end:], part.window_us[end:])
            else:
                self.parts.pop(0)
            yield _with(part, part.order[:end], part.window_us[:end])


def _with(part: Part, order: NDArray[np.intp], window_us: NDArray[np.int64]) -> Part:
    return Part(part.shard, part.decoded, order, part.tags, window_us, part.windows_us)


class Waiting:
    """The clocks of a stream's sources, and what is ahead of the slowest."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources = {source: _Source() for source in sources}
        self._reached_us = 0

    def add(self, part: Part) -> None:
        """Take in a part: its events wait until they are due."""
        name = part.decoded.chunk.source
        self._sources.setdefault(name, _Source()).take_in(part)

    def due(self, window_us: int) -> Iterator[Due]:
        """Take out the events whose window has come; those of a source stay in their order."""
        for _, source in sorted(self._sources.items()):
            for part in source.due(window_us):
                yield part.decoded, part.order, part.tags

    def next_window_us(self, present_us: int) -> int:
        """Return the first window after the present one that all have reached, or 0."""
        self._reached_us = max(self._reached_us, self._all_reached_us())
        first_us = 0
        for source in self._sources.values():
            while source.ahead_us and source.ahead_us[0] <= present_us:
                source.ahead_us.pop(0)
            if source.ahead_us and (not first_us or source.ahead_us[0] < first_us):
                first_us = source.ahead_us[0]
        return first_us if first_us <= self._reached_us or self._is_full() else 0

    def _all_reached_us(self) -> int:
        giving = [source.reached_us for source in self._sources.values() if not source.silent]
        if giving:
            return min(giving)
        return max((source.reached_us for source in self._sources.values()), default=0)

    def _is_full(self) -> bool:
        """Return whether too much waits to wait any longer."""
        waiting = [part for source in self._sources.values() for part in source.parts]
        return sum(len(part.order) for part in waiting) > WAITING_MAX

    def begin_again(self) -> None:
        """Wait for all that are read: what was silent before a restart may have grown since."""
        for source in self._sources.values():
            source.silent = not source.is_read

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return clocks as JSON, and what waits as arrays."""
        clocks, arrays = {}, {}
        for place, (name, source) in enumerate(sorted(self._sources.items())):
            clocks[name] = [source.reached_us, source.silent, source.ahead_us]
            lines = [part.decoded.only(part.order).chunk.data for part in source.parts]
            arrays[f"lines{place}"] = np.frombuffer(b"".join(lines), np.uint8)
            windows_us = [part.window_us for part in source.parts]
            arrays[f"window_us{place}"] = np.concatenate([_NO_WINDOWS, *windows_us])
            arrays[f"tags{place}"] = np.concatenate([NO_TAGS, *map(_tags, source.parts)])
        return {"clocks": clocks, "reached_us": self._reached_us}, arrays

    def load(self, dumped: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take clocks and what waits; sources that are no longer read hold nobody up."""
        self._reached_us = dumped["reached_us"]
        for place, (name, (reached_us, silent, ahead_us)) in enumerate(dumped["clocks"].items()):
            lines = arrays[f"lines{place}"].tobytes()
            is_read = name in self._sources
            if is_read or lines:
                source = _Source(reached_us, silent or not is_read, is_read, ahead_us)
                self._sources[name] = source
            if lines:
                decoded = decode(Chunk(name, 0, lines), ANY_TIME_US)
                order, tags = np.arange(len(decoded.rows)), arrays[f"tags{place}"]
                window_us = arrays[f"window_us{place}"]
                source.parts.append(Part(0, decoded, order, tags, window_us, _NO_WINDOWS))


def _tags(part: Part) -> NDArray[np.uint64]:
    """Return a tag per event of a part, also where nothing is tagged."""
    return part.tags[part.order] if len(part.tags) else np.zeros(len(part.order), np.uint64)
