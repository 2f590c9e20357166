"""Amounts and things as people say them: sentences of evidence are read aloud."""

import math
from collections.abc import Sequence

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000.0
_WHOLE_FROM = 9.95
"""From here on a count has no decimal: tenths of it are noise."""

_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86_400.0


def number(value: float) -> str:
    """Return a count, with a tenth where it is small and not whole.

    >>> number(1234.0), number(4.82), number(3.0), number(97.3)
    ('1,234', '4.8', '3', '97')
    """
    small = value < _WHOLE_FROM and round(value, 1) % 1
    return f"{value:,.1f}" if small else f"{value:,.0f}"


def size(value: float) -> str:
    """Return bytes in the unit that suits them.

    >>> size(913.0), size(17_710_000.0), size(999_999.0)
    ('913 B', '17.7 MB', '1 MB')
    """
    for unit in _UNITS:
        # What would round up to a thousand of a unit is one of the next.
        if float(f"{value:.3g}") < _STEP:
            return f"{value:.3g} {unit}"
        value /= _STEP
    return f"{value:,.0f} EB"


def duration(seconds: float) -> str:
    """Return a time span in the unit that suits it.

    >>> duration(90.0), duration(5400.0), duration(86_400.0), duration(864_000.0)
    ('90 s', '90 min', '24 h', '10 days')
    """
    for unit_s, unit, up_to_s in (
        (1.0, "s", 2 * _MINUTE_S),
        (_MINUTE_S, "min", 2 * _HOUR_S),
        (_HOUR_S, "h", 2 * _DAY_S),
    ):
        if seconds < up_to_s:
            return f"{seconds / unit_s:.3g} {unit}"
    return f"{number(seconds / _DAY_S)} days"


def counted(value: float, one: str, many: str) -> str:
    """Return a count with its noun.

    >>> counted(1.0, "denial", "denials"), counted(0.0, "denial", "denials")
    ('1 denial', '0 denials')
    """
    text = number(value)
    return f"{text} {one if text == '1' else many}"


def usual_count(median: float, most: float) -> str:
    """Return how many are usual, and how many are in nearly no session.

    >>> usual_count(12.3, 60.9)
    'usually about 12, and fewer than 61 in 99 of 100 sessions'
    >>> usual_count(0.1, 2.4), usual_count(0.1, 0.4)
    ('usually none, and fewer than 3 in 99 of 100 sessions', 'none in 99 of 100 sessions')
    """
    some = round(median)
    fewer = max(math.ceil(most), some + 1)  # most may lie but a little above the median
    if fewer <= 1:
        return "none in 99 of 100 sessions"
    about = f"about {some:,}" if some else "none"
    return f"usually {about}, and fewer than {fewer:,} in 99 of 100 sessions"


def usual_size(median: float, most: float) -> str:
    """Return how many bytes are usual, and what nearly all sessions stay below.

    >>> usual_size(1_130_000.0, 91_600_000.0)
    'usually about 1.13 MB, and less than 91.6 MB in 99 of 100 sessions'
    >>> usual_size(0.0, 912.3), usual_size(0.0, 0.0)
    ('usually none, and less than 913 B in 99 of 100 sessions', 'none in 99 of 100 sessions')
    """
    if most < 1.0:
        return "none in 99 of 100 sessions"
    usual = f"about {size(round(median))}" if round(median) else "none"
    less = size(math.ceil(most))
    about = usual if usual != f"about {less}" else f"a little under {less}"
    return f"usually {about}, and less than {less} in 99 of 100 sessions"


def share_new(rate: float, things: str) -> str:
    """Return how often something new is met.

    >>> share_new(1 / 240, "resources"), share_new(0.9, "sources")
    ('1 in 240 of its resources is new to it', 'most of its sources are new to it')
    """
    one_in = round(1.0 / rate)
    if one_in <= 1:
        return f"most of its {things} are new to it"
    return f"1 in {one_in:,} of its {things} is new to it"


def one_in(bits: float) -> str:
    """Return how rare it is that a detector is so surprised.

    >>> one_in(8.0), one_in(0.4)
    ('1 in 256 sessions is as unusual', 'most sessions are as unusual')
    """
    sessions = round(2.0**bits)
    if sessions <= 1:
        return "most sessions are as unusual"
    return f"1 in {sessions:,} sessions is as unusual"


def some_of(things: Sequence[str], most: int) -> str:
    """Return the first things by name, and how many others there are.

    >>> some_of(["a", "b"], 3), some_of(["a", "b", "c", "d"], 3)
    ('a, b', 'a, b, c and 1 other')
    """
    others = len(things) - most
    told = ", ".join(things[:most])
    return told if others <= 0 else f"{told} and {counted(others, 'other', 'others')}"
