"""Alerts on their way out: from the case store to a file and to whoever watches.

The store numbers alerts as it records them. What a file has is marked in the store, and
after a crash between the writing and the marking the file's last line tells: each alert is
in it once.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from astray.errors import AstrayError, ConfigError
from astray.flow.linesfile import LinesFile
from astray.store import Store

STOP_S = 5.0
"""How long stopping waits for one who takes alerts and is stuck."""

_BATCH = 500
_LOOK_EVERY_S = 1.0

Found = list[tuple[int, bytes]]
"""Alerts as (number, body)."""


class Alerts:
    """Hands on what the store records, to a file and to `show`; nobody waits for the other.

    `show` is called with every alert recorded since the start, until it raises an OSError:
    then nobody watches any more. A file that cannot be written is tried again.
    """

    def __init__(self, store: Store, path: Path | None, show: Callable[[bytes], None]) -> None:
        self._hands = [_Hand(store, _Watcher(show).take, _latest(store))]
        self._file: _AlertsFile | None = None
        if path is not None:
            self._file = _AlertsFile(store, path)
            self._hands.append(_Hand(store, self._file.take, self._file.written))

    def start(self) -> None:
        """Begin to hand on."""
        for hand in self._hands:
            hand.thread.start()

    def wake(self) -> None:
        """Look at once: called after something was recorded; any thread may."""
        for hand in self._hands:
            hand.woken.set()

    def stop(self) -> None:
        """Hand on what there is, then end.

        Raises
        ------
        AstrayError
            Alerts could not be written. The store has them, and the next start goes on.
        """
        until_s = time.monotonic() + STOP_S
        for hand in self._hands:
            hand.end()
        for hand in self._hands:
            hand.join(until_s - time.monotonic())
        if self._file is not None and not self._hands[-1].thread.is_alive():
            self._file.close()
        for hand in self._hands:
            if hand.fault is not None:
                raise hand.fault

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        except AstrayError:
            if error is None:  # otherwise there is worse to tell
                raise


class _Hand:
    """Gives alerts to one who takes them, in order, on a thread of its own."""

    def __init__(self, store: Store, take: Callable[[Found], None], after: int) -> None:
        self._store = store
        self._take = take
        self._after = after
        self.fault: AstrayError | None = None
        self.woken = threading.Event()
        self._ending = threading.Event()
        self.thread = threading.Thread(target=self._run, name="astray-alerts", daemon=True)

    def end(self) -> None:
        """Have it give what there is, and end."""
        self._ending.set()
        self.woken.set()

    def join(self, timeout_s: float) -> None:
        """Wait for its end."""
        if self.thread.is_alive():
            self.thread.join(max(timeout_s, 0.0))

    def _run(self) -> None:
        ending = False
        while not ending:
            ending = self._ending.is_set()  # before looking: what was recorded until then is seen
            self._give()
            if not ending:
                self.woken.wait(_LOOK_EVERY_S)
                self.woken.clear()

    def _give(self) -> None:
        try:
            while found := self._store.alerts_after(self._after, _BATCH):
                self._take(found)
                self._after = found[-1][0]
        except AstrayError as error:  # tried again at the next look
            self.fault = error
        else:
            self.fault = None


class _Watcher:
    """Shows alerts while there is somebody to see them."""

    def __init__(self, show: Callable[[bytes], None]) -> None:
        self._show = show
        self._is_there = True

    def take(self, found: Found) -> None:
        """Show alerts."""
        for _, body in found:
            if not self._is_there:
                return
            try:
                self._show(body)
            except OSError:  # the other end of a pipe is gone
                self._is_there = False


class _AlertsFile:
    """The file of alerts, one a line."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._path = path
        self._name = f"alerts:{path.absolute()}"
        try:
            self._file = LinesFile(path)
        except OSError as error:
            raise self._problem(error) from None
        self.written = self._resume()

    def _resume(self) -> int:
        """Return the number of the last alert that is in the file."""
        marked = self._store.mark(self._name)
        last = self._file.last()
        for sequence, body in self._store.alerts_after(marked, _BATCH):
            if body == last:
                return sequence
        return marked

    def take(self, found: Found) -> None:
        """Write alerts, then mark them as written."""
        fresh = [body + b"\n" for sequence, body in found if sequence > self.written]
        try:
            self._file.append(b"".join(fresh))
            self._file.sync()
        except OSError as error:
            raise self._problem(error) from None
        self.written = found[-1][0]  # whether or not it can be marked
        self._store.set_mark(self._name, self.written)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _problem(self, error: OSError) -> ConfigError:
        return ConfigError([f"{self._path}: alerts cannot be written: {error.strerror}"])


def _latest(store: Store) -> int:
    """Return the number of the last alert, without reading all of them."""
    low, high = 0, 1
    while store.alerts_after(high, 1):
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if store.alerts_after(middle, 1) else (low, middle)
    return low
