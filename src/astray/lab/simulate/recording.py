"""Events as columns, the sessions they belong to, and the two files they are written to."""

import gzip
import io
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Generic, NamedTuple, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Columns = NDArray[np.void]
Item = TypeVar("Item", bound=Hashable)

ABSENT: Final = -1
OUTCOMES: Final = ("success", "failure", "denied", "unknown")
SUCCESS, FAILURE, DENIED, UNKNOWN = range(4)
REFUSAL_BYTES_MAX: Final = 350  # what comes back from a call that did not succeed

# Strings are numbers into a vocabulary, ABSENT where an event lacks the field. `bad` is the
# truth about an event: it goes into the labels, never into the events.
EVENT: Final = np.dtype(
    [
        ("ts_ms", np.int64),
        ("session", np.int32),
        ("action", np.int32),
        ("resource", np.int32),
        ("outcome", np.int8),
        ("source", np.int32),
        ("principal", np.int32),
        ("target", np.int32),
        ("bytes", np.int64),
        ("bad", np.bool_),
    ]
)


class Vocabulary(Generic[Item]):
    """Distinct items, numbered in the order of their arrival."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self.items = list(items)
        self._numbers = {item: number for number, item in enumerate(self.items)}

    def add(self, item: Item) -> int:
        """Return the number of `item`, which is taken in if it is new."""
        number = self._numbers.setdefault(item, len(self.items))
        if number == len(self.items):
            self.items.append(item)
        return number

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Item:
        return self.items[number]


class Agent(NamedTuple):
    """An identity and what every event of it says; None where the recording does not tell."""

    name: str
    group: str | None = None
    kind: str | None = None
    tenant: str | None = None


class Session(NamedTuple):
    """A session and the truth about it; the name is empty where events carry none."""

    name: str
    agent: int
    phase: str
    known_task: int | None = None
    attack: str | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """Events in time order, as columns of type `EVENT`, with the vocabularies they refer to."""

    columns: Columns
    sessions: list[Session]
    agents: list[Agent]
    actions: Vocabulary[str]
    resources: Vocabulary[tuple[str, ...]]
    sources: Vocabulary[str]
    principals: Vocabulary[str]
    targets: Vocabulary[str]
    id_prefix: str = "e"

    @property
    def events(self) -> int:
        """The number of events."""
        return len(self.columns)

    def event_id(self, row: int) -> str:
        """Return the id of the event in `row`."""
        return f"{self.id_prefix}{row:07d}"

    @property
    def labels(self) -> list[dict[str, Any]]:
        """The truth, one entry per session that has events, in order of their first events."""
        first_bad = first_rows(self.columns["session"], np.flatnonzero(self.columns["bad"]))
        seen = first_rows(self.columns["session"], np.arange(self.events))
        return [label(self, number, first_bad.get(number)) for number in seen]


def label(recording: Recording, number: int, first_bad: int | None) -> dict[str, Any]:
    """Label session `number`, whose first malicious event stands in row `first_bad`."""
    session = recording.sessions[number]
    agent = recording.agents[session.agent]
    return {
        "session": session.name,
        "agent": agent.name,
        **({} if agent.tenant is None else {"tenant": agent.tenant}),
        "label": int(session.attack is not None),
        "attack": session.attack,
        "phase": session.phase,
        "known_task": session.known_task,
        "first_bad_event": None if first_bad is None else recording.event_id(first_bad),
    }


def first_rows(sessions: Ints, rows: Ints) -> dict[int, int]:
    """Find the first of `rows` in each session, sessions in the order of those rows."""
    numbers, at = np.unique(sessions[rows], return_index=True)
    order = np.argsort(at)
    return dict(zip(numbers[order].tolist(), rows[at[order]].tolist(), strict=True))


def in_time_order(*parts: Columns) -> Columns:
    """Merge the events of all `parts` by time; at equal times an earlier part comes first."""
    columns = np.concatenate(parts)
    return columns[np.argsort(columns["ts_ms"], kind="stable")]


def write(recording: Recording, events_path: Path | str, labels_path: Path | str) -> None:
    """Write both files as JSON lines, compressed where the name ends in `.gz`.

    Equal recordings give equal bytes. Raises OSError when a file cannot be written.
    """
    with created(events_path) as file:
        file.writelines(event_lines(recording))
    with created(labels_path) as file:
        file.writelines(map(json_line, recording.labels))


@contextmanager
def created(path: Path | str) -> Iterator[BinaryIO]:
    """Create the file at `path`; gzip without a clock in its header if the name ends in `.gz`."""
    with Path(path).open("wb", buffering=1 << 20) as plain:
        if not str(path).endswith(".gz"):
            yield plain
            return
        with (
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=plain, mtime=0) as packed,
            io.BufferedWriter(packed, 1 << 20) as buffered,
        ):
            yield buffered


def json_line(record: dict[str, Any]) -> bytes:
    """One line of JSON."""
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def event_lines(recording: Recording) -> Iterator[bytes]:
    """Every event in its native form, one line each.

    This is the one loop that runs per event in Python, so everything that repeats is encoded
    beforehand: a line is a join of ready fragments.
    """
    columns = recording.columns
    names: dict[str, list[str]] = {
        "session": _session_fragments(recording),
        "action": _fragments("action", recording.actions.items),
        "resource": [*map(_resource_fragment, recording.resources.items), ""],
        "outcome": _fragments("outcome", OUTCOMES),
        "source": _fragments("source", recording.sources.items),
        "principal": _fragments("principal", recording.principals.items),
        "target": _fragments("target_agent", recording.targets.items),
    }
    fragments = [map(table.__getitem__, columns[name].tolist()) for name, table in names.items()]
    numbered = enumerate(zip(columns["ts_ms"].tolist(), columns["bytes"].tolist(), strict=True))
    prefix = recording.id_prefix
    for (row, (ts_ms, size)), parts in zip(numbered, zip(*fragments, strict=True), strict=True):
        tail = f',"bytes":{size}}}\n' if size >= 0 else "}\n"
        line = f'{{"ts":{ts_ms / 1000:.3f},"event_id":"{prefix}{row:07d}"{"".join(parts)}{tail}'
        yield line.encode()


def _fragment(key: str, value: object) -> str:
    return f',"{key}":{orjson.dumps(value).decode()}'


def _fragments(key: str, values: Iterable[str]) -> list[str]:
    # The last fragment is empty: ABSENT is -1 and finds it.
    return [*(_fragment(key, value) for value in values), ""]


def _resource_fragment(resources: tuple[str, ...]) -> str:
    if len(resources) == 1:
        return _fragment("resource", resources[0])
    return _fragment("resources", resources)


def _session_fragments(recording: Recording) -> list[str]:
    agents = [
        "".join(_fragment(key, value) for key, value in pairs if value is not None)
        for agent in recording.agents
        for pairs in [zip(("agent", "group", "kind", "tenant"), agent, strict=True)]
    ]
    return [
        agents[session.agent] + (_fragment("session", session.name) if session.name else "")
        for session in recording.sessions
    ]
