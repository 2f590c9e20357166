"""The signals by which people and machines ask a process to stop."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_STOPS = (signal.SIGTERM, signal.SIGINT)
_SAID = b"asked to stop before anything was begun\n"
_STDERR = 2


def end_at_once() -> None:
    """End this process well at the first SIGTERM or SIGINT, until somebody else heeds them.

    For a process that is still being loaded, and has nothing to bring to an end: no exception
    that some module's import might take for its own.
    """

    def end(_: int, __: FrameType | None) -> None:
        end_unbegun()

    for number in _STOPS:
        signal.signal(number, end)


def end_unbegun() -> NoReturn:
    """End this process well, here and now: it has nothing to bring to an end."""
    os.write(_STDERR, _SAID)
    os._exit(0)


@contextmanager
def asked_beside(heed: Callable[[], None]) -> Iterator[None]:
    """Have a function called at each SIGTERM and SIGINT on a thread of its own.

    For when the main thread is in the engine and runs no Python, so that whoever takes its
    signals (`asked_to_stop`) is not called. Only the main thread can ask for this; on any other
    nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def listen() -> None:
        with os.fdopen(reader, "rb", buffering=0) as signals:
            while number := signals.read(1):
                if number[0] in _STOPS:
                    heed()

    threading.Thread(target=listen, name="astray-signals", daemon=True).start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)


@contextmanager
def asked_to_stop(heed: Callable[[int], None]) -> Iterator[None]:
    """Have a function called with the number of the signal at each SIGTERM and SIGINT.

    Whoever was called before is called again afterwards. On any thread but the main one,
    which alone may take signals, nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _: FrameType | None) -> None:
        heed(number)

    before = {number: signal.signal(number, handle) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
