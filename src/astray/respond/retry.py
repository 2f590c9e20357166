"""When a webhook is tried again. Pure: the caller knows the time and draws the spread."""

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

from astray.errors import ConfigError

ASKED_DELAY_MAX_S: Final = 60.0
"""A receiver that asks for time gets up to this, or twice our own delay if that is longer."""

_TIMED_OUT, _GONE, _TOO_EARLY, _TOO_MANY = 408, 410, 425, 429


class Outcome(StrEnum):
    """What an answer means for a delivery."""

    DELIVERED = "delivered"
    RETRY = "retry"
    REFUSED = "refused"
    GONE = "gone"


def outcome_of(status: int | None) -> Outcome:
    """Return what an HTTP status means; None: there was no answer.

    After Standard Webhooks 1.0.0, "Deliverability and reliability": only 2xx is success, a
    redirection is not followed, 410 says that nobody wants webhooks there any more. What
    may pass with time is tried again: no answer, 5xx, 408, 425 and 429. Any other answer is
    final: the same request would be refused again.
    """
    if status is None or status >= 500 or status in (_TIMED_OUT, _TOO_EARLY, _TOO_MANY):
        return Outcome.RETRY
    if 200 <= status < 300:
        return Outcome.DELIVERED
    return Outcome.GONE if status == _GONE else Outcome.REFUSED


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The delays between attempts; after the last one it is repeated until expiry.

    The example schedule of the specification lasts for days. A session is contained in
    minutes or not at all, so ours begins at a second.

    >>> RetryPolicy().next_delay_s(attempts=3, spread=0.5)
    15.0
    """

    delays_s: tuple[float, ...] = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0)
    jitter: float = 0.2

    def __post_init__(self) -> None:
        problems = []
        if not self.delays_s or not all(0 < delay_s < float("inf") for delay_s in self.delays_s):
            problems.append(f"retry delays must be above 0 s, got {self.delays_s}")
        if not 0 <= self.jitter < 1:
            problems.append(f"retry jitter must be at least 0 and below 1, got {self.jitter}")
        if problems:
            raise ConfigError(problems)

    def next_delay_s(self, attempts: int, spread: float, asked_s: float | None = None) -> float:
        """Return the seconds until the next attempt, after `attempts` (at least 1) failed.

        `spread` in [0, 1] places the delay within the jitter. `asked_s` is what the receiver
        asked for (`Retry-After`): it never shortens our delay, and it lengthens it up to
        twice its length or `ASKED_DELAY_MAX_S`, whichever is more.
        """
        own_s = self.delays_s[min(attempts, len(self.delays_s)) - 1]
        delay_s = own_s * (1 + self.jitter * (2 * spread - 1))
        if asked_s is None:
            return delay_s
        return max(delay_s, min(asked_s, max(2 * delay_s, ASKED_DELAY_MAX_S)))


def retry_after_s(value: str, date: str) -> float | None:
    """Return the seconds a `Retry-After` header asks for, None when it does not say.

    It holds seconds or an HTTP date (RFC 9110, 10.2.3). A date is counted from the answer's
    own `Date` header: the receiver's clock need not agree with ours.
    """
    if value.isascii() and value.isdigit():
        return float(value[:9])  # beyond 30 years it makes no difference
    until, since = _seconds(value), _seconds(date)
    if until is None or since is None:
        return None
    return max(0.0, until - since)


def _seconds(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):  # the latter for a year or a zone of many digits
        return None
    # HTTP dates are UTC; a date that says `-0000` comes without a zone.
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
