"""A sum of slopes that tells two kinds of sessions apart by the bits of their statistics.

Logistic regression on bits of which those up to a knee and those beyond it have a slope each,
none of them negative: more oddness is never less risk. Where trees, which know steps alone, have
nothing more to say, slopes go on; and how much the far tail of a statistic means, which a single
slope would take from its beginning, they learn apart. No randomness: Newton's method
(iteratively reweighted least squares; Friedman et al., 2010), the same sessions in the same order.
"""

import math

import numpy as np
from numpy.typing import NDArray

from astray.compiled import compiled, float64, inner

KNEE = 5.0
"""Bits; one session in 32 has so many."""

SIDES = 2

_RIDGE = 10.0
_STEPS_MAX = 40
_STEP_MIN = 1e-5
"""The fit ends with a step below it: the next one would be about its square."""

_SWEEPS_MAX, _SWEEP_MIN = 200, 1e-9
_BEYOND = 0.5
"""A step that leads uphill again by such a share of how it began downhill is halved."""

_ODDS_MAX = 30.0

Slopes = NDArray[np.float64]
"""By statistic, the log odds that a bit adds below the knee and beyond it; last stands where
they begin."""


def fitted(bits: NDArray[np.float32], foreign: int, first: Slopes | None = None) -> Slopes:
    """Return slopes that tell the first `foreign` sessions from the others.

    There is one best fit, and it is found from wherever one begins; from `first`, slopes for
    sessions like these, it is sooner.
    """
    count, statistics = bits.shape
    parts = np.ones((count, statistics * SIDES + 1))
    parts[:, 0:-1:SIDES] = np.minimum(bits, KNEE)
    parts[:, 1:-1:SIDES] = np.maximum(bits - KNEE, 0.0)
    width = parts.shape[1]
    slopes = np.zeros((statistics + 1, SIDES))
    if first is not None:
        slopes[:] = first
    _fit(
        parts, foreign, slopes.reshape(-1)[:width], np.empty(count), np.empty((width, width)),
        np.empty((3, width)), np.empty(width, np.uint64),
    )  # fmt: skip
    return slopes


@compiled
def _fit(
    parts: NDArray[np.float64],
    foreign: int,
    slopes: NDArray[np.float64],
    bends: NDArray[np.float64],
    curvature: NDArray[np.float64],
    vectors: NDArray[np.float64],
    free: NDArray[np.uint64],
) -> None:
    """Fit the slopes; both kinds weigh the same, and what is in no session stays without one.

    The last part of every session is 1: it is for where the slopes begin, which may be
    negative. A slope of 0 that would rather be negative takes no part in a step (projected
    Newton; Bertsekas, 1982), and most do: only those in `free` bend the loss.
    """
    gradient, step = vectors[0], vectors[1]
    step[:] = 0.0
    downhill = 0.0
    for _ in range(_STEPS_MAX):
        rising = free[: _rising(slopes, free)]
        _look(parts, foreign, slopes, rising, bends, gradient)
        if _along(gradient, step) > _BEYOND * downhill:
            downhill /= 2.0
            for place in range(len(slopes)):
                step[place] /= 2.0
                slopes[place] -= step[place]
            continue
        used = free[: _free(slopes, gradient, free)]
        _bend(parts, used, bends, vectors[2], curvature)
        step[:] = 0.0
        for _ in range(_SWEEPS_MAX):
            if _descend(curvature, gradient, slopes, used, step) < _SWEEP_MIN:
                break
        largest = 0.0
        for place in range(len(slopes)):
            slopes[place] += step[place]
            largest = max(largest, abs(step[place]))
        if largest < _STEP_MIN:
            break
        downhill = -_along(gradient, step)


@inner
def _rising(slopes: NDArray[np.float64], free: NDArray[np.uint64]) -> int:
    """Begin `free` with the slopes that are not 0, and return how many they are."""
    used = 0
    for place in range(len(slopes)):
        if slopes[place] != 0.0:
            free[used] = place
            used += 1
    return used


@inner
def _free(
    slopes: NDArray[np.float64], gradient: NDArray[np.float64], free: NDArray[np.uint64]
) -> int:
    """Begin `free` with the slopes that may move, and return how many they are."""
    used, last = 0, len(slopes) - 1
    for place in range(len(slopes)):
        if slopes[place] > 0.0 or gradient[place] < 0.0 or place == last:
            free[used] = place
            used += 1
    return used


