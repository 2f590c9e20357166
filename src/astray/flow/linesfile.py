"""Files of lines that astray writes: whole lines only, whatever a crash has left."""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from astray.paths import looked_at

_BLOCK_BYTES = 1 << 16


def output_problems(paths: Iterable[Path | None], inputs: Sequence[Path | None]) -> list[str]:
    """Return a sentence for each file that cannot be written, or is read; None is no file."""
    problems = []
    for path in paths:
        try:
            if path is not None and any(_are_one(path, read) for read in inputs):
                problems.append(f"{path}: is what is read; write to another file")
            elif path is not None:
                path.open("ab").close()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", error)
            problems.append(f"{path}: cannot be written: {reason}{looked_at(path or '')}")
    return problems


def _are_one(path: Path, read: Path | None) -> bool:
    return read is not None and path.exists() and read.is_file() and path.samefile(read)


class LinesFile:
    """A file that lines are appended to. A last line that a crash has torn is cut off.

    Methods raise OSError where the system does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a+b", buffering=0)
        self._is_regular = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        self.size = self._whole() if self._is_regular else 0

    def _whole(self) -> int:
        """Return where the last whole line ends, and cut off what stands after it."""
        size = self._file.seek(0, os.SEEK_END)
        whole = self._after_break(size)
        if whole < size:
            self._file.truncate(whole)
        return whole

    def _after_break(self, before: int) -> int:
        """Return where the line begins that would go on at an offset."""
        end = before
        while end:
            first = max(end - _BLOCK_BYTES, 0)
            found = os.pread(self._file.fileno(), end - first, first).rfind(b"\n")
            if found >= 0:
                return first + found + 1
            end = first
        return 0

    def last(self) -> bytes:
        """Return the last line without its break, empty where there is none."""
        if not self.size or not self._is_regular:
            return b""
        first = self._after_break(self.size - 1)
        return os.pread(self._file.fileno(), self.size - 1 - first, first)

    def since(self, offset: int) -> Iterator[bytes]:
        """Yield the lines from an offset on, with their breaks."""
        if self._is_regular:
            with os.fdopen(self._file.fileno(), "rb", closefd=False) as reader:
                reader.seek(offset)
                yield from reader

    def append(self, lines: bytes) -> None:
        """Write lines, each with its break: all of them, or none."""
        left = memoryview(lines)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            if self._is_regular:
                with contextlib.suppress(OSError):  # it is cut when it is opened again
                    self._file.truncate(self.size)
            raise
        self.size += len(lines)

    def sync(self) -> None:
        """Have what was written survive a loss of power."""
        if self._is_regular:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
