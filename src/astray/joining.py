"""Many buffers as one bytes object, whose memory comes in large pages where there are any.

What takes time in joining large buffers is the kernel, which hands out new memory (`large`). A
snapshot holds the flow, so it is worth the trouble of filling a bytes object oneself, as C code
does, before anybody has seen it.
"""

import ctypes
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from astray.large import advise

LARGE_BYTES = 1 << 24
"""Less is joined as ever: there is nothing to be gained."""

Pieces = Sequence[bytes | memoryview]


def joined(pieces: Pieces, seal: Callable[[Pieces], bytes], seal_bytes: int) -> bytes:
    """Return all bytes of these buffers, one after the other, and their seal, of so many bytes.

    Large ones are sealed by another thread while they are copied.
    """
    size = sum(map(len, pieces)) + seal_bytes
    if size < LARGE_BYTES or not sys.platform.startswith("linux"):
        return b"".join((*pieces, seal(pieces)))
    with ThreadPoolExecutor(1) as beside:
        sealed = beside.submit(seal, pieces)
        whole, room = _empty(size)
        end = 0
        for piece in pieces:
            room[end : end + len(piece)] = np.frombuffer(piece, np.uint8)
            end += len(piece)
        room[end:] = np.frombuffer(sealed.result(), np.uint8)
    return whole


def _empty(size: int) -> tuple[bytes, NDArray[np.uint8]]:
    """Return a bytes object of a size, and the room in which its bytes are yet to be written."""
    new = ctypes.pythonapi.PyBytes_FromStringAndSize
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_char_p, ctypes.c_ssize_t]
    whole: bytes = new(None, size)
    at = np.frombuffer(whole, np.uint8).ctypes.data
    advise(at, size)
    return whole, np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(at))
