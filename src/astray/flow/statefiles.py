"""Large states as files of their own: only their names go through the engine.

What a step returns as its state the engine pickles, sends to the process that keeps the state
of all, byte by byte, and writes into a database, twice. A name costs it nothing. So a state
of some size is written to a file in the recovery directory, and is on the disk before its name
is given away.

The engine reads nothing of an epoch before all earlier ones are kept for good. So the state of
an epoch and the one before it are all that can be asked for again; `_NEWEST` are left, the one
that is being written among them.
"""

import errno
import os
import uuid
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeGuard

from astray.errors import RecoveryError, StateError

FOLDER = "states"
FILE_BYTES = 1 << 18
"""A smaller state goes through the engine: a file of its own would cost more."""

_SUFFIX = ".state"
_FILE = "file"
_NEWEST = 3
_REFERENCE_ITEMS = 4
_SEAL_BYTES = 4

Reference = tuple[str, str, int, bytes]
"""What stands for a state in a file: `_FILE`, the file's name, its size, and its last bytes, in
which a state has its checksum: another state is not taken for it."""

State = bytes | Reference
"""What the engine is given of a state."""


class StateFiles:
    """The states of a recovery directory that lie in files, as one process writes and reads them.

    States of fewer than `least_bytes` are no files.
    """

    def __init__(self, directory: Path, least_bytes: int = FILE_BYTES) -> None:
        self.directory = directory
        self.least_bytes = least_bytes

    def write(self, step: str, state: bytes) -> Reference:
        """Write a state to a new file, for good; raises a `RecoveryError` where that fails."""
        folder = self.directory / FOLDER
        path = folder / f"{step}-{uuid.uuid4().hex}{_SUFFIX}"
        try:
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
                _sync(self.directory)
            _write(path, state)
            _sync(folder)
        except OSError as error:
            _remove(path)
            raise RecoveryError(f"{path}: cannot be written: {error.strerror}") from None
        return _FILE, path.name, len(state), state[-_SEAL_BYTES:]

    def remove(self, name: str) -> None:
        """Remove a file that nobody can ask for any more; what cannot be removed is left."""
        _remove(self.directory / FOLDER / name)


class Shelf:
    """Where one state is put at the end of every epoch, and taken from by the run after it.

    Without files all of it goes through the engine.
    """

    def __init__(self, files: StateFiles | None, step: str) -> None:
        self._files = files
        self._step = step
        self._names: deque[str] = deque()

    def put(self, state: bytes) -> State:
        """Return what the engine keeps of a state; raises a `RecoveryError` as `write` does."""
        if self._files is None or len(state) < self._files.least_bytes:
            return state
        while len(self._names) >= _NEWEST:
            self._files.remove(self._names.popleft())
        reference = self._files.write(self._step, state)
        self._names.append(reference[1])
        return reference

    def take(self, kept: State) -> bytes:
        """Return the state that the engine has kept; raises a `StateError` if it is not there."""
        if isinstance(kept, bytes):
            return kept
        if not is_reference(kept):
            raise StateError("the state is damaged: it is not bytes")
        if self._files is None:
            raise StateError(
                f"the state lies in {FOLDER}/{kept[1]}, which this process has not got"
            )
        self._names.append(kept[1])
        return read_state(self._files.directory, kept)


def is_reference(value: Any) -> TypeGuard[Reference]:
    """Return whether a value stands for a state in a file."""
    return (
        isinstance(value, tuple) and len(value) == _REFERENCE_ITEMS and value[0] == _FILE
        and isinstance(value[1], str) and isinstance(value[2], int) and isinstance(value[3], bytes)
    )  # fmt: skip


def read_state(directory: Path, reference: Reference) -> bytes:
    """Return a state that lies in a file of a recovery directory.

    Raises
    ------
    StateError
        It is not there, cannot be read, or is not what was written.
    """
    _, name, size, seal = reference
    place = f"{FOLDER}/{name}"
    if Path(name).name != name or "\0" in name:
        raise StateError(f"the state is damaged: {name!r} is no name of a file")
    try:
        state = (directory / FOLDER / name).read_bytes()
    except OSError as error:
        raise StateError(
            f"{place}, in which the state is, cannot be read: {error.strerror}"
        ) from None
    if len(state) != size:
        raise StateError(f"the state is damaged: {place} has {len(state)} bytes, not {size}")
    if state[-_SEAL_BYTES:] != seal:
        raise StateError(f"the state is damaged: in {place} is another state")
    return state


def remove_unused(directory: Path, used: Iterable[str]) -> None:
    """Remove all files of states but those with a name in `used`."""
    kept = set(used)
    for path in (directory / FOLDER).glob(f"*{_SUFFIX}"):
        if path.name not in kept:
            _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the next run tries again
        return


def _write(path: Path, state: bytes) -> None:
    with open(path, "xb", buffering=0, opener=_private) as file:
        rest = memoryview(state)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk too; not every file system can be asked for that."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)
