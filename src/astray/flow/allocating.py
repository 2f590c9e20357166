"""What the C library is told about memory in a process that runs a dataflow.

glibc gives large pieces that are freed back to the system at once: every chunk and its columns,
some megabytes, would have their pages mapped and cleared anew; in a cluster, where the engine
works in a thread of its own, so would every message between processes. That took a twentieth of
the time, in a cluster a twelfth.
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
