"""The signals by which people and machines ask a process to stop."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


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

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
