"""Alerts on their way out: from the case store to a file, to topics and to whoever watches.

The store numbers alerts as it records them. What a file has is marked in the store, and
after a crash between the writing and the marking the file's last line tells: each alert is
in it once.
"""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from astray.errors import AstrayError, ConfigError, SinkError
from astray.flow.linesfile import LinesFile
from astray.store import EVERYTHING, Lead, Store

STOP_S = 5.0
"""How long stopping waits for one who takes alerts and is stuck."""

BATCH_MAX = 500
"""So many are handed on at once: no more can be written and not marked."""

ALERT, DECISION = "alert", "decision"
"""What the store numbers, and hands on."""

_LOOK_EVERY_S = 1.0

Found = list[tuple[int, bytes]]
"""Alerts as (number, body)."""


class Taker(Protocol):
    """Takes what the store records: alerts, or something else that it numbers.

    `take` returns when it has it; until then, or an AstrayError, nothing more comes. After
    `end` it must return soon. `kind` is what it takes, and `mark` the name of the store's mark
    that tells how far it has come.
    """

    kind: str
    mark: str

    def written(self) -> int:
        """Return the number of the last that it has."""
        ...

    def read(self, after: int, limit: int) -> Found:
        """Return what is recorded after a number."""
        ...

    def take(self, found: Found) -> None:
        """Take what was found, and mark it."""
        ...

    def end(self) -> None:
        """Have it come to its end."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Alerts:
    """Hands on what the store records: to a file, to `show` and to takers of other kinds.

    Nobody waits for another.

    `show` is called with every alert recorded since the start, until it raises an OSError:
    then nobody watches any more. A file that cannot be written is tried again.
    """

    def __init__(
        self,
        store: Store,
        path: Path | None,
        show: Callable[[bytes], None],
        takers: Sequence[Taker] = (),
    ) -> None:
        files: list[Taker] = [] if path is None else [_AlertsFile(store, path)]
        marking = self._marking = [*files, *takers]
        self._store = store
        leads = [store.lead(f"handing on {place}") for place in range(len(marking))]
        watching = _Hand(_Watcher(store, show), may_be_stuck=True)
        self._hands = [watching, *map(_Hand, marking, leads)]

    def start(self) -> None:
        """Begin to hand on."""
        for hand in self._hands:
            hand.thread.start()

    def wake(self) -> None:
        """Look at once: called after something was recorded; any thread may."""
        for hand in self._hands:
            hand.woken.set()

    def handed(self, kind: str) -> int:
        """Return up to which number all who are to have what is called so have got it."""
        numbers = (self._store.mark(taker.mark) for taker in self._marking if taker.kind == kind)
        return min(numbers, default=EVERYTHING)

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
            hand.leave(until_s - time.monotonic())
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
    """Gives what is recorded to one who takes it, in order, on a thread of its own.

    Of several processes with one store only the one that has the `lead` does so.
    """

    def __init__(
        self, taker: Taker, lead: Lead | None = None, *, may_be_stuck: bool = False
    ) -> None:
        self._taker = taker
        self._lead = lead
        self._may_be_stuck = may_be_stuck
        self._after: int | None = None
        self._leads()  # what cannot be taken is said before anything runs
        self.fault: AstrayError | None = None
        self.woken = threading.Event()
        self._ending = threading.Event()
        self.thread = threading.Thread(target=self._run, name="astray-alerts", daemon=True)

    def end(self) -> None:
        """Have it give what there is, and end."""
        self._ending.set()
        self._taker.end()
        self.woken.set()

    def leave(self, timeout_s: float) -> None:
        """Wait for its end; one who is stuck is left alone."""
        if self.thread.is_alive():
            self.thread.join(max(timeout_s, 0.0))
        if not self.thread.is_alive():
            self._taker.close()
            if self._lead is not None:
                self._lead.release()
        elif not self._may_be_stuck:
            self.fault = SinkError("alerts: not all could be handed on before the end")

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
            while self._leads() and (found := self._taker.read(self._after or 0, BATCH_MAX)):
                self._taker.take(found)
                self._after = found[-1][0]
        except AstrayError as error:  # tried again at the next look
            self.fault = error
        else:
            self.fault = None

    def _leads(self) -> bool:
        """Return whether it is ours to give; when it has become so, others have given before."""
        if self._lead is not None and not self._lead.is_held():
            self._after = None
        elif self._after is None:
            self._after = self._taker.written()
        return self._after is not None


class _Watcher:
    """Shows alerts while there is somebody to see them."""

    kind = ALERT
    mark = ""  # whoever looks on is not waited for

    def __init__(self, store: Store, show: Callable[[bytes], None]) -> None:
        self.read = store.alerts_after
        self._latest = _latest(store)
        self._show = show
        self._is_there = True

    def written(self) -> int:
        """Return the number of the last alert there was: what comes after it is new."""
        return self._latest

    def take(self, found: Found) -> None:
        """Show alerts."""
        for _, body in found:
            if not self._is_there:
                return
            try:
                self._show(body)
            except OSError:  # the other end of a pipe is gone
                self._is_there = False

    def end(self) -> None:
        """Come to no end: whoever is stuck is left alone."""

    def close(self) -> None:
        """Hold nothing."""


class _AlertsFile:
    """The file of alerts, one a line; it is opened by the process whose turn it is."""

    kind = ALERT

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self.read = store.alerts_after
        self._path = path
        self.mark = f"alerts:{path.absolute()}"
        self._opened: LinesFile | None = None
        self._written = 0

    def written(self) -> int:
        """Open the file, and return the number of the last alert that is in it."""
        self.close()
        marked = self._store.mark(self.mark)
        last = self._file().last()
        recent = self._store.alerts_after(marked, BATCH_MAX)
        self._written = next((number for number, body in recent if body == last), marked)
        return self._written

    def _file(self) -> LinesFile:
        try:
            self._opened = self._opened or LinesFile(self._path)
        except OSError as error:
            raise self._problem(error) from None
        return self._opened

    def take(self, found: Found) -> None:
        """Write alerts, then mark them as written."""
        fresh = [body + b"\n" for sequence, body in found if sequence > self._written]
        file = self._file()
        try:
            file.append(b"".join(fresh))
            file.sync()
        except OSError as error:
            raise self._problem(error) from None
        self._written = found[-1][0]  # whether or not it can be marked
        self._store.set_mark(self.mark, self._written)

    def end(self) -> None:
        """Come to its end by itself: a file does not wait."""

    def close(self) -> None:
        """Close the file."""
        if self._opened is not None:
            self._opened.close()
        self._opened = None

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
