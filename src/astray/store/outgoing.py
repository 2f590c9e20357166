"""What the store asks of those who write to the outside: bodies, and where they go."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from astray.decide.decision import Decision


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One webhook that is to reach one endpoint until `expires_s` (wall clock, seconds).

    `webhook_id` is the same for ever for one case and one endpoint: it is what lets a
    receiver tell a repeat.
    """

    webhook_id: str
    endpoint: str
    body: bytes
    expires_s: float


class Undoing(Protocol):
    """Writes what leaves astray when a person takes a suspension back; pure, as an outbox is."""

    def resumptions(
        self, decision: Decision, who: str, note: str, now_s: float
    ) -> Sequence[Outgoing]:
        """Return the webhooks that ask for the session to go on, one per endpoint."""
        ...


class Outbox(Protocol):
    """Writes what leaves astray because of a decision; pure, for a transaction waits for it."""

    def deliveries(self, decision: Decision, now_s: float) -> Sequence[Outgoing]:
        """Return the webhooks that ask for the session's suspension, one per endpoint."""
        ...

    def alert(self, decision: Decision, *, update: bool) -> bytes:
        """Return the alert of a case that is new or, with `update`, has become worse."""
        ...
