"""Records that wait until the window they belong to is ruled on.

A recording of a small fleet is read thousands of windows at a stroke, and all of them wait.
"""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush

from astray.baseline.records import Records


class Held:
    """Records by their windows, the earliest first; within one in the order they came."""

    def __init__(self) -> None:
        self._windows: dict[int, list[Records]] = {}
        self._order: list[int] = []  # a heap of the windows

    def __iter__(self) -> Iterator[Records]:
        """Return all of them; any thread may ask."""
        return (records for of_window in list(self._windows.values()) for records in of_window)

    @property
    def first_us(self) -> int | None:
        """The earliest window that something waits for."""
        return self._order[0] if self._order else None

    def put(self, records: Records) -> None:
        """Have records wait."""
        if records.window_us not in self._windows:
            self._windows[records.window_us] = []
            heappush(self._order, records.window_us)
        self._windows[records.window_us].append(records)

    def of(self, window_us: int) -> Sequence[Records]:
        """Return what waits for a window."""
        return self._windows.get(window_us, ())

    def take(self, until_us: int) -> list[Records]:
        """Return what has waited for windows up to this one; it waits no longer."""
        due: list[Records] = []
        while self._order and self._order[0] <= until_us:
            due += self._windows.pop(heappop(self._order))
        return due
