"""The keys that an event may have, and how a line's are told apart without hashing them.

A key is known by its size and its first and last eight bytes, which have a slot of their own in
a small table.
"""

import numpy as np
from numpy.typing import NDArray

from astray.compiled import inner
from astray.events.ids import load8, load_few

KEYS = (
    "ts", "agent", "action", "session", "group", "tenant", "source", "principal",
    "target_agent", "event_id", "resource", "resources", "outcome", "kind", "bytes", "count",
    "session_end", "delegation_depth",
)  # fmt: skip
TS, AGENT, ACTION, SESSION, GROUP, TENANT, SOURCE, PRINCIPAL, CALLEE, EVENT = range(10)
RESOURCE, RESOURCES, OUTCOME, KIND, BYTES, COUNT, SESSION_END, DEPTH = range(10, 18)
UNKNOWN = len(KEYS)

_WORD = 8
_KEY_SIZES = np.array([len(key) for key in KEYS], np.int64)
_KEY_HEADS = np.array([int.from_bytes(key[:_WORD].encode(), "little") for key in KEYS], np.uint64)
_KEY_TAILS = np.array([int.from_bytes(key[-_WORD:].encode(), "little") for key in KEYS], np.uint64)
_SLOTS = 32
_SLOT_SHIFT = np.uint64(59)
_SLOT_MULTIPLIER = np.uint64(0xA5AC06D864C2F2E3)
"""Found by trying: it gives each key a slot of its own."""


def _slots() -> NDArray[np.int64]:
    """Return the field whose key is in each slot, if any is."""
    fields = np.full(_SLOTS, UNKNOWN, np.int64)
    words = _KEY_HEADS + _KEY_SIZES.astype(np.uint64)
    fields[(words * _SLOT_MULTIPLIER) >> _SLOT_SHIFT] = np.arange(len(KEYS))
    return fields


_FIELDS = _slots()


@inner
def field_of(data: NDArray[np.uint8], first: int, end: int) -> int:
    """Return the field whose key is `data[first:end]`, by comparing its first and last words."""
    size = end - first
    head = load_few(data, np.uint64(first), np.uint64(min(size, _WORD)))
    field = _FIELDS[((head + np.uint64(size)) * _SLOT_MULTIPLIER) >> _SLOT_SHIFT]
    if field == UNKNOWN or size != _KEY_SIZES[field] or head != _KEY_HEADS[field]:
        return UNKNOWN
    is_same = size <= _WORD or load8(data, np.uint64(end - _WORD)) == _KEY_TAILS[field]
    return field if is_same else UNKNOWN
