"""Reading a native recording back into columns, and its labels."""

import gzip
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from astray.errors import ConfigError
from astray.lab.simulate.recording import (
    ABSENT,
    EVENT,
    OUTCOMES,
    Agent,
    Recording,
    Session,
    Vocabulary,
)

SESSION_GAP_MS: Final = 30 * 60_000
_BYTES_MAX: Final = 1 << 53
# A number of this size or more counts smaller units than seconds: ms, then µs, then ns.
_MAGNITUDES: Final = ((1e17, 1e-6), (1e14, 1e-3), (1e11, 1.0), (0.0, 1e3))

_TS_MAX: Final = 1e19

SessionKey = tuple[str | None, str, str]  # tenant, agent, session


def read_lines(path: Path | str) -> list[bytes]:
    """Read the lines of a file, each with its line end; unpack it if its name ends in `.gz`."""
    content = Path(path).read_bytes()
    if str(path).endswith(".gz"):
        content = gzip.decompress(content)
    lines = io.BytesIO(content).readlines()
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    return lines


def read_labels(path: Path | str) -> dict[SessionKey, dict[str, Any]]:
    """Read labels by tenant, agent and session; the tenant is None where they have none.

    Raises ConfigError that names the line it cannot read.
    """
    labels: dict[SessionKey, dict[str, Any]] = {}
    for number, line in enumerate(read_lines(path), start=1):
        entry = _json_object(line)
        if entry is None or "session" not in entry or "agent" not in entry:
            raise ConfigError([f"{path}, line {number}: not a label with agent and session"])
        labels[entry.get("tenant") or None, entry["agent"], entry["session"]] = entry
    return labels


def epoch_ms(value: object) -> int | None:
    """Turn ISO-8601 or a number, its unit told by its size, into milliseconds since the epoch."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0, round(aware.timestamp() * 1000))
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _TS_MAX:
        return None
    return round(value * next(factor for least, factor in _MAGNITUDES if value >= least))


@dataclass
class Reader:
    """Takes events one by one and gives a recording of them.

    Events without a session belong to an unnamed one, which ends with half an hour of silence.
    """

    rows: list[tuple[int, ...]] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    agents: list[Agent] = field(default_factory=list)
    actions: Vocabulary[str] = field(default_factory=Vocabulary)
    resources: Vocabulary[tuple[str, ...]] = field(default_factory=Vocabulary)
    sources: Vocabulary[str] = field(default_factory=Vocabulary)
    principals: Vocabulary[str] = field(default_factory=Vocabulary)
    targets: Vocabulary[str] = field(default_factory=Vocabulary)
    _agent_numbers: dict[tuple[str | None, str], int] = field(default_factory=dict)
    _session_numbers: dict[SessionKey, int] = field(default_factory=dict)
    _unnamed_until_ms: dict[tuple[str | None, str], int] = field(default_factory=dict)

    def take(self, line: bytes) -> int | None:
        """Take in the event of a line; its time in milliseconds, or None if it is no event."""
        record = _json_object(line)
        if record is None:
            return None
        agent, action = _text(record, "agent"), _text(record, "action")
        ts_ms = epoch_ms(record.get("ts"))
        if agent is None or action is None or ts_ms is None:
            return None
        outcome = record.get("outcome")
        resources = _resources(record)
        self.rows.append(
            (
                ts_ms,
                self._session(record, agent, ts_ms),
                self.actions.add(action),
                self.resources.add(resources) if resources else ABSENT,
                OUTCOMES.index(outcome) if outcome in OUTCOMES else ABSENT,
                _optional(self.sources, _text(record, "source")),
                _optional(self.principals, _text(record, "principal")),
                _optional(self.targets, _text(record, "target_agent")),
                _size(record),
                False,
            )
        )
        return ts_ms

    def recording(self) -> Recording:
        """Everything taken in so far, in time order."""
        columns = np.array(self.rows, EVENT)
        return Recording(
            columns=columns[np.argsort(columns["ts_ms"], kind="stable")],
            sessions=self.sessions,
            agents=self.agents,
            actions=self.actions,
            resources=self.resources,
            sources=self.sources,
            principals=self.principals,
            targets=self.targets,
        )

    def _agent(self, record: dict[str, Any], name: str, tenant: str | None) -> int:
        if (tenant, name) not in self._agent_numbers:
            self._agent_numbers[tenant, name] = len(self.agents)
            group, kind = (_text(record, key) for key in ("group", "kind"))
            self.agents.append(Agent(name, group, kind, tenant))
        return self._agent_numbers[tenant, name]

    def _session(self, record: dict[str, Any], agent: str, ts_ms: int) -> int:
        name, tenant = _text(record, "session") or "", _text(record, "tenant")
        key = (tenant, agent, name)
        if not name:
            expired = ts_ms > self._unnamed_until_ms.get((tenant, agent), ts_ms)
            self._unnamed_until_ms[tenant, agent] = ts_ms + SESSION_GAP_MS
            if expired:
                del self._session_numbers[key]
        if key not in self._session_numbers:
            self._session_numbers[key] = len(self.sessions)
            self.sessions.append(Session(name, self._agent(record, agent, tenant), "test"))
        return self._session_numbers[key]


def running_times_ms(times_ms: Iterable[int | None]) -> Iterator[int]:
    """Give the latest time so far; what has no time stands with what came before it."""
    latest_ms = 0
    for time_ms in times_ms:
        latest_ms = latest_ms if time_ms is None else max(latest_ms, time_ms)
        yield latest_ms


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _text(record: dict[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) and value else None


def _optional(vocabulary: Vocabulary[str], text: str | None) -> int:
    return ABSENT if text is None else vocabulary.add(text)


def _size(record: dict[str, Any]) -> int:
    value = record.get("bytes")
    if not isinstance(value, int) or isinstance(value, bool):
        return ABSENT
    return value if 0 <= value < _BYTES_MAX else ABSENT


def _resources(record: dict[str, Any]) -> tuple[str, ...]:
    several = record.get("resources")
    listed = several if isinstance(several, list) else [record.get("resource")]
    return tuple(item for item in listed if isinstance(item, str) and item)
