"""Work that goes on beside the run, on a thread of its own, from entering to leaving."""

import threading
from types import TracebackType
from typing import Self

_STOP_S = 5.0


class Background:
    """Enter it to have `_run` run on a thread; leaving asks it to end, and waits a bounded while.

    `_run` looks at `_ending`, and may wait on it.
    """

    def __init__(self, name: str, stop_s: float = _STOP_S) -> None:
        self._stop_s = stop_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        """Do the work; called on the thread."""
        raise NotImplementedError

    def _is_wanted(self) -> bool:
        """Return whether there is anything to do at all."""
        return True

    def _wake(self) -> None:
        """Have the thread look at `_ending`, where it waits for something else."""

    def _leave(self) -> None:
        """Give back what is held, once the thread has ended or has been given up."""

    def __enter__(self) -> Self:
        if self._is_wanted():
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(self._stop_s)
        self._leave()
