"""The command line."""

import os
import signal
from types import FrameType


def _end(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


if os.getpid() == 1:  # in a container, where no signal ends a process that does not take it
    signal.signal(signal.SIGTERM, _end)
