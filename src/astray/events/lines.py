"""Chosen lines, copied out of a chunk: what crosses to another process is no more than that."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from astray.compiled import compiled, int64

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]

_BREAK = 10
_ONE = np.uint64(1)


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines, each with a line break after it; `first` and `end` have the places of each."""

    data: bytes = field(repr=False)
    first: Places
    end: Places

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, place: int) -> bytes:
        """Return a line without its break."""
        return self.data[self.first[place] : self.end[place]]

    @classmethod
    def of(cls, lines: Iterable[bytes]) -> "Lines":
        """Return these lines, which have no breaks, as they are kept."""
        all_of_them = list(lines)
        ends = np.cumsum([len(line) + 1 for line in all_of_them], dtype=np.int64)
        lengths = np.array([len(line) for line in all_of_them], np.int64)
        data = b"".join(line + b"\n" for line in all_of_them)
        return cls(data, ends - 1 - lengths, ends - 1)

    def only(self, places: NDArray[np.intp]) -> "Lines":
        """Return the lines at these places, and nothing else of the data."""
        return copied(self.data, self.first[places], self.end[places])


def copied(data: bytes, first: Places, end: Places) -> Lines:
    """Return the lines at these places of a chunk's bytes."""
    ends = np.cumsum(end - first + 1)
    out = np.empty(ends[-1] if len(ends) else 0, np.uint8)
    _copy(np.frombuffer(data, np.uint8), first, end, out)
    return Lines(out.tobytes(), ends - 1 - (end - first), ends - 1)


@compiled
def _copy(data: Bytes, first: Places, end: Places, out: Bytes) -> None:
    """Write the lines at `first` to `end` into `out`, each with a line break after it."""
    at = np.uint64(0)  # places without a sign: numba lets signed ones count from the end, slowly
    for line in range(len(first)):
        start = np.uint64(first[line])
        length = np.uint64(end[line]) - start
        for place in range(length):
            out[at + place] = data[start + place]
        at += length
        out[at] = _BREAK
        at += _ONE


@compiled
def count_lines(data: Bytes) -> int:
    """Return the number of line breaks."""
    breaks = 0
    for at in range(len(data)):  # without a branch: vector instructions
        breaks += int64(data[at] == _BREAK)
    return breaks
