"""What may be named as a source on the command line, and what keeps it from being read."""

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from astray.errors import ConfigError, SourceError

STDIN = "-"
_SUFFIXES = (".jsonl", ".jsonl.gz")


def check_sources(names: Sequence[str], *, follow: bool) -> None:
    """Raise a `ConfigError` with everything that keeps these sources from being read."""
    problems = list(_twice(names))
    for name in dict.fromkeys(names):
        problem = _problem(name, follow=follow)
        if problem:
            problems.append(problem)
    if problems:
        raise ConfigError(problems)


def _twice(names: Sequence[str]) -> Iterator[str]:
    """Say what would be read twice, also under another name."""
    given: dict[str, str] = {}
    for name in names:
        path = _real(name)
        if path in given:
            yield f"source {name} is given twice"
        given[path] = name
    for path, name in given.items():
        directory = str(Path(path).parent)
        lies_in_one = directory in given and Path(directory).is_dir()
        if lies_in_one and path.endswith(_SUFFIXES):
            yield f"source {name} lies in {given[directory]}, which is given too"


def _real(name: str) -> str:
    try:
        return name if name == STDIN else os.path.realpath(name)
    except ValueError:  # no path has such a name, as `_problem` will say
        return name


def _problem(name: str, *, follow: bool) -> str:
    if name == STDIN:
        return "" if sys.stdin else "-: there is no standard input"
    path = Path(name)
    try:
        name.encode()  # the state knows sources by name
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return "" if files_in(path) or follow else f"{name}: no .jsonl or .jsonl.gz file in it"
        if not stat.S_ISREG(status.st_mode):
            return f"{name}: neither a file nor a directory; redirect it and read -"
        path.open("rb").close()
    except SourceError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"{name}: {getattr(error, 'strerror', error)}"
    if follow and path.suffix == ".gz":
        return f"{name}: a compressed file cannot be followed"
    return "" if follow or status.st_size else f"{name}: the file is empty"


def files_in(directory: Path) -> list[Path]:
    """Return the files of events in a directory, in the order of their names.

    Raises
    ------
    SourceError
        The directory cannot be read.
    """
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if entry.is_file()]
    except OSError as error:
        raise SourceError(f"{directory}: cannot be read: {error.strerror}") from None
    return [directory / name for name in sorted(names) if name.endswith(_SUFFIXES)]
