"""Dormancy: how much longer than ever of late an agent has been silent when it wakes.

An identity that nobody uses is one that nobody watches. A silence is compared with the longest
that the agent has kept of late, with what its peers usually keep at most, and with two days:
what is shorter is for the alarm about silences. Silences are told in log2 of seconds, so the
difference is in bits, and grows by one whenever the silence is twice as long.

The longest of late is forward-decayed like all weights: it counts half a half-life later. It is
read as it was when the silence began, so that whoever works once a month stays at his ease.
"""

import math
from typing import Any

from astray.baseline.buffers import UNITS
from astray.baseline.layout import DORMANCY
from astray.compiled import float64, inner, int64

_MICROS = 1_000_000.0
_SHORT = math.log2(2 * 86_400.0)
_TWICE = 1.0
"""In log2: what is not even twice as long as usual says nothing."""

_FIXED = 65536.0


@inner
def measure_silence(session: Any, agent: Any, group: Any, settings: Any, window: Any) -> None:
    """Tell how long the agent of a session that begins was silent, and how odd that is.

    It must have ended a session before, and of the first few nobody knows what is long for it.
    """
    usual = max(float64(group["child_silence"]), _SHORT)
    past_us = max(session["start_us"] - agent["last_us"], 0)
    if agent["silence"] > 0.0:
        own = math.log2(float64(agent["silence"])) - math.log2(window["weight"])
        usual = max(usual, own + past_us / settings["half_life_us"])
    session["usual_silence"] = usual
    if agent["sessions"] > 0:
        silence = math.log2(1.0 + past_us / _MICROS)
        session["silence"] = silence
        if session["age"] > 0:
            session["statistic"][DORMANCY] = max(silence - usual - _TWICE, 0.0)


@inner
def learn_silence(session: Any, agent: Any, group: Any, units: int, weight: float) -> None:
    """Learn how long an agent was silent; a suspicious session makes it but a little longer.

    `weight` is that of the window. What is long for an agent of which little is known is what is
    long for its peers.
    """
    longest = float64(agent["silence"])
    silence = (2.0 ** float64(session["silence"]) - 1.0) * weight
    longest += max(silence - longest, 0.0) * units / UNITS
    agent["silence"] = longest
    usual = float64(session["usual_silence"])
    if session["age"] > 0:
        usual = math.log2(1.0 + longest / weight)
    group["silence"] += int64(round(usual * _FIXED)) * units
