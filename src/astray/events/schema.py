"""The native event: its fields, limits, and the closed list of reasons for refusing a line."""

from dataclasses import dataclass, field
from enum import StrEnum

TEXT_BYTES_MAX = 1024
RESOURCES_MAX = 32
EVENT_BYTES_MAX = 256 * 1024
COUNT_MAX = 2**53
"""Largest `bytes` or `count`: beyond it, JSON readers disagree about the number."""

DEPTH_MAX = 255
"""Largest delegation depth that is told apart: whatever is deeper counts as this."""

FUTURE_US_MAX = 24 * 3600 * 1_000_000
"""How far ahead of the clock an event may lie before it is refused."""

OUTCOMES = ("unknown", "success", "failure", "denied")
KINDS = ("unknown", "ai_agent", "service_account", "api_key", "bot", "script")


class Reason(StrEnum):
    """Why a line, or a message, is not an event."""

    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    BAD_TIME = "bad_time"
    FUTURE_TIME = "future_time"
    BAD_NUMBER = "bad_number"
    BAD_VALUE = "bad_value"
    TOO_LONG = "too_long"
    TOO_MANY_RESOURCES = "too_many_resources"
    OVERSIZED = "oversized"
    TOMBSTONE = "tombstone"  # a message without a value
    NOT_A_VERDICT = "not_a_verdict"
    SCHEMA_FRAMED = "schema_framed"  # a message in the wire format of a schema registry


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that is not an event: why, which key of it, and the bytes as they came."""

    reason: Reason
    key: str
    offset: int
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Event:
    """One action of an agent. Absent text is empty, absent numbers are 0 (`count`: 1)."""

    ts_us: int
    agent: str
    action: str
    session: str = ""
    resources: tuple[str, ...] = ()
    outcome: str = "unknown"
    source: str = ""
    principal: str = ""
    target_agent: str = ""
    bytes: int = 0
    count: int = 1
    delegation_depth: int = 0
    tenant: str = ""
    group: str = ""
    kind: str = "unknown"
    event_id: str = ""
    session_end: bool = False
