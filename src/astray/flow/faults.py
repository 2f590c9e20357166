"""Errors on their way out of the engine.

The engine prints a stack trace of its own for every error that leaves a step. Those who get
the error say what has happened, so a step's error takes standard error away from the engine,
and `unwrapped` gives it back.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bytewax.errors import BytewaxRuntimeError

_STDERR = 2
_aside: list[int] = []


@contextmanager
def leaving() -> Iterator[None]:
    """Keep the engine quiet about an error that leaves a step; also a decorator."""
    left_well = False
    try:
        yield
        left_well = True
    finally:
        if not left_well and not _aside:
            _set_aside()


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise what a step has raised, instead of what the engine has made of it."""
    try:
        yield
    except BytewaxRuntimeError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise cause from None
    finally:
        _take_back()


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
