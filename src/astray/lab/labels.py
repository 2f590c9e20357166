"""The answers of a recording: one labelled session a line."""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from astray.errors import ConfigError

PROBLEMS_MAX = 20
"""Bad lines that are named; further ones are counted."""

Key = tuple[str, str, str]
"""A session by its tenant, its agent and its name; the tenant is empty where events have none."""


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of a session. `phase` is "warmup" or "test"; tests are measured.

    `tenant` is None where labels say nothing of tenants: then it is whatever tenant's.
    """

    session: str
    agent: str
    bad: bool
    attack: str
    phase: str
    first_bad_event: str
    tenant: str | None = None

    @property
    def key(self) -> tuple[str | None, str, str]:
        """Return what session it is of."""
        return self.tenant, self.agent, self.session


Labels = Mapping[tuple[str | None, str, str], Label]
"""Labels by their keys."""


def label_of(labels: Labels, key: Key) -> Label | None:
    """Return the label of a session: its tenant's, or one that is whatever tenant's."""
    label = labels.get(key)
    return labels.get((None, *key[1:])) if label is None else label


def read_labels(path: Path) -> dict[tuple[str | None, str, str], Label]:
    """Return the labels of a file by tenant, agent and session.

    Where a line names a tenant, those that do not are of the sessions that have none.

    Raises
    ------
    ConfigError
        The file is not there or not readable, or lines of it are no labels: all are named.
    """
    labels, problems = list[Label](), list[str]()
    for number, line in _lines(path):
        label = _label(line)
        if isinstance(label, str):
            problems.append(f"{path}:{number}: not a label: {label}")
        else:
            labels.append(label)
    if problems:
        more = len(problems) - PROBLEMS_MAX
        also = [f"{path}: and {more:,} more such lines"] if more > 0 else []
        raise ConfigError([*problems[:PROBLEMS_MAX], *also])
    if any(label.tenant is not None for label in labels):
        labels = [replace(label, tenant=label.tenant or "") for label in labels]
    return {label.key: label for label in labels}


def labels_beside(events: Path) -> Path:
    """Return where the labels of a recording are, by the names that `astray simulate` gives.

    >>> labels_beside(Path("data/fleet.events.jsonl.gz")).name
    'fleet.labels.jsonl.gz'
    >>> labels_beside(Path("fleet.jsonl")).name
    'fleet.labels.jsonl'
    """
    suffix = ".jsonl.gz" if events.name.endswith(".gz") else ".jsonl"
    stem = events.name.removesuffix(suffix).removesuffix(".events")
    return events.with_name(f"{stem}.labels{suffix}")


def _label(line: bytes) -> Label | str:
    """Return the label in a line, or what is wrong with it."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return "not JSON"
    if not isinstance(record, dict):
        return "not an object"
    for name in ("session", "agent"):
        if not isinstance(record.get(name), str):
            return f"{name} is not a text"
    for name in ("attack", "phase", "first_bad_event", "tenant"):
        if not isinstance(record.get(name), str | None):
            return f"{name} is neither a text nor null"
    if record.get("label") not in (0, 1):
        return "label is neither 0 nor 1"
    return Label(
        session=record["session"],
        agent=record["agent"],
        bad=bool(record["label"]),
        attack=record.get("attack") or "",
        phase=record.get("phase") or "test",
        first_bad_event=record.get("first_bad_event") or "",
        tenant=record.get("tenant"),
    )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError([f"{path}: cannot be read: {reason}"]) from None
