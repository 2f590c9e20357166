"""One number from a session's statistics, once each has been ranked.

A statistic's rank is given in bits: a value that 1 in 2**b sessions reach has b bits.
"""

import math

import numpy as np
from numpy.typing import NDArray

from astray.baseline.layout import (
    FIRST_TOTAL,
    IMPERSONATION,
    NOVELTY_PLACE,
    NOVELTY_RESOURCE,
    PERMISSION,
    RHYTHM,
    SENSITIVE,
    STATISTICS,
)
from astray.compiled import float64, inner

FAMILIES = ("novelty", "impersonation", "totals", "rhythm")
FAMILY_OF = np.searchsorted(
    [IMPERSONATION, FIRST_TOTAL, RHYTHM], np.arange(len(STATISTICS)), side="right"
)
FAMILY_OF[[SENSITIVE, PERMISSION]] = 0
"""For every statistic, the place of its family: statistics that look at the same thing."""


NAMED = (SENSITIVE, PERMISSION)
"""Statistics of what the operator has given a name."""

WEIGHT = np.ones(len(STATISTICS))
WEIGHT[[NOVELTY_RESOURCE, NOVELTY_PLACE]] = 0.0
"""Parts of what another statistic has the sum of are for whoever can tell what they mean."""


@inner
def fuse(bits: NDArray[np.float32]) -> float:
    """Return the fused bits of one session: the Euclidean norm of its statistics' bits.

    Half-way between their sum (Fisher: strong where many statistics are a little odd) and
    their maximum (strong where one is very odd); no statistic dilutes another. On AgentDojo
    and on simulated fleets it beat both, and averages within families, at every false rate.
    The norm is no probability; it is ranked again. Its square is a sum, so each statistic
    has its share in it.
    """
    total = 0.0
    for statistic in range(len(bits)):
        weight = WEIGHT[statistic] if statistic < len(WEIGHT) else 1.0  # a plug-in's
        total += weight * float64(bits[statistic]) * float64(bits[statistic])
    return math.sqrt(total)
