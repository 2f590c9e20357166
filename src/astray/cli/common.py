"""What all commands share."""

import errno
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from astray.cli.screen import Screen
from astray.errors import AstrayError, ConfigError
from astray.events import Reason
from astray.flow.counters import Counters
from astray.flow.kernels import compile_kernels, kernels_are_ready
from astray.flow.stopping import asked_to_stop
from astray.flow.verdicts import Told

F = TypeVar("F", bound=Callable[..., Any])

BROKEN = 1
"""What was asked for could be done, but it broke on the way; another try may end better."""

REFUSED = 2
"""What was asked for cannot be done before somebody changes something."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Where standard output goes there is no room left; whatever else is written says so itself."""

_PROBLEMS_MAX = 20
"""Bad lines of verdicts that are named; further ones are counted."""

StoreUrl = Annotated[str | None, typer.Option("--store", metavar="URL", help="The case store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Your configuration, in TOML.")
]


def reporting(command: F) -> F:
    """Turn astray's errors into sentences on standard error, and an exit code."""

    @functools.wraps(command)
    def reported(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except AstrayError as error:
            _complain(error.problems if isinstance(error, ConfigError) else [str(error)])
            raise typer.Exit(REFUSED if error.lasting else BROKEN) from None
        except OSError as error:
            if error.errno not in _FULL:
                raise
            _complain([f"what there is to say cannot be written: {error.strerror}"])
            raise typer.Exit(BROKEN) from None

    return reported  # type: ignore[return-value]


def together(*checks: Callable[[], Any]) -> list[Any]:
    """Return what each check returns, or name the problems of all of them at once."""
    found, problems = [], list[str]()
    for check in checks:
        try:
            found.append(check())
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return found


class _StoppedError(BaseException):
    """Somebody has asked a command to stop; no handler of errors may take it for one."""


def stoppable(command: F) -> F:
    """End a command well when it is asked to stop before it sees to that itself.

    In a container it may be process 1, which no signal ends that it does not take.
    """

    @functools.wraps(command)
    def stopped(*arguments: Any, **options: Any) -> Any:
        try:
            with asked_to_stop(_stop):
                return command(*arguments, **options)
        except _StoppedError:
            Screen("off").say("asked to stop before anything was begun")
            raise typer.Exit from None

    return stopped  # type: ignore[return-value]


def _stop(_: int) -> None:
    raise _StoppedError


def _complain(problems: Any) -> None:
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    for problem in problems:
        console.print(f"astray: {problem}", style="red", markup=False)


def prepare(screen: Screen) -> None:
    """Compile the kernels, and say so where it takes a while."""
    if not kernels_are_ready():
        screen.say("compiling astray's kernels for this machine, once: about 20 seconds ...")
    compile_kernels()


def note_problems(told: Told, screen: Screen, counters: Counters) -> None:
    """Say which lines of a file are no verdicts, and count them, or take back nothing.

    The first of them are told at length.
    """
    if told.problems:
        counters.rejects[Reason.NOT_A_VERDICT] += len(told.problems)
    problems = told.problems + told.in_vain
    for problem in problems[:_PROBLEMS_MAX]:
        screen.say(problem)
    more = len(problems) - _PROBLEMS_MAX
    if more > 0:
        screen.say(f"and {more:,} more such lines")
