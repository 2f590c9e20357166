"""What a store is given to write to the outside with, in tests."""

from collections.abc import Sequence

from astray.decide.decision import Decision
from astray.store import Outgoing


class TwoReceivers:
    """An outbox for two endpoints, whose alerts tell new from worse."""

    def deliveries(self, decision: Decision, now_s: float) -> Sequence[Outgoing]:
        """Return one webhook per endpoint."""
        return [
            Outgoing(f"{name}-{decision.case}", name, b"suspend", now_s + 60)
            for name in ("siem", "gateway")
        ]

    def alert(self, decision: Decision, *, update: bool) -> bytes:
        """Return what the alert is about."""
        return f"{decision.session} {'worse' if update else 'new'}".encode()
