"""From a model's score to a statistic's level, as the reference keeps it.

Models score in ranges of their own: half-space trees from 0 to 1, a local outlier factor about 1
and far beyond, a one-class SVM on both sides of 0. What counts is the order, so every range is
bent into one, with most of the room between 0 and 1.
"""

import math
from typing import Final

LEVELS: Final = 4096
MISSING: Final = LEVELS
"""The level of a session that a detector has no opinion of."""

_UNITS: Final = 64.0
_BELOW: Final = 16.0
_WITHIN: Final = 40.0
_BEYOND: Final = 8.0


def level_of(score: float) -> int:
    """Return the level of a score; it never falls when the score rises.

    >>> level_of(-math.inf), level_of(0.0), level_of(0.5), level_of(1.0), level_of(math.inf)
    (0, 1024, 2304, 3584, 4095)
    >>> level_of(math.nan) == MISSING
    True
    """
    if math.isnan(score):
        return MISSING
    if score < 0.0:
        unit = _BELOW / (1.0 - score)
    elif score <= 1.0:
        unit = _BELOW + _WITHIN * score
    else:
        unit = _BELOW + _WITHIN + _BEYOND * (1.0 - 1.0 / score)
    return min(int(unit * _UNITS), LEVELS - 1)
