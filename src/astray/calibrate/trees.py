"""Small boosted trees that tell two kinds of sessions apart by the bits of their statistics.

Gradient boosting on the logistic loss with histograms (Friedman, 2001), monotone: more bits
never make a session look less like the second kind, so that more oddness is never less
risk. No randomness: the same sessions make the same trees.
"""

import math

import numpy as np
from numpy.typing import NDArray

from astray.compiled import compiled, float64, inner, int64

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
_TAKEN = 2
"""A tree is fitted to every second session, the next to the others (Friedman, 2002)."""


Binned = NDArray[np.uint8]
"""Sessions by statistics."""

Splits = NDArray[np.int32]
"""By tree and node: statistic * `BINS` + bin; reaching the bin goes right. -1: all go left."""

Values = NDArray[np.float64]
"""By tree, the log odds at its nodes and leaves, in the order of a heap."""


Masks = NDArray[np.uint64]
"""By statistic and bin, a byte per tree, eight of them at once."""

_LEFT_LEAVES = (0b00001111, 0b00000011, 0b00110000, 0b00000001, 0b00000100, 0b00010000, 0b01000000)
_EACH = np.uint64(0x0101010101010101)
_BIT = tuple(np.uint64(bit) for bit in range(8))


def binned(bits: NDArray[np.float32]) -> Binned:
    """Return bits as trees look at them."""
    return np.minimum(bits * BINS_PER_BIT, BINS - 1).astype(np.uint8)


@inner
def bin_of(bits: float) -> int:
    """Return the bin in which trees look at bits; `binned` for one number."""
    return min(int64(bits * BINS_PER_BIT), BINS - 1)


@inner
def _value(gradient: float, hessian: float, low: float, high: float) -> float:
    return min(max(-gradient / (hessian + _RIDGE), low), high)