@inner
def _along(gradient: NDArray[np.float64], step: NDArray[np.float64]) -> float:
    """Return how steep it is uphill along a step."""
    steep = 0.0
    for place in range(len(step)):
        steep += gradient[place] * step[place]
    return steep


@inner
def _look(
    parts: NDArray[np.float64],
    foreign: int,
    slopes: NDArray[np.float64],
    rising: NDArray[np.uint64],
    bends: NDArray[np.float64],
    gradient: NDArray[np.float64],
) -> None:
    """Fill the gradient of the loss, and how much every session bends it; `rising` are not 0."""
    count, last = len(parts), len(slopes) - 1
    for place in range(last):
        gradient[place] = _RIDGE * slopes[place]
    gradient[last] = 0.0
    for row in range(count):
        session = parts[row]
        odds = 0.0
        for at in range(len(rising)):
            odds += slopes[rising[at]] * session[rising[at]]
        chance = 1.0 / (1.0 + math.exp(-min(max(odds, -_ODDS_MAX), _ODDS_MAX)))
        is_foreign = row < foreign
        weight = count / (2.0 * (foreign if is_foreign else count - foreign))
        pull = weight * (chance - (1.0 if is_foreign else 0.0))
        bends[row] = weight * chance * (1.0 - chance)
        for place in range(len(gradient)):  # side by side: vector instructions
            gradient[place] += pull * session[place]


@inner
def _bend(
    parts: NDArray[np.float64],
    free: NDArray[np.uint64],
    bends: NDArray[np.float64],
    chosen: NDArray[np.float64],
    curvature: NDArray[np.float64],
) -> None:
    """Fill the lower triangle of the curvature of the loss, of the free slopes alone."""
    for at in range(len(free)):
        for other in range(at):
            curvature[at, other] = 0.0
        curvature[at, at] = 0.0 if free[at] == parts.shape[1] - 1 else _RIDGE
    for row in range(len(parts)):
        session = parts[row]
        for at in range(len(free)):
            chosen[at] = session[free[at]]
        for at in range(len(free)):
            part, bent = bends[row] * chosen[at], curvature[at]
            for other in range(at + 1):  # side by side
                bent[other] += part * chosen[other]


@inner
def _descend(
    curvature: NDArray[np.float64],
    gradient: NDArray[np.float64],
    slopes: NDArray[np.float64],
    free: NDArray[np.uint64],
    step: NDArray[np.float64],
) -> float:
    """Improve the step, slope by slope; none becomes negative. Return the largest change."""
    last, largest = len(slopes) - 1, 0.0
    for at in range(len(free)):
        place = free[at]
        pull = gradient[place]
        for other in range(at):
            pull += curvature[at, other] * step[free[other]]
        for other in range(at, len(free)):
            pull += curvature[other, at] * step[free[other]]
        wanted = step[place] - pull / curvature[at, at]
        if place != last:
            wanted = max(wanted, -slopes[place])
        largest = max(largest, abs(wanted - step[place]))
        step[place] = wanted
    return largest


def by_kind(slopes: Slopes) -> NDArray[np.float64]:
    """Return the slopes of several kinds, the first axis, with the kinds last, for `add_odds`."""
    return np.ascontiguousarray(np.moveaxis(slopes, 0, -1))


@inner
def add_odds(
    bits: NDArray[np.float32], slopes: NDArray[np.float64], odds: NDArray[np.float64]
) -> None:
    """Write the log odds of a session with these bits, kind by kind; see `by_kind`."""
    for kind in range(len(odds)):
        odds[kind] = slopes[len(bits), 0, kind]
    for statistic in range(len(bits)):
        if bits[statistic] > 0.0:
            below = min(float64(bits[statistic]), KNEE)
            beyond = float64(bits[statistic]) - below
            for kind in range(len(odds)):  # side by side: vector instructions
                odds[kind] += slopes[statistic, 0, kind] * below
            if beyond > 0.0:
                for kind in range(len(odds)):
                    odds[kind] += slopes[statistic, 1, kind] * beyond


def shares_on(bits: NDArray[np.float32], slopes: Slopes) -> NDArray[np.float64]:
    """Return what each statistic of a session adds to its log odds."""
    parts = np.stack((np.minimum(bits, KNEE), np.maximum(bits - KNEE, 0.0)), axis=1)
    return np.asarray(np.sum(parts * slopes[:-1], axis=1))
