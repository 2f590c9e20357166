"""The tables of the case store, in SQL that SQLite and PostgreSQL both understand.

Columns ending in `_s` are wall-clock seconds since 1970-01-01 UTC, those ending in `_us`
are event time in microseconds. A change that older code cannot read raises `SCHEMA_VERSION`
and has its step in `migrations`.
"""

from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)

SCHEMA_VERSION: Final = 6
VERSION_KEY: Final = "schema_version"


class SuspensionState(StrEnum):
    """Where the request to stop a session stands.

    It ends as soon as one receiver has accepted it, or when none can accept it any more:
    `failed` if at least one of them refused it, `expired` otherwise. With no endpoint to
    send it to it stays `requested`. A person may release the session, whatever had become of it.
    """

    REQUESTED = "requested"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"
    RELEASED = "released"


class DeliveryState(StrEnum):
    """Where one webhook's way to its receiver stands; all but `pending` are final."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"


class Words(TypeDecorator[str]):
    """Text without NUL, which PostgreSQL has no place for; a decision's body keeps it as JSON."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 - its caller's
        """Return the text as every database can hold it."""
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


Number: Final = BigInteger().with_variant(Integer(), "sqlite")
"""A number that grows for ever; SQLite's integers do so by nature."""

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("key", Words, primary_key=True),
    Column("value", Words, nullable=False),
)

cases = Table(
    "cases",
    metadata,
    Column("case_id", Words, primary_key=True),
    Column("tenant", Words, nullable=False),
    Column("agent", Words, nullable=False),
    Column("session", Words, nullable=False),
    Column("principal", Words, nullable=False),
    Column("level", Words, nullable=False),
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
    Column("decision_id", Words, primary_key=True),
    Column("sequence", Number, nullable=False),
    Column("case_id", Words, ForeignKey("cases.case_id"), nullable=False),
    Column("event_us", BigInteger, nullable=False),
    Column("recorded_s", Double, nullable=False),
    Column("body", Words, nullable=False),  # the whole decision as JSON
    Index("decisions_of_case", "case_id"),
    Index("decisions_in_order", "sequence", unique=True),
)

suspensions = Table(
    "suspensions",
    metadata,
    Column("case_id", Words, ForeignKey("cases.case_id"), primary_key=True),
    Column("decision_id", Words, ForeignKey("decisions.decision_id"), nullable=False),
    Column("state", Words, nullable=False),
    Column("requested_s", Double, nullable=False),
    Column("settled_s", Double),
    Index("suspensions_by_state", "state"),
    Index("suspensions_of_decision", "decision_id"),  # else removing a decision reads them all
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("webhook_id", Words, primary_key=True),
    Column("case_id", Words, ForeignKey("suspensions.case_id"), nullable=False),
    Column("endpoint", Words, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", Words, nullable=False),
    Column("created_s", Double, nullable=False),
    Column("expires_s", Double, nullable=False),
    Column("next_attempt_s", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_status", Integer),
    Column("last_error", Words, nullable=False),
    Column("last_attempt_s", Double),
    Column("delivered_s", Double),
    Column("held_until_s", Double),  # until then another process may be attempting it
    # In this order the dispatcher's question needs no sorting, however long the outbox.
    Index("deliveries_due", "state", "endpoint", "next_attempt_s", "created_s"),
    Index("deliveries_expiring", "state", "expires_s"),
    Index("deliveries_of_case", "case_id"),
)

silences = Table(
    "silences",  # cases of something that no longer shows itself
    metadata,
    Column("case_id", Words, ForeignKey("cases.case_id"), primary_key=True),
    Column("kind", Words, nullable=False),
    Column("name", Words, nullable=False),
    Column("last_us", BigInteger, nullable=False),  # when it was last heard of
    Column("ended_us", BigInteger),  # null: it lasts
    Column("ended", Words, nullable=False),  # how; empty: it lasts
    Index("silences_by_state", "ended", "kind"),
)

reviews = Table(
    "reviews",  # cases of agents that do not behave as they used to
    metadata,
    Column("case_id", Words, ForeignKey("cases.case_id"), primary_key=True),
    Column("body", Words, nullable=False),  # the whole review as JSON
)

alerts = Table(
    "alerts",
    metadata,
    Column("sequence", Number, primary_key=True, autoincrement=False),
    Column("case_id", Words, ForeignKey("cases.case_id"), nullable=False),
    Column("recorded_s", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("alerts_of_case", "case_id"),
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("sequence", Number, primary_key=True, autoincrement=False),
    Column("verdict_id", Words, nullable=False),
    Column("case_id", Words, ForeignKey("cases.case_id"), nullable=False),
    Column("recorded_s", Double, nullable=False),
    Column("body", Words, nullable=False),  # the whole verdict as JSON
    Index("verdicts_by_id", "verdict_id", unique=True),
    Index("verdicts_of_case", "case_id"),
)

audit = Table(
    "audit",  # what people did to cases; rows are added and never changed
    metadata,
    Column("sequence", Number, primary_key=True, autoincrement=False),
    Column("case_id", Words, ForeignKey("cases.case_id")),  # null: about no case that is there
    Column("at_s", Double, nullable=False),
    Column("who", Words, nullable=False),
    Column("did", Words, nullable=False),
    Column("about", Words, nullable=False),  # the id of the decision or verdict that came of it
    Column("note", Words, nullable=False),
    Index("audit_of_case", "case_id"),
)

numbers = Table(
    "numbers",  # the last number that was given in each table with a sequence
    metadata,
    Column("name", Words, primary_key=True),
    Column("last", Number, nullable=False),
)

marks = Table(
    "marks",  # how far the readers of alerts have come
    metadata,
    Column("name", Words, primary_key=True),
    Column("sequence", Number, nullable=False),
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("name", Words, primary_key=True),
    Column("disabled_s", Double),  # null: enabled
    Column("reason", Words, nullable=False),
)
