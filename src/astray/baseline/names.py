"""Whose the sessions are that may leave quarantine: the core knows ids, and an audit wants names.

A line of a session is kept from its first report on. When the session ends it goes, unless the
session is kept and may still be learnt: then what it says of whose session it is stays.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from astray.baseline.buffers import UNITS
from astray.baseline.keeping import kept_rows
from astray.baseline.memory import Memory
from astray.events import Event, encode_event, known_names

NAMES_MAX: Final = 1 << 16
"""Beyond so many, what needs no name any more is looked for at every turn, and not once a day."""

LINE_BYTES_MAX: Final = 2048
"""Of a longer line only the names are kept from the beginning."""

_ACTION = "session"
_ENDED = -1

Named = tuple[int, int]
"""A session: its key, and when it began."""


class Names:
    """Lines with the names of reported sessions that are open, or kept and have taught little."""

    def __init__(self) -> None:
        self._lines: dict[Named, bytes] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def hear(self, memory: Memory, rows: NDArray[Any], lines: Sequence[bytes]) -> None:
        """Take what was reported (rows of `buffers.RECORD`) since this was called before."""
        live = np.flatnonzero(rows["row"] >= 0)  # what is rehearsed is nobody's
        for named, place in zip(_named(rows, live), live.tolist(), strict=True):
            if named not in self._lines:
                line = lines[place]
                is_long = len(line) > LINE_BYTES_MAX
                self._lines[named] = _names_in(line, named[1]) if is_long else line
        ended = np.flatnonzero(rows["row"] == _ENDED)
        gone = self._lines.keys() & _named(rows, ended) if self._lines else set()
        waiting = _waiting_of(memory, len(ended)) if gone else set()
        for named in gone:
            line = self._lines.pop(named)
            if named in waiting:
                self._lines[named] = _names_in(line, named[1])

    def line_of(self, session: int, start_us: int) -> bytes:
        """Return a line that has the names of a session; empty where none is known."""
        return self._lines.get((session, start_us), b"")

    def forget(self, memory: Memory) -> None:
        """Forget those that are neither open nor kept any more."""
        keys = np.array([session for session, _ in self._lines], np.uint64)
        staying: set[Named] = set()
        for rows in (memory.sessions, kept_rows(memory)):
            staying |= _open(rows, np.flatnonzero(np.isin(rows["key"], keys)))
        self._lines = {named: line for named, line in self._lines.items() if named in staying}

    def dump(self) -> list[Any]:
        """Return everything as JSON; what has become an event is UTF-8."""
        return [[*named, self._lines[named].decode()] for named in sorted(self._lines)]

    def load(self, dumped: Iterable[Any]) -> None:
        """Take what was dumped."""
        self._lines = {(session, start_us): line.encode() for session, start_us, line in dumped}


def _waiting_of(memory: Memory, count: int) -> set[Named]:
    """Return those of the sessions kept last that have not been learnt like any other."""
    rows = kept_rows(memory)[-count:]
    return _open(rows, np.flatnonzero(rows["units"] < UNITS))


def _open(rows: NDArray[Any], places: NDArray[np.intp]) -> set[Named]:
    """Return which sessions these rows of the memory are."""
    keys, started_us = rows["key"][places].tolist(), rows["start_us"][places].tolist()
    return set(zip(keys, started_us, strict=True))


def _named(rows: NDArray[Any], places: NDArray[np.intp]) -> list[Named]:
    """Return which sessions these records are."""
    keys, started_us = rows["session"][places].tolist(), rows["start_us"][places].tolist()
    return list(zip(keys, started_us, strict=True))


def _names_in(line: bytes, start_us: int) -> bytes:
    """Return a line that says of an event only whose it was: the same for all of a session."""
    names = known_names(line)
    of = (start_us, names.agent, _ACTION)
    return encode_event(Event(*of, session=names.session, tenant=names.tenant))
