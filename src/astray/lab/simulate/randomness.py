"""Draws that need no loop: stable hashes of columns, choices by weight, Zipf ranks."""

import numpy as np
from numpy.typing import NDArray

from astray.lab.simulate.recording import Floats, Ints

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mixed(*parts: Ints | int) -> NDArray[np.uint64]:
    """Hash each row of `parts` to 64 bits, the same ones for ever (splitmix64)."""
    state = np.zeros(np.broadcast_shapes((1,), *map(np.shape, parts)), np.uint64)
    for part in parts:
        state = (state ^ np.asarray(part).astype(np.uint64)) + _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state


def uniform(*parts: Ints | int) -> Floats:
    """Give each row of `parts` the number in [0, 1) that always belongs to it."""
    return (mixed(*parts) >> np.uint64(11)).astype(np.float64) / 2.0**53


def below(limit: Ints | int, *parts: Ints | int) -> Ints:
    """Give each row of `parts` the number in [0, limit) that always belongs to it."""
    return (mixed(*parts) % np.asarray(limit).astype(np.uint64)).astype(np.int64)


def cumulative(weights: Floats) -> Floats:
    """Sum weights to a distribution function along the last axis, which no draw exceeds."""
    sums = np.cumsum(weights / weights.sum(axis=-1, keepdims=True), axis=-1)
    sums[..., -1] = np.inf
    return sums


def pick(distribution: Floats, draws: Floats) -> Ints:
    """Which entry of its row of `distribution` each of `draws` falls into."""
    chosen: Ints = (draws[..., None] >= distribution).sum(axis=-1)
    return chosen


def zipf_rank(size: Ints, draws: Floats) -> Ints:
    """Ranks in [0, size): the first is the most frequent, the tail is long."""
    # A log-uniform rank is Zipf's law with exponent one; the power makes the head heavier.
    ranks = np.floor((size + 1.0) ** draws**1.5).astype(np.int64) - 1
    return np.minimum(ranks, size - 1)
