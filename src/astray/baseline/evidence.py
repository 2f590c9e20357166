"""How surprising: the formulas, each on plain numbers.

Weights are forward-decayed (Cormode et al., 2009): an observation at time t weighs
2**((t - t0) / half-life) for ever, and whoever reads a weight divides by the weight that an
observation would have now. Nothing is swept, and old and new stay comparable.
"""

import math

from astray.compiled import inner

RATE_MIN, RATE_MAX = 1e-4, 0.999
_RATE_STRENGTH = 2.0
"""Sessions' worth of items that an owner's parent knows about it beforehand."""

_AGENT_STRENGTH, _GROUP_STRENGTH, _SYMBOLS = 4.0, 0.5, 50.0
_HOURS = 48
_HOUR_STRENGTH, _GROUP_HOUR_STRENGTH = 6.0, 12.0
_PRIOR_SESSIONS, _PRIOR_FREEDOM = 2.0, 4.0
_VARIANCE_MIN = 0.02
_LN2 = math.log(2.0)


@inner
def novelty_rate(news: float, draws: float, parent_rate: float) -> float:
    """Return how often this owner meets something new, per distinct item of a session."""
    rate = (news + _RATE_STRENGTH * parent_rate) / (draws + _RATE_STRENGTH)
    return min(max(rate, RATE_MIN), RATE_MAX)


@inner
def novelty_bits(rate: float, already: int) -> float:
    """Return the bits of something new to an owner that meets it at this rate.

    The first new item of a session costs in full and each further one less (`already` have
    come before), because a new job brings several new things at once.

    >>> novelty_bits(1 / 64, 0), novelty_bits(1 / 64, 2)
    (6.0, 2.0)
    """
    return -math.log2(rate) / (1 + already)


@inner
def peer_bits(rate: float, child_rate: float, already: int) -> float:
    """Return the further bits of something that is new to the peers as well.

    >>> peer_bits(1 / 256, 1 / 64, 0)
    2.0
    """
    return -math.log2(rate / max(rate, child_rate)) / (1 + already)


@inner
def likeness_bits(
    agent_weight: float, agent_mass: float, group_weight: float, group_mass: float
) -> float:
    """Return log2 p(item | group) - log2 p(item | agent), both smoothed towards the level above.

    Positive where the item is more typical of its group than of the agent itself.
    """
    group = (group_weight + _GROUP_STRENGTH) / (group_mass + _GROUP_STRENGTH * _SYMBOLS)
    agent = (agent_weight + _AGENT_STRENGTH * group) / (agent_mass + _AGENT_STRENGTH)
    return math.log2(group / agent)


@inner
def hour_bits(
    agent_weight: float, agent_mass: float, group_weight: float, group_mass: float
) -> float:
    """Return how much rarer this hour is than one in 48, in bits; at least 0."""
    uniform = 1.0 / _HOURS
    group = group_weight + _GROUP_HOUR_STRENGTH * uniform
    group /= group_mass + _GROUP_HOUR_STRENGTH
    agent = (agent_weight + _HOUR_STRENGTH * group) / (agent_mass + _HOUR_STRENGTH)
    return max(math.log2(uniform / agent), 0.0)


@inner
def predictive(
    weight: float, mean: float, square: float, group_mean: float, group_variance: float
) -> tuple[float, float, float]:
    """Return location, scale and degrees of freedom of an agent's next total.

    The posterior predictive of a normal-inverse-gamma model (Murphy, 2007, section 9) whose
    prior is the group's mean and variance, worth two sessions and four degrees of freedom.
    """
    strength = _PRIOR_SESSIONS + weight
    location = (_PRIOR_SESSIONS * group_mean + weight * mean) / strength
    freedom = _PRIOR_FREEDOM + weight
    shift = mean - group_mean
    scatter = _PRIOR_FREEDOM * max(group_variance, _VARIANCE_MIN) + square
    scatter += _PRIOR_SESSIONS * weight * shift * shift / strength
    return location, math.sqrt(scatter / freedom * (1.0 + 1.0 / strength)), freedom


@inner
def tail_bits(value: float, location: float, scale: float, freedom: float) -> float:
    """Return -log2 of Student's upper tail at `value`; 0 below the location.

    Student's t is turned into a normal deviate (Wallace, 1959) and the normal tail is Lin's
    (1989), within 2 % where it matters; only the order of the values counts, as every
    statistic is ranked.
    """
    if value <= location:
        return 0.0
    t = (value - location) / scale
    z = math.sqrt(freedom * math.log1p(t * t / freedom))
    z *= (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0)
    return 1.0 + (0.717 * z + 0.416 * z * z) / _LN2
