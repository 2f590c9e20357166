"""Bytes to columns: a chunk of lines becomes events and rejects; never an exception.

Every byte of a chunk belongs to an event, to a reject or to a blank line.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.events.columns import EVENT, Rows
from astray.events.ids import ABSENT, pair_ids, stable_ids
from astray.events.lines import Lines, copied, count_lines
from astray.events.parse import parse_line
from astray.events.places import RESOURCE, resources_of
from astray.events.scan import PLAIN, UNSURE, scan
from astray.events.schema import (
    FUTURE_US_MAX,
    KINDS,
    OUTCOMES,
    Event,
    Reason,
    Reject,
)

_TEXTS = (
    "tenant", "agent", "group", "session", "action", "source", "principal", "callee", "event",
)  # fmt: skip
_RESOURCE_BYTES_MIN = 3
"""The shortest resource in a line: two quotes and a comma or bracket."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One poll's worth of whole lines, each ended by a line break, as the source gave them.

    `origin` is the file the lines are in, where a source has several; `offset` is the place
    of the first byte in it.

    A line longer than a source's buffer comes in several chunks, each a `fragment` of it. A
    source that has ended, or waits for more, says with an empty chunk that it is `silent`.
    `messages`, where lines were messages, is what the source needs to find them again.
    """

    source: str
    offset: int
    data: bytes = field(repr=False)
    fragment: bool = False
    silent: bool = False
    origin: str = ""
    messages: Any = field(default=None, repr=False, compare=False)

    @property
    def is_last(self) -> bool:
        """Whether it is of no source: a reader's last word when it was asked to stop."""
        return not self.source


@dataclass(frozen=True, slots=True)
class Decoded:
    """The events of a chunk in line order, and what was not an event.

    A chunk of verdicts has no events, but `judgements` (`baseline.judgement`).
    """

    chunk: Chunk
    rows: Rows
    resources: NDArray[Any]
    rejects: tuple[Reject, ...]
    judgements: tuple[Any, ...] = ()

    def line(self, row: int) -> bytes:
        """Return the bytes of one event, without the line break."""
        return self.chunk.data[self.rows["line_first"][row] : self.rows["line_end"][row]]

    def texts(self, places: NDArray[np.integer[Any]]) -> list[bytes]:
        """Return the bytes of the events at these places, without line breaks."""
        data, rows = self.chunk.data, self.rows
        edges = zip(
            rows["line_first"][places].tolist(), rows["line_end"][places].tolist(), strict=True
        )
        return [data[first:end] for first, end in edges]

    def lines(self, places: NDArray[np.intp]) -> Lines:
        """Return the lines of the events at these places."""
        first, end = self.rows["line_first"][places], self.rows["line_end"][places]
        return copied(self.chunk.data, first.astype(np.int64), end.astype(np.int64))

    def only(self, places: NDArray[np.intp]) -> "Decoded":
        """Return the events at these places with nothing else of the chunk."""
        rows = self.rows.take(places)  # ten times as fast as an index where there are fields
        lines = self.lines(places)
        counts = rows["resource_count"]
        last = np.cumsum(counts)
        within = np.arange(counts.sum()) - np.repeat(last - counts, counts)
        resources = self.resources.take(np.repeat(rows["resource_first"], counts) + within)
        rows["resource_first"] = last - counts
        rows["line_first"], rows["line_end"] = lines.first, lines.end
        chunk = replace(self.chunk, offset=0, data=lines.data, messages=None)
        return Decoded(chunk, rows, resources, ())


def decode(chunk: Chunk, now_us: int) -> Decoded:
    """Decode a chunk; `now_us` is the wall clock, which refuses times in the far future."""
    if chunk.fragment:
        reject = Reject(Reason.OVERSIZED, "", chunk.offset, chunk.data)
        return Decoded(chunk, np.zeros(0, EVENT), np.zeros(0, RESOURCE), (reject,))
    data = np.frombuffer(chunk.data, np.uint8)
    lines = count_lines(data)
    rows = np.zeros(lines, EVENT)
    resources = np.empty(len(chunk.data) // _RESOURCE_BYTES_MIN, RESOURCE)
    found = np.empty(lines, np.uint8)
    with np.errstate(over="ignore"):  # only the interpreted form warns; wrapping is meant
        used = scan(data, now_us + FUTURE_US_MAX, rows, resources, found)
    unsure = np.flatnonzero(found == UNSURE)
    if not len(unsure):
        whole = rows if found.all() else rows[found == PLAIN]
        return Decoded(chunk, whole, resources[:used], ())
    return _with_unsure(chunk, now_us, rows, resources[:used], found, unsure)


def _with_unsure(
    chunk: Chunk,
    now_us: int,
    rows: Rows,
    resources: NDArray[Any],
    found: NDArray[np.uint8],
    unsure: NDArray[np.intp],
) -> Decoded:
    """Let the parser read the lines that the scanner left to it."""
    events, rejects = [], []
    for row in unsure.tolist():
        first, end = int(rows["line_first"][row]), int(rows["line_end"][row])
        event = parse_line(chunk.data[first:end], now_us, chunk.offset + first)
        if isinstance(event, Reject):
            rejects.append(event)
        else:
            events.append(event)
            found[row] = PLAIN
    parsed = unsure[found[unsure] == PLAIN]
    more_rows, more_resources = rows_of(events, len(resources))
    for name in ("line_first", "line_end"):
        more_rows[name] = rows[name][parsed]
    rows[parsed] = more_rows
    return Decoded(
        chunk, rows[found == PLAIN], np.concatenate((resources, more_resources)), tuple(rejects)
    )


def rows_of(events: Sequence[Event], resource_first: int = 0) -> tuple[Rows, NDArray[Any]]:
    """Return events as rows and resources, exactly as the scanner writes them.

    The rows have no place in a chunk; their resources are counted from `resource_first`.
    """
    rows = np.zeros(len(events), EVENT)
    rows["ts_us"] = [event.ts_us for event in events]
    rows["bytes"] = [event.bytes for event in events]
    rows["count"] = [event.count for event in events]
    rows["depth"] = [event.delegation_depth for event in events]
    rows["kind"] = [KINDS.index(event.kind) for event in events]
    rows["outcome"] = [OUTCOMES.index(event.outcome) for event in events]
    rows["session_end"] = [event.session_end for event in events]
    for name in _TEXTS:
        field = "event_id" if name == "event" else "target_agent" if name == "callee" else name
        rows[name] = stable_ids([getattr(event, field) for event in events])
    rows["agent"] = pair_ids(rows["tenant"], rows["agent"])
    grouped, named = rows["group"] != ABSENT, rows["session"] != ABSENT
    rows["group"][grouped] = pair_ids(rows["tenant"][grouped], rows["group"][grouped])
    rows["session"][named] = pair_ids(rows["agent"][named], rows["session"][named])
    rows["resource_count"] = [len(event.resources) for event in events]
    ends = np.cumsum(rows["resource_count"])
    rows["resource_first"] = resource_first + ends - rows["resource_count"]
    return rows, resources_of([text for event in events for text in event.resources])
