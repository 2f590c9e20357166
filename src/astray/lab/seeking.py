"""An id looked up in recorded events: which event or session it is, and where it lies."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astray.errors import ConfigError
from astray.events import ANY_TIME_US, Chunk, Decoded, Event, clock, decode, known_event
from astray.events.ids import pair_ids, stable_id
from astray.flow.beginning import Beginning
from astray.flow.openfile import Place
from astray.flow.reading import Reading
from astray.flow.sources import Reader

NAMED_MAX = 5
"""So many of those that share an id are named."""

_OWNERS_MAX = 1000
_MILLI_US = 1000


class Kind(StrEnum):
    """What an id can be of."""

    EVENT = "event"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Sighting:
    """An event, with where it lies; `line` is as the source has it."""

    event: Event
    line: bytes
    source: str
    file: str
    offset: int
    session_key: int
    agent_key: int

    def is_before(self, place: Place) -> bool:
        """Return whether a source that was read up to a place has given it."""
        file = Path(self.file).name if place.file else ""
        return (file, self.offset) < (place.file, place.offset)


@dataclass(slots=True)
class Target:
    """What is to be explained: an event, or all events of a session of one name.

    An event that was delivered again has several sightings; the first of them counts.
    """

    id: str
    kind: Kind
    first: Sighting
    last: Sighting

    @property
    def session(self) -> str:
        """The session's name; empty where its events do not name it."""
        return self.first.event.session

    def owner(self) -> str:
        """Return whose it is, as people say it."""
        event = self.first.event
        tenant = f" of tenant {event.tenant}" if event.tenant else ""
        return f"{self.kind} of {event.agent}{tenant}"

    def has_session(self, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Return which rows of a chunk are of the same session, or of one of the same name."""
        ours = rows["agent"] == np.uint64(self.first.agent_key)
        return ours & (rows["session"] == np.uint64(self.first.session_key))


@dataclass(frozen=True, slots=True)
class Wanted:
    """An id as it was asked for; what is None may be anything."""

    id: str
    kind: Kind | None = None
    agent: str | None = None
    tenant: str | None = None

    def admits(self, kind: Kind, event: Event) -> bool:
        """Return whether an event, or the session that it is of, may be meant."""
        return (
            self.kind in (None, kind)
            and self.agent in (None, event.agent)
            and self.tenant in (None, event.tenant)
        )


def chunks_of(names: Sequence[str], paths: Mapping[str, Path]) -> Iterator[Chunk]:
    """Read sources from their beginning to their end.

    Raises
    ------
    SourceError
        One of them cannot be read to its end.
    """
    reading = Reading(paths=paths)
    reader = Reader(names, reading, {})
    while True:
        try:
            chunks = reader.next_batch()
        except StopIteration:
            break
        yield from chunks
    reading.raise_fault()


def seek(wanted: Wanted, beginning: Beginning) -> Target:
    """Return the one event or session that an id is of.

    Raises
    ------
    ConfigError
        There is none, or more than one.
    SourceError
        A source cannot be read to its end.
    """
    if wanted.id.encode(errors="replace").decode() != wanted.id:
        raise ConfigError(["the id is not UTF-8, as those of all events are"])
    found: dict[tuple[Kind, str, str], Target] = {}
    for chunk in chunks_of(beginning.names, beginning.paths):
        decoded = decode(chunk, ANY_TIME_US)
        for kind, rows in _matching(wanted.id, decoded):
            for row in rows.tolist():
                _note(wanted, kind, _sighting(decoded, row), found)
    if len(found) == 1:
        return next(iter(found.values()))
    raise ConfigError([_unclear(wanted, list(found.values()), beginning.names)])


def _matching(wanted: str, decoded: Decoded) -> Iterator[tuple[Kind, NDArray[np.intp]]]:
    """Return the rows of a chunk whose event, or whose session, has an id."""
    rows = decoded.rows
    if not len(rows):
        return
    name = np.full(len(rows), stable_id(wanted), np.uint64)
    yield Kind.EVENT, np.flatnonzero(rows["event"] == name)
    yield Kind.SESSION, np.flatnonzero(rows["session"] == pair_ids(rows["agent"], name))
    agent, _, start = wanted.rpartition("@")
    start_us = clock.iso_us(start) if agent else None
    if start_us is not None:  # a session that its events do not name: it is called by its start
        then = rows["ts_us"] // _MILLI_US == start_us // _MILLI_US
        name[:] = stable_id(agent)
        ours = rows["agent"] == pair_ids(rows["tenant"], name)
        yield Kind.SESSION, np.flatnonzero(then & ours & (rows["session"] == 0))


def _sighting(decoded: Decoded, row: int) -> Sighting:
    chunk, line, at = decoded.chunk, decoded.line(row), decoded.rows[row]
    event = known_event(line)
    return Sighting(
        event=event,
        line=line,
        source=chunk.source,
        file=chunk.origin,
        offset=chunk.offset + int(at["line_first"]),
        session_key=int(at["session"]),
        agent_key=int(at["agent"]),
    )


def _note(
    wanted: Wanted, kind: Kind, seen: Sighting, found: dict[tuple[Kind, str, str], Target]
) -> None:
    if not wanted.admits(kind, seen.event):
        return
    owner = (kind, seen.event.tenant, seen.event.agent)
    known = found.get(owner)
    if known is not None:
        known.last = seen
    elif len(found) < _OWNERS_MAX:
        found[owner] = Target(wanted.id, kind, seen, seen)


def _unclear(wanted: Wanted, found: Sequence[Target], names: Sequence[str]) -> str:
    """Return that an id is none, or of several, and what can be done."""
    narrowed = {"kind": wanted.kind, "agent": wanted.agent, "tenant": wanted.tenant}
    given = "".join(f", {name} {value}" for name, value in narrowed.items() if value is not None)
    if not found:
        places = ", ".join(names)
        return f"{wanted.id}{given}: no event and no session has this id in {places}"
    told = "; ".join(target.owner() for target in found[:NAMED_MAX])
    more = f"; and {len(found) - NAMED_MAX:,} more" if len(found) > NAMED_MAX else ""
    return (
        f"{wanted.id}{given}: means more than one thing: {told}{more}; "
        "say which with --kind, --agent or --tenant"
    )


def check_is_after(target: Target, beginning: Beginning) -> bool:
    """Return whether all of what is to be explained came after the beginning.

    A session may have begun before it: the state knows how it stood then.

    Raises
    ------
    ConfigError
        All of it came before.
    """
    last = target.first if target.kind is Kind.EVENT else target.last
    if _is_after(last, beginning):
        return _is_after(target.first, beginning)
    at = f"{last.source} read up to byte {beginning.places[last.source][1]:,}"
    raise ConfigError(
        [f"{target.id}: lies before {beginning.state} was kept, with {at}; take an earlier state"]
    )


def _is_after(seen: Sighting, beginning: Beginning) -> bool:
    place = beginning.places.get(seen.source)
    return place is None or not seen.is_before(Place(*place))