@inner
def _fill(
    starts: NDArray[np.uint64],
    odd: NDArray[np.uint16],
    rows: NDArray[np.uint32],
    first: int,
    end: int,
    state: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Sum gradients, hessians and sessions of a node's rows by statistic and bin.

    Most statistics of most sessions are in bin 0, so only what is not there is visited
    (`odd`: statistic * `BINS` + bin, those of a session from its place in `starts` on; without
    a sign: a negative index would count from the end, at a price).
    """
    sums[:] = 0.0
    gradient, hessian = 0.0, 0.0
    for at in range(first, end):
        row = rows[at]
        of_gradient, of_hessian = state[row, 1], state[row, 2]
        gradient += of_gradient
        hessian += of_hessian
        for place in range(starts[row], starts[row + 1]):
            found = sums[odd[place]]
            found[0] += of_gradient
            found[1] += of_hessian
            found[2] += 1.0
    for zero in range(0, len(sums), BINS):
        rest_gradient, rest_hessian, rest = gradient, hessian, float64(end - first)
        for place in range(zero + 1, zero + BINS):
            rest_gradient -= sums[place, 0]
            rest_hessian -= sums[place, 1]
            rest -= sums[place, 2]
        sums[zero, 0], sums[zero, 1], sums[zero, 2] = rest_gradient, rest_hessian, rest


@inner
def _best_split(
    sums: NDArray[np.float64], low: float, high: float, found: NDArray[np.float64]
) -> int:
    """Return the best split of a node, or -1; `found` gets the values of its children."""
    best, best_gain = -1, _GAIN_MIN
    gradient, hessian, count = 0.0, 0.0, 0.0
    for place in range(BINS):
        gradient += sums[place, 0]
        hessian += sums[place, 1]
        count += sums[place, 2]
    whole = gradient * gradient / (hessian + _RIDGE)
    for zero in range(0, len(sums), BINS):
        left_gradient, left_hessian, left_count = 0.0, 0.0, 0.0
        for place in range(zero, zero + BINS - 1):
            left_gradient += sums[place, 0]
            left_hessian += sums[place, 1]
            left_count += sums[place, 2]
            if count - left_count < _SESSIONS_MIN:
                break
            if left_count < _SESSIONS_MIN:
                continue
            right_gradient, right_hessian = gradient - left_gradient, hessian - left_hessian
            gain = left_gradient * left_gradient / (left_hessian + _RIDGE) - whole
            gain += right_gradient * right_gradient / (right_hessian + _RIDGE)
            if gain > best_gain:
                left = _value(left_gradient, left_hessian, low, high)
                right = _value(right_gradient, right_hessian, low, high)
                if left <= right:
                    best, best_gain = place + 1, gain
                    found[0], found[1] = left, right
    return best


def grown(sessions: Binned, foreign: int) -> tuple[Splits, Values]:
    """Return trees that tell the first `foreign` sessions from the others."""
    splits = np.full((TREES, NODES), -1, np.int32)
    values = np.zeros((TREES, NODES + LEAVES))
    rows = len(sessions)
    of_row, statistic = np.nonzero(sessions)
    odd = (statistic * BINS + sessions[of_row, statistic]).astype(np.uint16)
    starts = np.searchsorted(of_row, np.arange(rows + 1)).astype(np.uint64)
    _grow(
        sessions, starts, odd, foreign, splits, values, np.zeros((rows, 3)),
        np.empty((2, rows), np.uint32), np.empty((NODES + LEAVES, 2), np.int64),
        np.empty((NODES, sessions.shape[1] * BINS, 3)),
        np.empty((NODES + LEAVES, 2)), np.empty(2), np.empty((NODES, 2), np.uint64),
    )  # fmt: skip
    return splits, values


@compiled
def _grow(
    sessions: Binned,
    starts: NDArray[np.uint64],
    odd: NDArray[np.uint16],
    foreign: int,
    splits: Splits,
    values: Values,
    state: NDArray[np.float64],
    rows: NDArray[np.uint32],
    spans: NDArray[np.int64],
    sums: NDArray[np.float64],
    bounds: NDArray[np.float64],
    found: NDArray[np.float64],
    ways: NDArray[np.uint64],
) -> None:
    """Fit the trees; `state` has odds, gradient and hessian of every session.

    Both kinds weigh the same. `rows` has the sessions that a tree is fitted to, those of a node
    in its span of `spans`.
    """
    foreign_weight = len(sessions) / (2.0 * foreign)
    own_weight = len(sessions) / (2.0 * (len(sessions) - foreign))
    for tree in range(TREES):
        taken = 0
        for row in range(tree % _TAKEN, len(sessions), _TAKEN):
            chance = 1.0 / (1.0 + math.exp(-state[row, 0]))
            is_foreign = row < foreign
            weight = foreign_weight if is_foreign else own_weight
            state[row, 1] = weight * (chance - (1.0 if is_foreign else 0.0))
            state[row, 2] = weight * chance * (1.0 - chance)
            rows[0, taken] = row
            taken += 1
        bounds[0, 0], bounds[0, 1] = -math.inf, math.inf
        spans[0, 0], spans[0, 1] = 0, taken
        _fill(starts, odd, rows[0], int64(0), int64(taken), state, sums[0])
        for node in range(NODES):
            _split(sessions, rows, spans, node, splits[tree], values[tree], sums, bounds, found)
            if node < NODES // 2:
                _fill_children(starts, odd, rows[0], spans, node, state, sums)
        for node in range(NODES + LEAVES):
            values[tree, node] *= _RATE
        for leaf in range(NODES, NODES + LEAVES):
            for at in range(spans[leaf, 0], spans[leaf, 1]):
                state[rows[0, at], 0] += values[tree, leaf]
        _add_others(sessions, splits[tree], values[tree], tree, ways, state)


@inner
def _add_others(
    sessions: Binned,
    splits: NDArray[np.int32],
    values: NDArray[np.float64],
    tree: int,
    ways: NDArray[np.uint64],
    state: NDArray[np.float64],
) -> None:
    """Add a tree to the odds of sessions it was not fitted to; no branch could be foreseen."""
    for node in range(NODES):
        split = int64(splits[node])
        ways[node, 0] = split // BINS if split >= 0 else 0
        ways[node, 1] = split % BINS if split >= 0 else BINS  # which none reaches
    for row in range(1 - tree % _TAKEN, len(sessions), _TAKEN):
        session = sessions[row]
        node = 0
        for _ in range(_DEPTH):
            node = 2 * node + (2 if session[ways[node, 0]] >= ways[node, 1] else 1)
        state[row, 0] += values[node]


@inner
def _fill_children(
    starts: NDArray[np.uint64],
    odd: NDArray[np.uint16],
    rows: NDArray[np.uint32],
    spans: NDArray[np.int64],
    node: int,
    state: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Sum up the smaller child's rows; the larger one's are what is left of their parent's."""
    left, right = 2 * node + 1, 2 * node + 2
    is_left = spans[left, 1] - spans[left, 0] <= spans[right, 1] - spans[right, 0]
    small, large = (left, right) if is_left else (right, left)
    _fill(starts, odd, rows, int64(spans[small, 0]), int64(spans[small, 1]), state, sums[small])
    for place in range(sums.shape[1]):
        for of in range(3):
            sums[large, place, of] = sums[node, place, of] - sums[small, place, of]


@inner
def _split(
    sessions: Binned,
    rows: NDArray[np.uint32],
    spans: NDArray[np.int64],
    node: int,
    splits: NDArray[np.int32],
    values: NDArray[np.float64],
    sums: NDArray[np.float64],
    bounds: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    """Split a node where that helps, and send its sessions on to its children."""
    split = _best_split(sums[node], bounds[node, 0], bounds[node, 1], found)
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
    first, end = spans[node, 0], spans[node, 1]
    stay, go = first, 0
    for at in range(first, end):
        row = rows[0, at]
        if split >= 0 and sessions[row, statistic] >= place:
            rows[1, go] = row
            go += 1
        else:
            rows[0, stay] = row
            stay += 1
    for at in range(go):
        rows[0, stay + at] = rows[1, at]
    spans[left, 0], spans[left, 1] = first, stay
    spans[right, 0], spans[right, 1] = stay, end


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
    return masks.view(np.uint64)


@inner
def sieve(session: Binned, masks: Masks, found: NDArray[np.uint64]) -> None:
    """Fill `found` with the leaf of a session in every tree: a byte each, eight trees at once.

    Splits are above bin 0, so a statistic that is there closes no leaf. One always remains open.
    """
    found[:] = np.uint64(0xFFFFFFFFFFFFFFFF)
    for statistic in range(len(session)):
        if session[statistic] > 0:
            mask = masks[statistic, session[statistic]]
            for word in range(len(found)):
                found[word] &= mask[word]
    for word in range(len(found)):
        found[word] = _lowest(found[word])


@inner
def _lowest(open_: np.uint64) -> np.uint64:
    """Return the number of the lowest bit of each byte; none of them is 0."""
    bit = open_ & ~(open_ - _EACH)
    low = (bit >> _BIT[1]) | (bit >> _BIT[3]) | (bit >> _BIT[5]) | (bit >> _BIT[7])
    middle = (bit >> _BIT[2]) | (bit >> _BIT[3]) | (bit >> _BIT[6]) | (bit >> _BIT[7])
    high = (bit >> _BIT[4]) | (bit >> _BIT[5]) | (bit >> _BIT[6]) | (bit >> _BIT[7])
    return (low & _EACH) | ((middle & _EACH) << _BIT[1]) | ((high & _EACH) << _BIT[2])


@inner
def odds_in(found: NDArray[np.uint8], leaves: NDArray[np.float64]) -> float:
    """Return the log odds of trees of which `sieve` has found these leaves.

    `leaves` has their values. Two sums run side by side: one would wait for itself.
    """
    even, odd = 0.0, 0.0
    for tree in range(0, TREES, 2):
        even += leaves[tree, found[tree]]
        odd += leaves[tree + 1, found[tree + 1]]
    return even + odd


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
