"""What the C library is told about memory in a process of a cluster.

There the engine works in a thread of its own, and glibc gives what threads free back to the
system at once: every message between processes, some hundred kilobytes, would have its pages
mapped and cleared anew, several times. That took a twelfth of the time.
"""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
_MIB = 1 << 20
_WANTED = (
    (_ARENA_MAX, 1),
    (_MMAP_THRESHOLD, 32 * _MIB),  # glibc takes no more
    (_TRIM_THRESHOLD, 256 * _MIB),
    (_TOP_PAD, 16 * _MIB),
)


def keep_freed_memory() -> bool:
    """Have the C library keep memory that is freed, up to 256 MiB; return whether it does.

    It must be told before the engine has its threads. Libraries other than glibc are not told.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(*wanted) == 1 for wanted in _WANTED)
