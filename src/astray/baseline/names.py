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
        waiting: set[Named] | None = None
        places = np.flatnonzero(rows["row"] >= _ENDED)  # what is rehearsed is nobody's
        columns = (rows[name][places].tolist() for name in ("row", "session", "start_us"))
        for place, row, session, start_us in zip(places.tolist(), *columns, strict=True):
            if row == _ENDED and not self._lines:
                continue
            named = session, start_us
            if row >= 0 and named not in self._lines:
                line = lines[place]
                is_long = len(line) > LINE_BYTES_MAX
                self._lines[named] = _names_in(line, start_us) if is_long else line
            elif row == _ENDED and named in self._lines:
                if waiting is None:
                    waiting = _waiting_of(memory, int(np.count_nonzero(rows["row"] == _ENDED)))
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
            staying |= _named(rows[np.isin(rows["key"], keys)])
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
    places = np.flatnonzero(rows["units"] < UNITS)
    return _named(rows[places]) if len(places) else set()


def _named(rows: NDArray[Any]) -> set[Named]:
    return set(zip(rows["key"].tolist(), rows["start_us"].tolist(), strict=True))


def _names_in(line: bytes, start_us: int) -> bytes:
    """Return a line that says of an event only whose it was: the same for all of a session."""
    names = known_names(line)
    of = (start_us, names.agent, _ACTION)
    return encode_event(Event(*of, session=names.session, tenant=names.tenant))
