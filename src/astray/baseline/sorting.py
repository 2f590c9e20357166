"""The order of 64-bit keys: a radix sort, which compares nothing and passes over equal digits."""

import numpy as np
from numpy.typing import NDArray

from astray.compiled import compiled, int64

_DIGIT_BITS = 11
_DIGITS = 1 << _DIGIT_BITS

Keys = NDArray[np.uint64]
Places = NDArray[np.int64]


def order_of(keys: Keys) -> Places:
    """Return the places of keys in ascending order; equal ones stay in theirs."""
    order, room = np.arange(len(keys)), np.empty(len(keys), np.int64)
    counts = np.empty(_DIGITS, np.int64)
    for shift in range(0, int(keys.max(initial=0)).bit_length(), _DIGIT_BITS):
        if _sort_by(keys, np.uint64(shift), order, room, counts):
            order, room = room, order
    return order


@compiled
def _sort_by(keys: Keys, shift: np.uint64, order: Places, out: Places, counts: Places) -> bool:
    """Write the order into `out`, sorted by one digit; return False where all have the same."""
    last = np.uint64(_DIGITS - 1)
    counts[:] = 0
    for place in range(len(keys)):
        counts[int64((keys[place] >> shift) & last)] += 1
    first = 0
    for digit in range(len(counts)):
        count = counts[digit]
        if count == len(keys):
            return False
        counts[digit] = first
        first += count
    for place in range(len(order)):
        digit = int64((keys[order[place]] >> shift) & last)
        out[counts[digit]] = order[place]
        counts[digit] += 1
    return True
