"""The command line.

What a run needs takes a second or two to load. A stop is heeded from here on, before that.
"""

import os
import signal
import sys
from types import FrameType

from astray.flow.stopping import end_at_once


def _end(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


if sys.argv[1:2] == ["run"]:
    end_at_once()
elif os.getpid() == 1:  # in a container, where no signal ends a process that does not take it
    signal.signal(signal.SIGTERM, _end)
