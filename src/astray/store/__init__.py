"""The case store: what was decided, what was asked for, and how far it has come."""

from astray.store.delivering import Delivery, Result
from astray.store.judging import Act, Outcome, in_force
from astray.store.lead import Lead
from astray.store.outgoing import Outbox, Outgoing, Undoing
from astray.store.schema import SCHEMA_VERSION, DeliveryState, SuspensionState
from astray.store.store import Store
from astray.store.views import Attempted, Case, CaseFile, Counts

__all__ = [
    "SCHEMA_VERSION",
    "Act",
    "Attempted",
    "Case",
    "CaseFile",
    "Counts",
    "Delivery",
    "DeliveryState",
    "Lead",
    "Outbox",
    "Outcome",
    "Outgoing",
    "Result",
    "Store",
    "SuspensionState",
    "Undoing",
    "in_force",
]
