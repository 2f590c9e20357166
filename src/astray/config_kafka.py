"""The configuration of Apache Kafka: where events come from, and where things go.

Options of librdkafka are handed on as they are, but for those that astray sets itself;
secrets among them are named by where they are.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_PLACE = re.compile(r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$")
_PLACES = 'name where it is, "env:NAME" or "file:/path", never what it is'
_SECRET = re.compile(r"(password|passphrase|secret|key\.pem|oauthbearer\.config)$")
"""Options of librdkafka whose values nobody may see."""

_OUR_OPTIONS = {
    "bootstrap.servers", "metadata.broker.list", "group.id", "auto.offset.reset",
    "enable.auto.commit", "enable.auto.offset.store", "enable.partition.eof",
    "enable.idempotence", "transactional.id", "acks", "request.required.acks",
}  # fmt: skip


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _options(table: Any) -> dict[str, str]:
    """Return librdkafka's options flat and as text; its secrets are named by where they are."""
    if not isinstance(table, dict):
        raise ValueError("should be a table")  # noqa: TRY004 - what pydantic takes up
    options = dict(_flat(table))
    ours = [key for key in options if key in _OUR_OPTIONS]
    shown = [key for key in options if _SECRET.search(key) and not _PLACE.match(options[key])]
    said = [f"{', '.join(ours)}: astray sets this itself"] if ours else []
    said += [f"{', '.join(shown)}: {_PLACES}"] if shown else []
    if said:
        raise ValueError("; ".join(said))
    return options


def _flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of a table by their whole names: an option may be written a.b = 1."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        elif not isinstance(value, str | int | float):
            raise ValueError(f"{above}{key}: should be a string, a number or a boolean")  # noqa: TRY004 - what pydantic takes up
        else:
            yield f"{above}{key}", str(value).lower() if isinstance(value, bool) else str(value)


def _start(value: Any) -> Any:
    """Return a place to start from as text; a time needs a zone, or it would be anybody's."""
    try:
        if value not in ("earliest", "latest"):
            value = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            value = value.isoformat() if value.tzinfo else None
    except (TypeError, ValueError):
        value = None
    if value is None:
        raise ValueError("should be earliest, latest or a time with its zone, in ISO 8601")
    return value


Name = Annotated[str, Field(pattern=r"^[^\s,/@]+$")]
Names = Annotated[tuple[Name, ...], Field(strict=False)]
KafkaOptions = Annotated[dict[str, str], BeforeValidator(_options)]


class KafkaSource(_Section):
    """Topics to read events from."""

    brokers: Names = ()
    topics: Names = ()
    verdicts: Name | None = None
    group: Annotated[str, Field(min_length=1)]
    start: Annotated[str, BeforeValidator(_start)]
    on_gap: Literal["stop", "earliest", "latest"]
    partitions_every_s: Annotated[float, Field(gt=0, le=3600)]
    config: KafkaOptions


class KafkaSink(_Section):
    """Topics to write to."""

    brokers: Names = ()
    alerts: Name | None = None
    decisions: Name | None = None
    rejects: Name | None = None
    config: KafkaOptions


class Source(_Section):
    """Where events come from, besides what the command line names."""

    kafka: KafkaSource


class Sink(_Section):
    """Where findings, decisions and rejects go, besides files and webhooks."""

    kafka: KafkaSink
