"""Whether an agent still behaves as it used to: a Shiryaev-Roberts statistic of its sessions.

Every ended session multiplies the evidence that its agent has changed at one of the sessions
before it, or at this one:

    R <- (1 + R) * L(p),   L(p) = min(1 / (2 * sqrt(p)), 4)

(Shiryaev, 1963; Roberts, 1966; over conformal ranks: Vovk et al., "Retrain or not retrain:
conformal test martingales for change-point detection", 2021). L is the density of the power
bet with exponent one half: against ranks that are uniform, as those of an agent are that goes
on as it did, it is 1 on average, and cut off at 4 it is less. So R minus the number of sessions
falls on average, and for R to reach a limit takes at least so many sessions as the limit is,
on average (Moustakides, Polunchenko and Tartakovsky, 2009). No single session counts for more than
two bits: an odd one is an alert's business, a run of them is this one's.

p is the larger of two ranks: the session's among all past ones of its age class, 1 in n, and its
rank among those of its own agent. The first is uniform for the fleet as a whole and not for each:
who is odd by nature would ask for a review again and again. The second is about who has changed;
while there are few own sessions it is mostly the first. An agent's very latest sessions are left
out of it, or a change would hide itself.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.compiled import compiled, int64

OWN = 64
"""An agent's latest sessions that a session of its is ranked among."""

_APART = 4
"""All but the very latest of them, which may be of the same change."""

LEVEL_BITS = 1.0 / 16.0
"""How exactly their bits are remembered: 1 in 2**bits sessions was as odd."""

LEVELS = 256

MINUTE_US = 60_000_000

_LEARNT = 10.0
"""Before it has sessions of its own, an agent is taken to have had so many like the fleet's."""

_LIKELIHOOD_MAX = 4.0

CHANGING = np.dtype(
    [
        ("key", np.uint64),
        ("statistic", np.float64),  # at the limit it stays until somebody has been told
        ("sessions", np.int64),
        ("first_us", np.int64),
        ("last_us", np.int64),
        ("level", np.uint8, OWN),  # of its latest sessions, a ring
        ("minute", np.uint32, OWN),  # when they began
    ]
)
"""An agent, and how its sessions have gone on."""

_BITS = np.arange(LEVELS) * LEVEL_BITS
_RARITY: NDArray[np.float64] = np.exp2(-_BITS)


def levels_of(n: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return how odd sessions are, 1 in n of which is so, as it is remembered."""
    return np.minimum(np.log2(n) / LEVEL_BITS, LEVELS - 1).astype(np.uint8)


def go_on(
    table: NDArray[Any],
    rows: NDArray[np.int64],
    start_us: NDArray[np.int64],
    n: NDArray[np.float64],
    limit: float,
    learn_us: int = 0,
) -> None:
    """Take ended sessions of agents, in order; whose statistic has reached the limit waits.

    Nobody has changed who began less than `learn_us` ago.
    """
    _go_on(table, rows, start_us, n, levels_of(n), _RARITY, limit, learn_us)


@compiled
def _go_on(
    table: NDArray[Any],
    rows: NDArray[np.int64],
    start_us: NDArray[np.int64],
    n: NDArray[np.float64],
    levels: NDArray[np.uint8],
    rarity: NDArray[np.float64],
    limit: float,
    learn_us: int,
) -> None:
    for place in range(len(rows)):
        agent = table[rows[place]]
        level, sessions = int64(levels[place]), int64(agent["sessions"])
        known = max(min(sessions, OWN) - _APART, 0)
        reaching = 0
        for back in range(known):
            if int64(agent["level"][(sessions - 1 - _APART - back) % OWN]) >= level:
                reaching += 1
        own = (reaching + _LEARNT * rarity[level]) / (known + _LEARNT)
        likelihood = min(0.5 / math.sqrt(max(own, 1.0 / n[place])), _LIKELIHOOD_MAX)
        if sessions == 0:
            agent["first_us"] = start_us[place]
        if agent["statistic"] < limit and start_us[place] - agent["first_us"] >= learn_us:
            agent["statistic"] = (1.0 + agent["statistic"]) * likelihood
        at = sessions % OWN
        agent["level"][at] = levels[place]
        agent["minute"][at] = max(start_us[place], 0) // MINUTE_US
        agent["last_us"] = max(int64(agent["last_us"]), start_us[place])
        agent["sessions"] += 1


def latest(agent: NDArray[np.void]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the bits of an agent's latest sessions and when they began, the oldest first."""
    sessions = int(agent["sessions"])
    order = np.arange(max(sessions - OWN, 0), sessions) % OWN
    minutes = agent["minute"][order].astype(np.int64)
    return agent["level"][order] * LEVEL_BITS, minutes * MINUTE_US


def cut_of(bits: NDArray[np.float64]) -> int:
    """Return from which session on a series differs most from what came before.

    >>> cut_of(np.array([1.0, 2.0, 1.0, 9.0, 8.0]))
    3
    """
    places = np.arange(1, len(bits))
    before = np.cumsum(bits)[:-1]
    after = bits.sum() - before
    others = len(bits) - places
    gap = after / others - before / places
    return int(places[np.argmax(gap * np.abs(gap) * places * others)])
