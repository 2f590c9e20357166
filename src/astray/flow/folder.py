"""A directory of files of events, which is listed anew only when something in it may have changed.

A file's end is the moment to look for the one after it. With a listing at each of them, a year
of hourly files takes longer to list than to read.
"""

import time
from bisect import bisect_left, bisect_right
from pathlib import Path

from astray.flow.naming import names_in

_LISTED_FOR_S = 1.0
"""So long a listing holds at most: some file systems do not tell that a directory has changed."""

_SETTLED_S = 2.0
"""A change so close before a listing may hide another, under the same coarse time, after it."""


class Folder:
    """The names of the files of events in a directory, in their order.

    Raises
    ------
    SourceError
        The directory cannot be read; so does every method.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: list[str] = []
        self._changed_ns = -1
        self._until_s = 0.0

    def names(self) -> list[str]:
        """Return all names."""
        now_s = time.monotonic()
        changed_ns = self._change_ns()
        if now_s >= self._until_s or changed_ns != self._changed_ns:
            self._names = names_in(self.path)
            self._changed_ns = changed_ns
            is_settled = abs(time.time_ns() - changed_ns) > _SETTLED_S * 1e9
            self._until_s = now_s + (_LISTED_FOR_S if is_settled else 0.0)
        return self._names

    def first(self, name: str) -> str | None:
        """Return a name that is there, or the first after it."""
        names = self.names()
        at = bisect_left(names, name)
        return names[at] if at < len(names) else None

    def after(self, name: str) -> str | None:
        """Return the first name after one."""
        names = self.names()
        at = bisect_right(names, name)
        return names[at] if at < len(names) else None

    def _change_ns(self) -> int:
        """Return when something was added to it or removed; -1: listing will tell."""
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return -1
