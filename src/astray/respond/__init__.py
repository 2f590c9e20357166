"""How a decision reaches the one who can stop the session: signed, retried, never lost."""

from astray.respond.dispatcher import Dispatcher, Report
from astray.respond.endpoint import Endpoint
from astray.respond.outbox import WebhookOutbox, webhook_id
from astray.respond.payload import ping_body, resume_body, suspend_body
from astray.respond.receiver import Answer, Attempt, Received, Receiver
from astray.respond.retry import Outcome, RetryPolicy, outcome_of
from astray.respond.secret import Secret, secret_from
from astray.respond.thread import DispatcherThread
from astray.respond.transport import HttpTransport, Response, Transport, TransportError
from astray.respond.webhook import Flaw, sign, verify

__all__ = [
    "Answer",
    "Attempt",
    "Dispatcher",
    "DispatcherThread",
    "Endpoint",
    "Flaw",
    "HttpTransport",
    "Outcome",
    "Received",
    "Receiver",
    "Report",
    "Response",
    "RetryPolicy",
    "Secret",
    "Transport",
    "TransportError",
    "WebhookOutbox",
    "outcome_of",
    "ping_body",
    "resume_body",
    "secret_from",
    "sign",
    "suspend_body",
    "verify",
    "webhook_id",
]
