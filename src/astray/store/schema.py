"""The tables of the case store, in SQL that SQLite and PostgreSQL both understand.

Columns ending in `_s` are wall-clock seconds since 1970-01-01 UTC, those ending in `_us`
are event time in microseconds. A change that older code cannot read raises `SCHEMA_VERSION`.
"""

from enum import StrEnum
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

SCHEMA_VERSION: Final = 1
VERSION_KEY: Final = "schema_version"


class SuspensionState(StrEnum):
    """Where the request to stop a session stands.

    It ends as soon as one receiver has accepted it, or when none can accept it any more:
    `failed` if at least one of them refused it, `expired` otherwise. With no endpoint to
    send it to it stays `requested`.
    """

    REQUESTED = "requested"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"


class DeliveryState(StrEnum):
    """Where one webhook's way to its receiver stands; all but `pending` are final."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"


metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

cases = Table(
    "cases",
    metadata,
    Column("case_id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("level", Text, nullable=False),
    Column("score", Double, nullable=False),
    Column("n", Double, nullable=False),
    Column("alerts", Integer, nullable=False),  # how many were raised, failed deliveries aside
    Column("first_event_us", BigInteger, nullable=False),
    Column("last_event_us", BigInteger, nullable=False),
    Column("opened_s", Double, nullable=False),
    Column("updated_s", Double, nullable=False),
    Index("cases_updated", "updated_s"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("case_id", Text, ForeignKey("cases.case_id"), nullable=False),
    Column("event_us", BigInteger, nullable=False),
    Column("recorded_s", Double, nullable=False),
    Column("body", Text, nullable=False),  # the whole decision as JSON
    Index("decisions_of_case", "case_id"),
)

suspensions = Table(
    "suspensions",
    metadata,
    Column("case_id", Text, ForeignKey("cases.case_id"), primary_key=True),
    Column("decision_id", Text, ForeignKey("decisions.decision_id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_s", Double, nullable=False),
    Column("settled_s", Double),
    Index("suspensions_by_state", "state"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("webhook_id", Text, primary_key=True),
    Column("case_id", Text, ForeignKey("suspensions.case_id"), nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_s", Double, nullable=False),
    Column("expires_s", Double, nullable=False),
    Column("next_attempt_s", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_status", Integer),
    Column("last_error", Text, nullable=False),
    Column("last_attempt_s", Double),
    Column("delivered_s", Double),
    # In this order the dispatcher's question needs no sorting, however long the outbox.
    Index("deliveries_due", "state", "endpoint", "next_attempt_s", "created_s"),
    Index("deliveries_expiring", "state", "expires_s"),
    Index("deliveries_of_case", "case_id"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("case_id", Text, ForeignKey("cases.case_id"), nullable=False),
    Column("recorded_s", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_autoincrement=True,  # a sequence number is never given twice
)

marks = Table(
    "marks",  # how far the readers of alerts have come
    metadata,
    Column("name", Text, primary_key=True),
    Column("sequence", Integer, nullable=False),
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("name", Text, primary_key=True),
    Column("disabled_s", Double),  # null: enabled
    Column("reason", Text, nullable=False),
)
