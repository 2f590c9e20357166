"""What leaves because of a decision: one webhook per endpoint, and the alert."""

from collections.abc import Sequence
from typing import Protocol

from astray.decide.decision import Decision
from astray.events.ids import pair_id, stable_id
from astray.respond.endpoint import Endpoint
from astray.respond.payload import RESUME, resume_body, suspend_body
from astray.store import Outgoing


class RenderAlert(Protocol):
    """Writes the alert of a case that is new or, with `update`, has become worse."""

    def __call__(self, decision: Decision, *, update: bool) -> bytes:
        """Return the alert's bytes."""
        ...


class WebhookOutbox:
    """Asks every endpoint to suspend the session of a decision; see `astray.store.Outbox`."""

    def __init__(self, endpoints: Sequence[Endpoint], render_alert: RenderAlert) -> None:
        self._endpoints = tuple(endpoints)
        self._render_alert = render_alert

    def deliveries(self, decision: Decision, now_s: float) -> list[Outgoing]:
        """Return the webhooks that ask for the session's suspension, one per endpoint."""
        return [self._outgoing(decision, endpoint, now_s) for endpoint in self._endpoints]

    def resumptions(self, decision: Decision, who: str, note: str, now_s: float) -> list[Outgoing]:
        """Return the webhooks that ask for the session to go on, one per endpoint."""
        return [
            Outgoing(
                webhook_id=webhook_id(f"{decision.case}:{RESUME}", endpoint.name),
                endpoint=endpoint.name,
                body=resume_body(decision, who, note, now_s, now_s + endpoint.expires_after_s),
                expires_s=now_s + endpoint.expires_after_s,
            )
            for endpoint in self._endpoints
        ]

    def alert(self, decision: Decision, *, update: bool) -> bytes:
        """Return the alert of a case that is new or, with `update`, has become worse."""
        return self._render_alert(decision, update=update)

    def _outgoing(self, decision: Decision, endpoint: Endpoint, now_s: float) -> Outgoing:
        expires_s = now_s + endpoint.expires_after_s
        return Outgoing(
            webhook_id=webhook_id(decision.case, endpoint.name),
            endpoint=endpoint.name,
            body=suspend_body(decision, expires_s),
            expires_s=expires_s,
        )


def webhook_id(case_id: str, endpoint: str) -> str:
    """Return the id of a case's webhook to an endpoint: the same for ever, without a dot."""
    return f"msg_{pair_id(stable_id(case_id), stable_id(endpoint)):016x}"
