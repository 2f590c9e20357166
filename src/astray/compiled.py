"""The one place where numba is asked to compile.

Every function of the hot path carries `@compiled`. With `NUMBA_DISABLE_JIT=1` the same
code runs interpreted and must give the same results; to keep that true, a compiled
function reads 32-bit floats through `float64`, integers of other widths through `int64`,
and does 64-bit hashing in `numpy.uint64` only: numpy's scalars and numba promote mixed
operands differently.

Machine code is cached on disk. numba looks whether the file of a function has changed, but
not the files of what it calls, so the cache has a directory of its own for every state of
the sources.
"""

import atexit
import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

int64 = cast("Callable[[Any], int]", np.int64)
"""A compiled function's integer: numba mixes unsigned and signed ones into floats."""

float64 = cast("Callable[[Any], float]", np.float64)
"""A compiled function's float: numba's `float` leaves a 32-bit one as it is."""

_PACKAGE = Path(__file__).parent
_ROOMS = ("events", "baseline", "calibrate")
_PREFIX = "kernels-"
_KEPT = 4

COMPLETE = "complete"
"""A file in the cache that says that all kernels are there."""


_LEVEL = 2
"""How hard LLVM tries: a third level takes a sixth longer to compile and made nothing faster."""

if "NUMBA_OPT" not in os.environ:
    numba.config.OPT = type(numba.config.OPT)(_LEVEL)  # type: ignore[attr-defined]

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
_INNER: dict[str, Any] = _OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def compiled(function: F) -> F:
    """Compile `function` on first call, cache the machine code, release the GIL in it."""
    return cast("F", numba.njit(**_OPTIONS)(function))


def inner(function: F) -> F:
    """Like `compiled`, for what only compiled functions call: numba need not wrap it for Python."""
    return cast("F", numba.njit(**_INNER)(function))


def merged(function: F) -> F:
    """Like `inner`, for what is called in one place: it is compiled as a part of its caller.

    Each function that is compiled by itself is optimised once more with every one that calls it.
    """
    return cast("F", numba.njit(inline="always", **_INNER)(function))


def _sources_hash() -> str:
    digest = hashlib.sha256()
    for place in (*_ROOMS, "."):
        for path in sorted((_PACKAGE / place).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_directory() -> Path:
    """Return where machine code is kept: beside the package, or wherever may be written."""
    name = f"{_PREFIX}{_sources_hash()}"
    homes = [_PACKAGE / "__pycache__"]
    with contextlib.suppress(RuntimeError):  # nobody's home
        homes.append(Path.home() / ".cache" / "astray")
    for home in homes:
        if _make(home / name):
            return home / name
    return _own_copy([home / name for home in homes])


def _own_copy(places: list[Path]) -> Path:
    """Return a directory of this process alone, with what somebody else has compiled.

    numba reads a cache only where it could write: without this a container with a read-only
    root would compile at every start.
    """
    own = Path(tempfile.mkdtemp(prefix="astray-"))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    for place in places:
        if (place / COMPLETE).is_file():
            shutil.copytree(place, own, dirs_exist_ok=True)
            break
    return own


def _make(directory: Path) -> bool:
    """Make a directory, and room for it: of those for older sources the latest stay.

    They may be those of a process that is still running and has not compiled everything.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        others = sorted(directory.parent.glob(f"{_PREFIX}*"), key=lambda path: path.stat().st_mtime)
    except OSError:
        return False
    for old in others[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return os.access(directory, os.W_OK)


CACHE = Path(os.environ.get("NUMBA_CACHE_DIR") or _cache_directory())
"""Where machine code is kept."""

INTERPRETED = bool(getattr(numba.config, "DISABLE_JIT"))  # noqa: B009 - numba defines it at run time
"""Whether nothing is compiled at all."""

setattr(numba.config, "CACHE_DIR", str(CACHE))  # noqa: B010 - numba defines it at run time
