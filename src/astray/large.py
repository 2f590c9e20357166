"""Memory in large pages where there are any: for what is filled at once and for what is looked up.

The kernel hands out new memory page by page of 4 KiB: asked for 2 MiB at once it is more than three
times as fast. And a table that is read here and there costs a miss of the translation buffer nearly
every time unless its pages are large.

What is never written takes no memory. So behind a large array there is room that nobody has been
promised: as it grows it stays where it is, and nothing of it is copied into new pages.
"""

import ctypes
import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

PAGE_BYTES = 1 << 21
_TIMES, _ROOM_BYTES = 64, 1 << 28
"""There is room for so many times an array's length, up to this; and for twice as much always."""

_MADV_HUGEPAGE = 14  # <linux/mman.h>; advice that may be disregarded, so nobody asks for errors


def advise(address: int, size: int) -> None:
    """Ask for large pages in a piece of memory that nobody has written yet."""
    first = -(-address // PAGE_BYTES) * PAGE_BYTES
    length = (address + size - first) // PAGE_BYTES * PAGE_BYTES
    if length > 0:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), _MADV_HUGEPAGE)


class _Room(mmap.mmap):
    """A piece of memory of which the first `used` bytes from `first` on are an array's."""

    first: int
    used: int


def zeros(rows: int, dtype: DTypeLike) -> NDArray[Any]:
    """Return so many rows of zeros; what is never written of a large array takes no memory."""
    wanted = np.dtype(dtype)
    size = rows * wanted.itemsize
    if size < PAGE_BYTES or not sys.platform.startswith("linux"):
        return np.zeros(rows, wanted)
    room = _new_room(size, max(2 * size, min(_TIMES * size, _ROOM_BYTES)))
    return np.frombuffer(room, wanted, rows, room.first)


def longer(rows: NDArray[Any], length: int) -> NDArray[Any]:
    """Return the rows with zeros after them: at least `length`.

    The rows given are not to be used any more: they may be a part of what is returned.
    """
    length = max(length, len(rows))
    size, room = length * rows.dtype.itemsize, _room_of(rows)
    if room is not None and rows.nbytes == room.used and room.first + size <= len(room):
        room.used = size
        return np.frombuffer(room, rows.dtype, length, room.first)
    grown = zeros(length, rows.dtype)
    grown[: len(rows)] = rows
    return grown


def _new_room(size: int, room_bytes: int) -> _Room:
    """Return room of which so much is used; no more than that where no more is given."""
    # Private: what might be shared is kept by another part of the kernel, in small pages.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    try:
        room = _Room(-1, room_bytes + PAGE_BYTES, flags=flags)
    except OSError:
        room = _Room(-1, size + PAGE_BYTES, flags=flags)
    address = np.frombuffer(room, np.uint8).ctypes.data
    advise(address, len(room))
    room.first, room.used = -address % PAGE_BYTES, size
    return room


def _room_of(rows: NDArray[Any]) -> _Room | None:
    """Return the room in which an array lies, if it has one."""
    base = rows.base
    while isinstance(base, np.ndarray):
        base = base.base
    owner = base.obj if isinstance(base, memoryview) else base
    return owner if isinstance(owner, _Room) else None
