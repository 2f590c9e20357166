"""Small boosted trees that tell two kinds of sessions apart by the bits of their statistics.

Gradient boosting on the logistic loss with histograms (Friedman, 2001), monotone: more bits
never make a session look less like the second kind, so that more oddness is never less
risk. No randomness: the same sessions make the same trees.
"""

import math

import numpy as np
from numpy.typing import NDArray

from astray.compiled import compiled, inner, int64

BINS = 32
BINS_PER_BIT = 2.0
"""Bits are looked at in halves, up to 16."""

TREES = 40
NODES = 7
LEAVES = 8
"""Of a tree of depth three; node k has the children 2k + 1 and 2k + 2."""

_DEPTH = 3
_RATE = 0.15
_RIDGE = 1.0
_SESSIONS_MIN = 20.0
_GAIN_MIN = 1e-6

Binned = NDArray[np.uint8]
"""Sessions by statistics."""

Splits = NDArray[np.int32]
"""By tree and node: statistic * `BINS` + bin; reaching the bin goes right. -1: all go left."""

Values = NDArray[np.float64]
"""By tree, the log odds at its nodes and leaves, in the order of a heap."""


Masks = NDArray[np.uint8]
"""By statistic, bin and tree."""

_LEFT_LEAVES = (0b00001111, 0b00000011, 0b00110000, 0b00000001, 0b00000100, 0b00010000, 0b01000000)
_LOWEST = np.array([0] + [(value & -value).bit_length() - 1 for value in range(1, 256)], np.uint8)


def binned(bits: NDArray[np.float32]) -> Binned:
    """Return bits as trees look at them."""
    return np.minimum(bits * BINS_PER_BIT, BINS - 1).astype(np.uint8)


@inner
def _value(gradient: float, hessian: float, low: float, high: float) -> float:
    return min(max(-gradient / (hessian + _RIDGE), low), high)


