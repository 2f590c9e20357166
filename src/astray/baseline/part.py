"""A part of a chunk: the events of one shard, and the windows that the whole chunk touches."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.judgement import Judgement
from astray.events import Decoded

NO_TAGS = np.zeros(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Part:
    """The events at the places `order` of a chunk; none may be: time passes all the same.

    `tags` has an element per event of the chunk, or none at all. `window_us` is the window of
    each event in `order`: that of the latest time its source has given by then, as far as the
    chunk tells. `windows_us` are all windows that the chunk touches, each once, in order.
    """

    shard: int
    decoded: Decoded
    order: NDArray[np.intp]
    tags: NDArray[np.uint64]
    window_us: NDArray[np.int64]
    windows_us: NDArray[np.int64]
    judgements: tuple[Judgement, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Cross to another process without what is not the shard's own."""
        tags = self.tags[self.order] if len(self.tags) else self.tags
        decoded, order = self.decoded.only(self.order), np.arange(len(self.order))
        windows_us, judgements = self.windows_us, self.judgements
        return Part, (self.shard, decoded, order, tags, self.window_us, windows_us, judgements)


def windows_of(decoded: Decoded, length_us: int) -> NDArray[np.int64]:
    """Return the window of each event of a chunk: time never runs back within one.

    A window is called by its first moment. 0 is none, so that of 1970 begins a moment later.
    """
    reached_us = np.maximum.accumulate(decoded.rows["ts_us"])
    return np.asarray(np.maximum(reached_us - reached_us % length_us, 1), np.int64)


def part_of(
    shard: int,
    decoded: Decoded,
    order: NDArray[np.intp],
    window_us: NDArray[np.int64],
    tags: NDArray[np.uint64] = NO_TAGS,
) -> Part:
    """Return the part of a chunk whose events have these windows."""
    starts = np.flatnonzero(np.diff(window_us, prepend=-1))
    return Part(shard, decoded, order, tags, window_us[order], window_us[starts])


def told_to(shard: int, decoded: Decoded) -> Part:
    """Return the part of a chunk of verdicts: all of them; no time passes in it."""
    nothing = np.zeros(0, np.intp)
    no_windows = np.zeros(0, np.int64)
    return Part(shard, decoded, nothing, NO_TAGS, no_windows, no_windows, decoded.judgements)
