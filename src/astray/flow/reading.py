"""What all sources of a run share."""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from astray.errors import SourceError
from astray.events import Chunk
from astray.flow.listening import Listening
from astray.flow.pace import Pace
from astray.flow.progress import Backlog, Progress


@dataclass
class Reading:
    """What all sources of a run share: the wish to stop, and how far each has got.

    `turned_s` is when the engine last asked for more (monotonic; 0: not yet), `heard_s` when
    a source last had something to read, by its name (in seconds since 1970). `paths` says of
    sources that do not lie where their names say where they do. Of the files and pipes of this
    process `unfinished` are being read.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    follow: bool = False
    clustered: bool = False
    progress: dict[str, Progress] = field(default_factory=dict)
    backlogs: dict[str, Backlog] = field(default_factory=dict)
    fault: SourceError | None = None
    turned_s: float = 0.0
    heard_s: dict[str, float] = field(default_factory=dict)
    listening: Listening = field(default_factory=Listening)
    paths: Mapping[str, Path] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    unfinished: set[str] = field(default_factory=set)

    def fail(self, fault: SourceError) -> None:
        """Stop, as a source cannot be read further: what has been read is dealt with first."""
        self.fault = self.fault or fault
        self.stop.set()

    def heard(self, chunks: Iterable[Chunk]) -> None:
        """Take note of where something came from."""
        now_s = time.time()
        self.heard_s |= {chunk.source: now_s for chunk in chunks if not chunk.silent}

    def raise_fault(self) -> None:
        """Raise the error that has stopped the reading, if it was one."""
        if self.fault is not None:
            raise self.fault