@inner
def _fill(
    starts: NDArray[np.int64],
    odd: NDArray[np.int32],
    at: NDArray[np.int32],
    node: int,
    state: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Sum gradients, hessians and sessions of a node by statistic and bin.

    Most statistics of most sessions are in bin 0, so only what is not there is visited
    (`odd`: statistic * `BINS` + bin, those of a session from its place in `starts` on).
    """
    sums[:] = 0.0
    gradient, hessian, count = 0.0, 0.0, 0.0
    for row in range(len(at)):
        if at[row] == node:
            gradient += state[row, 1]
            hessian += state[row, 2]
            count += 1.0
            for place in range(starts[row], starts[row + 1]):
                found = sums[odd[place] // BINS, odd[place] % BINS]
                found[0] += state[row, 1]
                found[1] += state[row, 2]
                found[2] += 1.0
    for statistic in range(sums.shape[0]):
        rest = sums[statistic, 0]
        rest[0], rest[1], rest[2] = gradient, hessian, count
        for place in range(1, BINS):
            rest[0] -= sums[statistic, place, 0]
            rest[1] -= sums[statistic, place, 1]
            rest[2] -= sums[statistic, place, 2]


@inner
def _best_split(
    sums: NDArray[np.float64], low: float, high: float, found: NDArray[np.float64]
) -> int:
    """Return the best split of a node, or -1; `found` gets the values of its children."""
    best, best_gain = -1, _GAIN_MIN
    gradient, hessian, count = 0.0, 0.0, 0.0
    for place in range(BINS):
        gradient += sums[0, place, 0]
        hessian += sums[0, place, 1]
        count += sums[0, place, 2]
    whole = gradient * gradient / (hessian + _RIDGE)
    for statistic in range(sums.shape[0]):
        left_gradient, left_hessian, left_count = 0.0, 0.0, 0.0
        for place in range(BINS - 1):
            left_gradient += sums[statistic, place, 0]
            left_hessian += sums[statistic, place, 1]
            left_count += sums[statistic, place, 2]
            if left_count < _SESSIONS_MIN or count - left_count < _SESSIONS_MIN:
                continue
            right_gradient, right_hessian = gradient - left_gradient, hessian - left_hessian
            gain = left_gradient * left_gradient / (left_hessian + _RIDGE) - whole
            gain += right_gradient * right_gradient / (right_hessian + _RIDGE)
            if gain > best_gain:
                left = _value(left_gradient, left_hessian, low, high)
                right = _value(right_gradient, right_hessian, low, high)
                if left <= right:
                    best, best_gain = statistic * BINS + place + 1, gain
                    found[0], found[1] = left, right
    return best


def grown(sessions: Binned, foreign: int) -> tuple[Splits, Values]:
    """Return trees that tell the first `foreign` sessions from the others."""
    splits = np.full((TREES, NODES), -1, np.int32)
    values = np.zeros((TREES, NODES + LEAVES))
    rows = len(sessions)
    of_row, statistic = np.nonzero(sessions)
    odd = (statistic * BINS + sessions[of_row, statistic]).astype(np.int32)
    starts = np.searchsorted(of_row, np.arange(rows + 1))
    _grow(
        sessions, starts, odd, foreign, splits, values, np.zeros((rows, 3)),
        np.zeros(rows, np.int32), np.empty((sessions.shape[1], BINS, 3)),
        np.empty((NODES + LEAVES, 2)), np.empty(2),
    )  # fmt: skip
    return splits, values


@compiled
def _grow(
    sessions: Binned,
    starts: NDArray[np.int64],
    odd: NDArray[np.int32],
    foreign: int,
    splits: Splits,
    values: Values,
    state: NDArray[np.float64],
    at: NDArray[np.int32],
    sums: NDArray[np.float64],
    bounds: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    """Fit the trees; `state` has odds, gradient and hessian of every session.

    Both kinds weigh the same.
    """
    rows = len(sessions)
    foreign_weight = rows / (2.0 * foreign)
    own_weight = rows / (2.0 * (rows - foreign))
    for tree in range(TREES):
        for row in range(rows):
            chance = 1.0 / (1.0 + math.exp(-state[row, 0]))
            is_foreign = row < foreign
            weight = foreign_weight if is_foreign else own_weight
            state[row, 1] = weight * (chance - (1.0 if is_foreign else 0.0))
            state[row, 2] = weight * chance * (1.0 - chance)
            at[row] = 0
        bounds[0, 0], bounds[0, 1] = -math.inf, math.inf
        for node in range(NODES):
            _fill(starts, odd, at, node, state, sums)
            _split(sessions, at, node, splits[tree], values[tree], sums, bounds, found)
        for node in range(NODES + LEAVES):
            values[tree, node] *= _RATE
        for row in range(rows):
            state[row, 0] += values[tree, at[row]]


@inner
def _split(
    sessions: Binned,
    at: NDArray[np.int32],
    node: int,
    splits: NDArray[np.int32],
    values: NDArray[np.float64],
    sums: NDArray[np.float64],
    bounds: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    """Split a node where that helps, and send its sessions on to its children."""
    split = _best_split(sums, bounds[node, 0], bounds[node, 1], found)
    splits[node] = split
    left, right = 2 * node + 1, 2 * node + 2
    for child in (left, right):
        bounds[child, 0], bounds[child, 1] = bounds[node, 0], bounds[node, 1]
        values[child] = values[node]
    if split >= 0:
        middle = (found[0] + found[1]) / 2.0
        bounds[left, 1], bounds[right, 0] = middle, middle
        values[left], values[right] = found[0], found[1]
    statistic, place = split // BINS, split % BINS
    for row in range(len(sessions)):
        if at[row] == node:
            is_right = split >= 0 and sessions[row, statistic] >= place
            at[row] = right if is_right else left


def masks_of(splits: Splits, statistics: int) -> Masks:
    """Return which leaves remain, by statistic, bin and tree, as bits: 1 for a leaf still open.

    A node that sends a session right closes the leaves on its left. What is left of all
    statistics' masks has the session's leaf as its lowest bit, so a tree is not walked but
    read off (QuickScorer; Lucchese et al., 2015).
    """
    masks = np.full((statistics, BINS, len(splits)), (1 << LEAVES) - 1, np.uint8)
    for node in range(NODES):
        closed = np.uint8(~_LEFT_LEAVES[node] & 0xFF)
        for tree in np.flatnonzero(splits[:, node] >= 0).tolist():
            statistic, first = divmod(int(splits[tree, node]), BINS)
            masks[statistic, first:, tree] &= closed
    return masks


@inner
def sieve(session: Binned, masks: Masks, open_: NDArray[np.uint8]) -> None:
    """Fill `open_` with the leaves of every tree that remain for a session."""
    for tree in range(len(open_)):
        open_[tree] = masks[0, session[0], tree]
    for statistic in range(1, len(session)):
        mask = masks[statistic, session[statistic]]
        for tree in range(len(open_)):
            open_[tree] &= mask[tree]


@inner
def odds_in(open_: NDArray[np.uint8], values: Values, first: int) -> float:
    """Return the log odds of the trees from `first` on, whose leaves `sieve` has found."""
    odds = 0.0
    for tree in range(len(values)):
        odds += values[tree, NODES + _LOWEST[open_[first + tree]]]
    return odds


@compiled
def explain(session: Binned, splits: Splits, values: Values, shares: NDArray[np.float64]) -> None:
    """Add to `shares` what each statistic adds to a session's log odds, along its paths.

    What all its statistics have and the value of the roots, which is zero, is the log odds
    (Saabas, 2014).
    """
    for tree in range(len(splits)):
        node = 0
        for _ in range(_DEPTH):
            split = int64(splits[tree, node])
            is_right = split >= 0 and session[split // BINS] >= split % BINS
            child = 2 * node + 2 if is_right else 2 * node + 1
            if split >= 0:
                shares[split // BINS] += values[tree, child] - values[tree, node]
            node = child
