"""Stable 64-bit ids of strings: the same in every process, on every machine, for ever.

Python's own `hash` is salted per process and must never reach the state. The hash is
MurmurHash64A (Austin Appleby, MurmurHash2, 64-bit), chosen because it is simple enough to
run inside the compiled scanner on the bytes where they lie.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from astray.compiled import compiled, inner

_MULTIPLIER = np.uint64(0xC6A4A7935BD1E995)
_SHIFT = np.uint64(47)
_SEED = np.uint64(0x9E3779B97F4A7C15)
_ZERO, _ONE, _TWO, _THREE, _FOUR, _FIVE, _SIX, _SEVEN, _EIGHT = np.arange(9, dtype=np.uint64)
_B1, _B2, _B3, _B4, _B5, _B6, _B7 = np.arange(8, 64, 8, dtype=np.uint64)

ABSENT = 0
"""The id of a field that is not there. No string has it."""


_MASKS = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)


@inner
def load8(data: NDArray[np.uint8], at: np.uint64) -> np.uint64:
    """Return the eight bytes from a place on as a number, the first one lowest."""
    return (
        np.uint64(data[at])
        | (np.uint64(data[at + _ONE]) << _B1)
        | (np.uint64(data[at + _TWO]) << _B2)
        | (np.uint64(data[at + _THREE]) << _B3)
        | (np.uint64(data[at + _FOUR]) << _B4)
        | (np.uint64(data[at + _FIVE]) << _B5)
        | (np.uint64(data[at + _SIX]) << _B6)
        | (np.uint64(data[at + _SEVEN]) << _B7)
    )


@inner
def load_few(data: NDArray[np.uint8], at: np.uint64, size: np.uint64) -> np.uint64:
    """Return fewer than nine bytes as a number; without a loop unless they are the last ones."""
    if at + _EIGHT <= np.uint64(len(data)):
        return load8(data, at) & _MASKS[size]
    found = _ZERO
    for place in range(size):
        found |= np.uint64(data[at + np.uint64(place)]) << (np.uint64(place) * _EIGHT)
    return found


@compiled
def hash_bytes(data: NDArray[np.uint8], start: int, end: int) -> np.uint64:
    """Return the id of `data[start:end]`; never `ABSENT`."""
    at = np.uint64(start)  # unsigned: a negative index would count from the end, at a price
    left = np.uint64(end - start)
    value = _SEED ^ (left * _MULTIPLIER)
    while left >= _EIGHT:
        block = load8(data, at) * _MULTIPLIER
        block ^= block >> _SHIFT
        value = (value ^ (block * _MULTIPLIER)) * _MULTIPLIER
        at += _EIGHT
        left -= _EIGHT
    if left > _ZERO:
        value = (value ^ load_few(data, at, left)) * _MULTIPLIER
    value = (value ^ (value >> _SHIFT)) * _MULTIPLIER
    value ^= value >> _SHIFT
    return value if value != _ZERO else _ONE


@compiled
def mix(left: np.uint64, right: np.uint64) -> np.uint64:
    """Return the id of a pair of ids; the order counts; never `ABSENT`."""
    value = (left * _MULTIPLIER) ^ right
    value ^= value >> _SHIFT
    value = (value * _MULTIPLIER) ^ left
    value ^= value >> _SHIFT
    value *= _MULTIPLIER
    value ^= value >> _SHIFT
    return value if value != _ZERO else _ONE


def stable_id(text: str) -> int:
    """Return the id of a string, as the scanner computes it from the event's bytes.

    >>> hex(stable_id("billing-bot"))
    '0x3532276ea32c0573'
    """
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    with np.errstate(over="ignore"):  # only the interpreted form warns; wrapping is meant
        return int(hash_bytes(data, 0, len(data)))


def stable_ids(texts: Sequence[str]) -> NDArray[np.uint64]:
    """Return the ids of many strings, `ABSENT` for the empty ones."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    ids = np.zeros(len(encoded), np.uint64)
    with np.errstate(over="ignore"):
        _hash_all(np.frombuffer(b"".join(encoded), np.uint8), ends, ids)
    return ids


@compiled
def _hash_all(data: NDArray[np.uint8], ends: NDArray[np.int64], ids: NDArray[np.uint64]) -> None:
    start = 0
    for place in range(len(ends)):
        if ends[place] > start:
            ids[place] = hash_bytes(data, start, ends[place])
        start = ends[place]


def pair_ids(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the ids of pairs of ids; see `mix`."""
    ids = np.zeros(len(left), np.uint64)
    with np.errstate(over="ignore"):
        _mix_all(left, right, ids)
    return ids


@compiled
def _mix_all(left: NDArray[np.uint64], right: NDArray[np.uint64], ids: NDArray[np.uint64]) -> None:
    for place in range(len(left)):
        ids[place] = mix(left[place], right[place])


def pair_id(left: int, right: int) -> int:
    """Return the id of a pair of ids; see `mix`."""
    with np.errstate(over="ignore"):
        return int(mix(np.uint64(left), np.uint64(right)))
