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


def binned(bits: NDArray[np.float32]) -> Binned:
    """Return bits as trees look at them."""
    return np.minimum(bits * BINS_PER_BIT, BINS - 1).astype(np.uint8)


@inner
def _value(gradient: float, hessian: float, low: float, high: float) -> float:
    return min(max(-gradient / (hessian + _RIDGE), low), high)


@inner
def _fill(
    sessions: Binned,
    at: NDArray[np.int32],
    node: int,
    state: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Sum gradients, hessians and sessions of a node by statistic and bin."""
    sums[:] = 0.0
    for row in range(len(sessions)):
        if at[row] == node:
            for statistic in range(sessions.shape[1]):
                place = int64(sessions[row, statistic])
                sums[statistic, place, 0] += state[row, 1]
                sums[statistic, place, 1] += state[row, 2]
                sums[statistic, place, 2] += 1.0


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
    _grow(
        sessions, foreign, splits, values, np.zeros((rows, 3)), np.zeros(rows, np.int32),
        np.empty((sessions.shape[1], BINS, 3)), np.empty((NODES + LEAVES, 2)), np.empty(2),
    )  # fmt: skip
    return splits, values


@compiled
def _grow(
    sessions: Binned,
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
            _split(sessions, state, at, node, splits[tree], values[tree], sums, bounds, found)
        for node in range(NODES + LEAVES):
            values[tree, node] *= _RATE
        for row in range(rows):
            state[row, 0] += values[tree, at[row]]


@inner
def _split(
    sessions: Binned,
    state: NDArray[np.float64],
    at: NDArray[np.int32],
    node: int,
    splits: NDArray[np.int32],
    values: NDArray[np.float64],
    sums: NDArray[np.float64],
    bounds: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    """Split a node where that helps, and send its sessions on to its children."""
    _fill(sessions, at, node, state, sums)
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


@inner
def odds_of(session: Binned, splits: Splits, values: Values) -> float:
    """Return the log odds that a session is of the first kind."""
    odds = 0.0
    for tree in range(len(splits)):
        node = 0
        for _ in range(_DEPTH):
            split = int64(splits[tree, node])
            is_right = split >= 0 and session[split // BINS] >= split % BINS
            node = 2 * node + 2 if is_right else 2 * node + 1
        odds += values[tree, node]
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
