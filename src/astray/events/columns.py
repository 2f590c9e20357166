"""Events as columns: what the scanner writes and the hot loop reads.

A chunk is one structured array with a row per event and one with all their resources
(`astray.events.places`). Text is present as ids only (`astray.events.ids`); the bytes of the few
events that somebody will look at are found again through `line_first` and `line_end`.
One wide array instead of many narrow ones, because an event is read and written as a whole
(two cache lines) and because numba passes each array by a seven-word header.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

EVENT = np.dtype(
    [
        ("ts_us", np.int64),
        ("tenant", np.uint64),
        ("agent", np.uint64),  # agent, group and session are ids within their tenant
        ("group", np.uint64),  # absent text is `ids.ABSENT`, which is 0
        ("session", np.uint64),
        ("action", np.uint64),
        ("source", np.uint64),
        ("principal", np.uint64),
        ("callee", np.uint64),
        ("event", np.uint64),
        ("bytes", np.int64),
        ("count", np.int64),
        ("resource_first", np.int32),
        ("resource_count", np.int32),
        ("line_first", np.int32),  # the event's bytes in its chunk
        ("line_end", np.int32),
        ("seen", np.int32),  # the scanner's: which fields this line has had
        ("kind", np.uint8),  # index into schema.KINDS
        ("outcome", np.uint8),  # index into schema.OUTCOMES
        ("session_end", np.uint8),
        ("depth", np.uint8),  # of delegation
    ]
)

Rows = NDArray[Any]
"""A structured array of `EVENT`."""
