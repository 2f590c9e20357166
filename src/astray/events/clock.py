"""Points in time: what an event may write, and how astray writes them.

Inside, time is an integer: microseconds since 1970-01-01 UTC.
"""

from datetime import UTC, datetime

_SECOND_US = 1_000_000

# An epoch's unit is told by its magnitude: each bound is 1973 in the finer unit and beyond
# the year 5000 in the coarser one.
_SECONDS_BELOW = 10**11
_MILLIS_BELOW = 10**14
_MICROS_BELOW = 10**17
_NANOS_BELOW = 10**20


def epoch_us(value: float) -> int | None:
    """Return a numeric epoch (s, ms, us or ns) in microseconds, or None when it is not one."""
    if not 0 <= value < _NANOS_BELOW:  # also False for NaN
        return None
    if value < _SECONDS_BELOW:
        return round(value * _SECOND_US)
    if value < _MILLIS_BELOW:
        return round(value * 1000)
    return round(value) if value < _MICROS_BELOW else round(value / 1000)


def iso_us(text: str) -> int | None:
    """Return an ISO-8601 time in microseconds, or None when it is not one; no zone means UTC.

    >>> iso_us("2026-11-22T02:00:00.5Z")
    1795312800500000
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    micros = (since.days * 86_400 + since.seconds) * _SECOND_US + since.microseconds
    return micros if micros >= 0 else None


def iso(ts_us: int) -> str:
    """Return the time as ISO-8601 in UTC, in milliseconds.

    >>> iso(1795312800123456)
    '2026-11-22T02:00:00.123Z'
    """
    moment = datetime.fromtimestamp(ts_us // _SECOND_US, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ts_us % _SECOND_US // 1000:03d}Z"


def iso_exact(ts_us: int) -> str:
    """Return the time as ISO-8601 in UTC, to the microsecond."""
    moment = datetime.fromtimestamp(ts_us // _SECOND_US, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ts_us % _SECOND_US:06d}Z"
