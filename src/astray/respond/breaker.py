"""A circuit breaker: a receiver that is down is asked now and then whether it is back."""

from dataclasses import dataclass
from typing import Final

FAILURES_MAX: Final = 5
"""Failures in a row that open the breaker."""

FAILING_MAX_S: Final = 5.0
"""How long a row of failures, be it short, may last before it opens the breaker."""

PROBE_MIN_S: Final = 2.0
PROBE_MAX_S: Final = 10.0
PROBE_SHARE: Final = 0.1
"""Probes are this share of the time since the first failure apart, within the bounds above."""

PROBE_ASKED_MAX_S: Final = 60.0
"""A receiver that asks for time is probed after it, but after this time at the latest."""


@dataclass(slots=True)
class Breaker:
    """One endpoint's. Open, it lets one attempt through at a time, every few seconds.

    The delays of single webhooks grow to minutes, which is right for one that a receiver
    cannot digest and wrong for a receiver that was away for a minute: everything would
    wait although it is back. So when nothing gets through, the breaker opens and one
    webhook at a time is tried without regard to its own delay. The first success closes
    it, and `succeeded` tells the caller to make all that waits due at once.
    """

    failures: int = 0
    failing_since_s: float = 0.0
    probe_at_s: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether only probes go out."""
        return self.probe_at_s is not None

    def failed(self, now_s: float, asked_s: float | None) -> None:
        """Take note of an attempt that failed at `now_s`; `asked_s`: its `Retry-After`."""
        if not self.failures:
            self.failing_since_s = now_s
        self.failures += 1
        lasted_s = now_s - self.failing_since_s
        if self.is_open or self.failures >= FAILURES_MAX or lasted_s >= FAILING_MAX_S:
            own_s = min(max(PROBE_SHARE * lasted_s, PROBE_MIN_S), PROBE_MAX_S)
            asked_s = min(asked_s or 0.0, PROBE_ASKED_MAX_S)
            self.probe_at_s = now_s + max(own_s, asked_s)

    def succeeded(self) -> bool:
        """Take note of a success; return whether it ends an outage."""
        ended = self.is_open
        self.reset()
        return ended

    def reset(self) -> None:
        """Start afresh: nothing waits any more, so nothing can be probed."""
        self.failures = 0
        self.probe_at_s = None
