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
_STEPS, _SWEEPS = 8, 24
_ODDS_MAX = 30.0

Slopes = NDArray[np.float64]
"""By statistic, the log odds that a bit adds below the knee and beyond it; last stands where
they begin."""


def fitted(bits: NDArray[np.float32], foreign: int) -> Slopes:
    """Return slopes that tell the first `foreign` sessions from the others."""
    parts = np.stack((np.minimum(bits, KNEE), np.maximum(bits - KNEE, 0.0)), axis=2)
    parts = parts.reshape(len(bits), -1).astype(np.float64)
    of_row, places = np.nonzero(parts)
    starts = np.searchsorted(of_row, np.arange(len(parts) + 1))
    width = parts.shape[1]
    slopes = np.zeros(width + SIDES)
    _fit(
        starts, places.astype(np.uint64), parts[of_row, places], foreign, slopes,
        np.empty((width + 1, width + 1)), np.empty(width + 1), np.empty(width + 1),
    )  # fmt: skip
    return slopes.reshape(-1, SIDES)


@compiled
def _fit(
    starts: NDArray[np.int64],
    places: NDArray[np.uint64],
    parts: NDArray[np.float64],
    foreign: int,
    slopes: NDArray[np.float64],
    curvature: NDArray[np.float64],
    gradient: NDArray[np.float64],
    step: NDArray[np.float64],
) -> None:
    """Fit the slopes; both kinds weigh the same, and what is in no session stays without one.

    A session's `parts` that are not 0 begin at its place in `starts`; `places` tells of what,
    without a sign: a negative index would count from the end, at a price.
    """
    for _ in range(_STEPS):
        _look(starts, places, parts, foreign, slopes, curvature, gradient)
        step[:] = 0.0
        for _ in range(_SWEEPS):
            _descend(curvature, gradient, slopes, step)
        for place in range(len(step)):
            slopes[place] += step[place]


@inner
def _look(
    starts: NDArray[np.int64],
    places: NDArray[np.uint64],
    parts: NDArray[np.float64],
    foreign: int,
    slopes: NDArray[np.float64],
    curvature: NDArray[np.float64],
    gradient: NDArray[np.float64],
) -> None:
    """Fill the gradient of the loss, and of its curvature the lower triangle."""
    count, last = len(starts) - 1, len(gradient) - 1
    curvature[:] = 0.0
    gradient[:] = 0.0
    for place in range(last):
        curvature[place, place] = _RIDGE
        gradient[place] = _RIDGE * slopes[place]
    for row in range(count):
        odds = slopes[last]
        for at in range(starts[row], starts[row + 1]):
            odds += slopes[places[at]] * parts[at]
        chance = 1.0 / (1.0 + math.exp(-min(max(odds, -_ODDS_MAX), _ODDS_MAX)))
        is_foreign = row < foreign
        weight = count / (2.0 * (foreign if is_foreign else count - foreign))
        pull = weight * (chance - (1.0 if is_foreign else 0.0))
        bend = weight * chance * (1.0 - chance)
        gradient[last] += pull
        curvature[last, last] += bend
        for at in range(starts[row], starts[row + 1]):
            place, part = places[at], parts[at]
            gradient[place] += pull * part
            curvature[last, place] += bend * part
            with_all = curvature[place]
            for other in range(starts[row], at + 1):
                with_all[places[other]] += bend * part * parts[other]


@inner
def _descend(
    curvature: NDArray[np.float64],
    gradient: NDArray[np.float64],
    slopes: NDArray[np.float64],
    step: NDArray[np.float64],
) -> None:
    """Improve the step, coordinate by coordinate; no slope becomes negative."""
    last = len(step) - 1
    for place in range(len(step)):
        pull = gradient[place]
        for other in range(place):
            pull += curvature[place, other] * step[other]
        for other in range(place, len(step)):
            pull += curvature[other, place] * step[other]
        wanted = step[place] - pull / curvature[place, place]
        step[place] = wanted if place == last else max(wanted, -slopes[place])


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
                odds[kind] += slopes[statistic, 1, kind] * beyond


def shares_on(bits: NDArray[np.float32], slopes: Slopes) -> NDArray[np.float64]:
    """Return what each statistic of a session adds to its log odds."""
    parts = np.stack((np.minimum(bits, KNEE), np.maximum(bits - KNEE, 0.0)), axis=1)
    return np.asarray(np.sum(parts * slopes[:-1], axis=1))
