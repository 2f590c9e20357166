"""What all commands share."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from astray.cli.screen import Screen
from astray.errors import AstrayError, ConfigError
from astray.flow.engine import compile_kernels, kernels_are_ready

F = TypeVar("F", bound=Callable[..., Any])

USAGE_ERROR = 2

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Your configuration, in TOML.")
]


def reporting(command: F) -> F:
    """Turn astray's errors into sentences on standard error and exit code 2."""

    @functools.wraps(command)
    def reported(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except ConfigError as error:
            _complain(error.problems)
        except AstrayError as error:
            _complain([str(error)])
        raise typer.Exit(USAGE_ERROR)

    return reported  # type: ignore[return-value]


def _complain(problems: Any) -> None:
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
    for problem in problems:
        console.print(f"astray: {problem}", style="red", markup=False)


def prepare(screen: Screen) -> None:
    """Compile the kernels, and say so where it takes a while."""
    if not kernels_are_ready():
        screen.say("compiling astray's kernels for this machine, once: about 20 seconds ...")
    compile_kernels()
