"""Memory in large pages where there are any: for what is filled at once and for what is looked up.

The kernel hands out new memory page by page of 4 KiB: asked for 2 MiB at once it is more than three
times as fast. And a table that is read here and there costs a miss of the translation buffer nearly
every time unless its pages are large.
"""

import ctypes
import mmap
import sys

import numpy as np
from numpy.typing import DTypeLike, NDArray

PAGE_BYTES = 1 << 21
_MADV_HUGEPAGE = 14  # <linux/mman.h>; advice that may be disregarded, so nobody asks for errors


def advise(address: int, size: int) -> None:
    """Ask for large pages in a piece of memory that nobody has written yet."""
    first = -(-address // PAGE_BYTES) * PAGE_BYTES
    length = (address + size - first) // PAGE_BYTES * PAGE_BYTES
    if length > 0:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), _MADV_HUGEPAGE)


def zeros(rows: int, dtype: DTypeLike) -> NDArray[np.generic]:
    """Return so many rows of zeros; what is never written of a large array takes no memory."""
    wanted = np.dtype(dtype)
    size = rows * wanted.itemsize
    if size < PAGE_BYTES or not sys.platform.startswith("linux"):
        return np.zeros(rows, wanted)
    # Private: what might be shared is kept by another part of the kernel, in small pages.
    room = mmap.mmap(-1, size + PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    found = np.frombuffer(room, np.uint8)
    address = found.ctypes.data
    advise(address, size + PAGE_BYTES)
    first = -address % PAGE_BYTES
    return found[first : first + size].view(wanted)
