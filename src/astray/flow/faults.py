"""Errors on their way out of the engine.

The engine prints a stack trace of its own for every error that leaves a step. Those who get
the error say what has happened, so a step's error takes standard error away from the engine,
and `Unwrapped` gives it back. In a cluster the engine ends in a panic then, in which nothing is
left of the error, and which is no `Exception`: so errors are kept, and looked at in passing.
"""

import os
from contextlib import ContextDecorator
from types import TracebackType
from typing import Self

from bytewax.errors import BytewaxRuntimeError

_STDERR = 2
_aside: list[int] = []
_left: list[BaseException] = []


class leaving(ContextDecorator):  # noqa: N801 - used like the functions of contextlib
    """Keep the engine quiet about an error that leaves a step; also a decorator."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            _left.append(error)
            if not _aside:
                _set_aside()


class Unwrapped:
    """Enter it to have raised what a step has raised, instead of what the engine has made of it."""

    def __enter__(self) -> Self:
        _left.clear()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        left = _left[:1]
        _left.clear()
        _take_back()
        if isinstance(error, BytewaxRuntimeError):
            raise _cause(error) from None
        if error is not None and left:
            raise left[0] from None


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
