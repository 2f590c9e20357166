"""A file being read from a place on."""

import gzip
import os
import zlib
from pathlib import Path
from typing import IO, NamedTuple, cast

from astray.errors import SourceError
from astray.flow.lines import CHUNK_BYTES_MAX, TAIL_BYTES, Lines

_PACKED_BYTES = 1 << 18
"""Unpacked at once: where a file is damaged, no more is lost of what comes before the damage."""


class Place(NamedTuple):
    """Where a source goes on: a file's name (empty outside directories) and an offset in it.

    `mark` is a checksum of the bytes before the offset: another file under the same name is
    not taken for the one that was read.
    """

    file: str = ""
    offset: int = 0
    mark: int = 0


class ReplacedError(SourceError):
    """A file is not the one that was read up to a place."""


class OpenFile:
    """A file being read; offsets count uncompressed bytes.

    Raises
    ------
    ReplacedError
        The file is not the one that was read up to the place.
    SourceError
        It cannot be read.
    """

    def __init__(self, source: str, path: Path, place: Place) -> None:
        self.path = path
        try:
            self._raw = path.open("rb")
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error.strerror}") from None
        self._data: IO[bytes] = self._raw
        self._piece_bytes = CHUNK_BYTES_MAX
        if path.suffix == ".gz":
            self._data = cast("IO[bytes]", gzip.GzipFile(fileobj=self._raw))
            self._piece_bytes = _PACKED_BYTES
        self._fault: Exception | None = None
        self._identity = _identity(os.fstat(self._raw.fileno()))
        try:
            tail = self._wound_to(place)
        except SourceError:
            self.close()
            raise
        self.lines = Lines(source, str(path), place.offset, tail)

    def _wound_to(self, place: Place) -> bytes:
        """Go to a place, and return what stands before it."""
        first = max(place.offset - TAIL_BYTES, 0)
        try:
            self._data.seek(first)
            tail = self._data.read(place.offset - first)
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"{self.path}: cannot be read: {error}") from None
        if len(tail) < place.offset - first or zlib.crc32(tail) != place.mark:
            reason = "not the file that was read under this name before"
            raise ReplacedError(f"{self.path}: {reason}", lasting=True)
        return tail

    @property
    def position(self) -> int:
        """Return how much of the file has been read, in bytes as they lie on disk."""
        return self._raw.tell()

    def place(self, *, named: bool) -> Place:
        """Return the place of the next byte to hand over, with the file's name or without."""
        mark = zlib.crc32(self.lines.tail)
        return Place(self.path.name if named else "", self.lines.offset, mark)

    def read(self) -> bytes:
        """Return the next bytes, empty at the end.

        Raises
        ------
        SourceError
            The file cannot be read further, as a damaged compressed one.
        """
        data = bytearray()
        try:
            while self._fault is None and len(data) < CHUNK_BYTES_MAX:
                piece = self._data.read(self._piece_bytes)
                if not data and len(piece) in (0, CHUNK_BYTES_MAX):
                    return piece
                data += piece
                if not piece:
                    break
        except (OSError, EOFError, zlib.error) as error:
            self._fault = error  # what came before it is handed over first
        if self._fault is not None and not data:
            where = f"{self.path}: cannot be read beyond byte {self.lines.offset}"
            raise SourceError(f"{where}: {self._fault}")
        return bytes(data)

    def replaced(self) -> bool:
        """Return whether the path now names another file, or this one has been cut."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return False  # between the two steps of a rotation
        return _identity(now) != self._identity or now.st_size < self._data.tell()

    def close(self) -> None:
        """Close the file."""
        self._data.close()
        self._raw.close()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
