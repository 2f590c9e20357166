"""Errors on their way out of the engine.

The engine prints a stack trace of its own for every error that leaves a step. Those who get
the error say what has happened, so a step's error takes standard error away from the engine,
and `unwrapped` gives it back. In a cluster the engine ends in a panic then, in which nothing is
left of the error, and which is no `Exception`: so errors are kept, and looked at in passing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bytewax.errors import BytewaxRuntimeError

from astray.errors import Seeing

_STDERR = 2
_aside: list[int] = []
_left: list[BaseException] = []


def leaving() -> Seeing:
    """Keep the engine quiet about an error that leaves a step; also a decorator."""
    return Seeing(_keep)


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise what a step has raised, instead of what the engine has made of it."""
    _left.clear()
    try:
        with Seeing(_unwrap):
            yield
    finally:
        _left.clear()
        _take_back()


def _keep(error: BaseException) -> None:
    _left.append(error)
    if not _aside:
        _set_aside()


def _unwrap(error: BaseException) -> None:
    if isinstance(error, BytewaxRuntimeError):
        raise _cause(error) from None
    if _left:
        raise _left[0] from None


def _cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _set_aside() -> None:
    _aside.append(os.dup(_STDERR))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDERR)
    os.close(nowhere)


def _take_back() -> None:
    while _aside:
        kept = _aside.pop()
        os.dup2(kept, _STDERR)
        os.close(kept)
