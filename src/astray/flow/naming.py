"""What may be named as a source on the command line, and what keeps it from being read."""

import gzip
import os
import re
import stat
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from astray.errors import ConfigError, SourceError

STDIN = "-"
_SUFFIXES = (".jsonl", ".jsonl.gz")
_TABLES = {
    ".arrow": "an Arrow", ".avro": "an Avro", ".csv": "a CSV", ".feather": "a Feather",
    ".orc": "an ORC", ".parquet": "a Parquet", ".tsv": "a TSV", ".xls": "an Excel",
    ".xlsx": "an Excel",
}  # fmt: skip
"""Files whose events astray cannot read, by how their names end; a name of another kind is as
good as any for JSON lines."""

_PACKED = (".bz2", ".xz", ".zip", ".zst")
_ARRAY = re.compile(rb"\s*\[\s*([\[{\]]|$)")
"""How an array of JSON begins; a log's line may begin with a bracket, too, but not go on so."""

_HEAD_BYTES = 512


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
        head = _head(path)
    except SourceError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"{name}: {getattr(error, 'strerror', error)}"
    if follow and path.suffix == ".gz":
        return f"{name}: a compressed file cannot be followed"
    if not (follow or head or head is None):
        return f"{name}: the file is empty"
    other = _other_form(path, head or b"")
    return f"{name}: {other}" if other else ""


def _head(path: Path) -> bytes | None:
    """Return how a file begins, or None of a damaged one: whoever reads it will say so."""
    with path.open("rb") as file:
        if path.suffix != ".gz":
            return file.read(_HEAD_BYTES)
        try:
            return gzip.GzipFile(fileobj=file).read(_HEAD_BYTES)
        except (OSError, EOFError, zlib.error):
            return None


def _other_form(path: Path, head: bytes) -> str:
    """Return what a file is that is known not to be JSON lines: all of it would be rejected."""
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix in _PACKED:
        return f"a file in {suffix} is not read: unpack it, or pack it with gzip"
    kind = f"{_TABLES[suffix]} file" if suffix in _TABLES else ""
    if not kind and _ARRAY.match(head):
        kind = "one array of JSON"
    return (
        f"events of {kind} are not read: convert it to JSON lines, an event a line" if kind else ""
    )


def files_in(directory: Path) -> list[Path]:
    """Return the files of events in a directory, in the order of their names.

    Raises
    ------
    SourceError
        The directory cannot be read.
    """
    return [directory / name for name in names_in(directory)]


def names_in(directory: Path) -> list[str]:
    """Return the names of the files of events in a directory, in their order.

    Raises
    ------
    SourceError
        The directory cannot be read.
    """
    try:
        with os.scandir(directory) as entries:
            found = [entry.name for entry in entries if _is_of_events(entry)]
    except OSError as error:
        raise SourceError(f"{directory}: cannot be read: {error.strerror}") from None
    return sorted(found)


def _is_of_events(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(_SUFFIXES) and entry.is_file()
