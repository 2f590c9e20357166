"""Recordings and scores as columns."""

import gzip
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.config import Config, load_config
from astray.errors import SourceError
from astray.events import Event, Reject, parse_line
from astray.flow.naming import check_sources, files_in
from astray.lab.labels import Labels, label_of, labels_beside, read_labels
from astray.lab.outcomes import n_in_time
from astray.lab.replay import Replay, replay
from astray.lab.sessions import LEVELS, SessionScore
from astray.lab.table import Table

_MICROS = 1_000_000


@dataclass(frozen=True)
class Recording:
    """Files with events, and the answers if there are any."""

    paths: tuple[Path, ...]
    labels: Labels | None

    @cached_property
    def events(self) -> Table:
        """All events as columns, in the order in which they stand; other lines are left out.

        Raises
        ------
        SourceError
            A file cannot be read to its end.
        """
        now_us = int(time.time() * _MICROS)
        parsed = (parse_line(line, now_us) for path in self.paths for line in _lines(path))
        events = [event for event in parsed if not isinstance(event, Reject)]
        columns = {
            field.name: _column([getattr(event, field.name) for event in events])
            for field in fields(Event)
            if field.name != "ts_us"
        }
        return Table({"ts": _times(event.ts_us for event in events), **columns})

    @cached_property
    def answers(self) -> Table:
        """The labels as columns; without labels a table without rows."""
        labels = list((self.labels or {}).values())
        names = ("tenant", "agent", "session", "bad", "attack", "phase", "first_bad_event")
        columns = {name: [getattr(one, name) for one in labels] for name in names}
        columns["tenant"] = [tenant or "" for tenant in columns["tenant"]]
        return Table({name: _column(column) for name, column in columns.items()})


def read_recording(*paths: str | Path, labels: str | Path | None = None) -> Recording:
    """Return a recording: files, or directories of files, that belong together.

    Labels are those that are named, or those that lie beside the only path.

    Raises
    ------
    ConfigError
        A file is not there, is empty, or holds lines that are no labels: all are named.
    """
    given = tuple(map(Path, paths))
    check_sources(list(map(str, given)), follow=False)
    file = Path(labels) if labels is not None else None
    if file is None and len(given) == 1 and labels_beside(given[0]).is_file():
        file = labels_beside(given[0])
    return Recording(given, read_labels(file) if file else None)


def score(
    recording: Recording | str | Path, config: Config | Mapping[str, Any] | str | Path | None = None
) -> Table:
    """Return what became of every session when a recording is replayed, a row each.

    `config` is a file, or sections to lay over the defaults, as in
    `{"baseline": {"half_life_days": 7.0}}`. `bits_...` is what each statistic said when the
    session was at its oddest, `evidence` the sentences. Without a label `phase` is empty.

    Raises
    ------
    ConfigError
        The configuration or the recording cannot be used.
    SourceError
        The recording cannot be read to its end.
    """
    if not isinstance(recording, Recording):
        recording = read_recording(recording)
    result = replay(recording.paths, _config(config), recording.labels, explain=True)
    return _sessions(result, recording.labels or {})


def _config(config: Config | Mapping[str, Any] | str | Path | None) -> Config:
    if isinstance(config, Config):
        return config
    if isinstance(config, Mapping):
        return load_config(overrides=config)
    return load_config(Path(config) if config is not None else None)


def _sessions(result: Replay, labels: Labels) -> Table:
    sessions = result.sessions
    known = [label_of(labels, one.key) for one in sessions]
    both = list(zip(sessions, known, strict=True))
    columns: dict[str, Any] = {
        name: _column([getattr(session, name) for session in sessions])
        for name in ("tenant", "agent", "session", "events", "score", "n", "certified")
    }
    columns["start"] = _times(session.start_us for session in sessions)
    columns["end"] = _times(session.end_us for session in sessions)
    for level in LEVELS:
        name = f"{level:.0f}"
        columns[f"crossed_{name}"] = _column([one.crossed[name] or "" for one in sessions])
    columns["bad"] = np.array([label is not None and label.bad for label in known], np.bool_)
    for name in ("attack", "phase", "first_bad_event"):
        columns[name] = _column([getattr(label, name) if label else "" for label in known])
    in_time = [n_in_time(one, label, result.event_us) if label else 0.0 for one, label in both]
    columns["n_in_time"] = np.array(in_time, np.float64)
    return Table(columns | _reasons(result, sessions))


def _reasons(result: Replay, sessions: Sequence[SessionScore]) -> dict[str, Any]:
    why = result.explanations
    if why is None:
        return {}
    bits = [why.bits(one.key) for one in sessions]
    told = [(*one.wave, *(e.sentence for e in why.evidence(one.key))) for one in sessions]
    columns: dict[str, Any] = {
        f"bits_{name}": np.array([one[name] for one in bits], np.float64) for name in why.statistics
    }
    return columns | {"evidence": _objects(told)}


def _lines(path: Path) -> Iterator[bytes]:
    for file in files_in(path) if path.is_dir() else [path]:
        opened = gzip.open if file.suffix == ".gz" else open
        try:
            with opened(file, "rb") as lines:
                for line in lines:
                    if line.strip():
                        yield line.rstrip(b"\r\n")
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"{file}: cannot be read: {error}") from None


def _column(values: Sequence[Any]) -> NDArray[Any]:
    """Return values as an array; texts and tuples stay objects."""
    if values and isinstance(values[0], bool | int | float):
        return np.array(values)
    return _objects(values)


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _times(times_us: Iterable[int]) -> NDArray[Any]:
    return np.array(list(times_us), np.int64).astype("datetime64[us]")
