"""The case store: what was decided, what was asked for, and how far it has come."""

from astray.store.delivering import Delivery, Result
from astray.store.judging import Act, Outcome, in_force
from astray.store.lead import Lead
from astray.store.outgoing import Outbox, Outgoing, Undoing
from astray.store.retention import EVERYTHING, TABLES, Place, Removed, Terms
from astray.store.schema import SCHEMA_VERSION, DeliveryState, SuspensionState
from astray.store.store import Store
from astray.store.views import Attempted, Case, CaseFile, Counts

__all__ = [
    "EVERYTHING",
    "SCHEMA_VERSION",
    "TABLES",
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
    "Place",
    "Removed",
    "Result",
    "Store",
    "SuspensionState",
    "Terms",
    "Undoing",
    "in_force",
]
