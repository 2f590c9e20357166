"""The lines of a recording, packed or not."""

import gzip
from collections.abc import Iterator
from pathlib import Path

from astray.events import Event, parse_line

_ANY_TIME_US = 2**60


def read_bytes(path: Path) -> bytes:
    """Return a recording's bytes, the last line ended."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return data if data.endswith(b"\n") or not data else data + b"\n"


def read_events(path: Path) -> Iterator[Event]:
    """Return a recording's events, without what is none."""
    for line in read_bytes(path).splitlines():
        event = parse_line(line, _ANY_TIME_US)
        if isinstance(event, Event):
            yield event
