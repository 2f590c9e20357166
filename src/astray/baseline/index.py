"""From a 64-bit key to a row: open addressing with linear probing, no tombstones.

An index is a structured array of `PLACE`, a power of two long and at most half full. Keys
are hashes already, so their low bits choose the place.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.compiled import compiled, inner, int64

PLACE = np.dtype([("key", np.uint64), ("row", np.int64)])  # key 0: empty
Index = NDArray[Any]
Keys = NDArray[np.uint64]

_ZERO = np.uint64(0)
_ONE = np.uint64(1)


@inner
def find_row(index: Index, key: np.uint64) -> int:
    """Return the row of a key, or -1."""
    last = np.uint64(len(index) - 1)
    at = key & last
    while index[at]["key"] != _ZERO:
        if index[at]["key"] == key:
            return int64(index[at]["row"])
        at = (at + _ONE) & last
    return int64(-1)


def rows_of(index: Index, keys: Keys) -> NDArray[np.int64]:
    """Return the rows of keys; -1 where there is none."""
    rows = np.empty(len(keys), np.int64)
    _find_all(index, np.ascontiguousarray(keys), rows)
    return rows


@compiled
def _find_all(index: Index, keys: Keys, rows: NDArray[np.int64]) -> None:
    for place in range(len(keys)):
        rows[place] = find_row(index, keys[place])


@inner
def put_row(index: Index, key: np.uint64, row: int) -> None:
    """Remember the row of a key that has none."""
    last = np.uint64(len(index) - 1)
    at = key & last
    while index[at]["key"] != _ZERO:
        at = (at + _ONE) & last
    index[at]["key"] = key
    index[at]["row"] = row


@compiled
def drop_row(index: Index, key: np.uint64) -> None:
    """Forget a key that has a row; whatever probed past it moves up."""
    last = np.uint64(len(index) - 1)
    hole = key & last
    while index[hole]["key"] != key:
        hole = (hole + _ONE) & last
    at = (hole + _ONE) & last
    while index[at]["key"] != _ZERO:
        home = index[at]["key"] & last
        if ((at - home) & last) >= ((at - hole) & last):  # its way from home leads past the hole
            index[hole] = index[at]
            hole = at
        at = (at + _ONE) & last
    index[hole]["key"] = _ZERO


def build_index(keys: Keys) -> Index:
    """Return an index of rows by their keys; 0 is no key. There is room for as many again."""
    index = np.zeros(1 << max(int(2 * len(keys)), 16).bit_length(), PLACE)
    with np.errstate(over="ignore"):
        _put_all(index, keys)
    return index


@compiled
def _put_all(index: Index, keys: Keys) -> None:
    for row in range(len(keys)):
        if keys[row] != _ZERO:
            put_row(index, keys[row], row)
