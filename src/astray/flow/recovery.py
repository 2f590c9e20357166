"""The recovery directory: made, marked and checked by astray itself.

bytewax finds state by step name and key, and says nothing when it finds none. So what the
address of the state depends on is written beside it, and a directory that does not fit is
refused before anything starts.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import orjson
from bytewax.recovery import RecoveryConfig, init_db_dir

from astray.blob import SCHEMA_VERSION
from astray.config import Config
from astray.errors import RecoveryError
from astray.flow.dataflow import FLOW
from astray.flow.sources import READ_KEYS
from astray.flow.steps import STEPS, TENANT_KEYS

_MARK = "astray.json"
_PARTITIONS = 1
_SQLITE = b"SQLite format 3\0"


def _address(config: Config) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "flow": FLOW,
        "steps": list(STEPS),
        "shards": config.events.shards,
        "shard_by": config.events.shard_by,
        "tenant_keys": TENANT_KEYS,
        "read_keys": READ_KEYS,
    }


@contextmanager
def open_recovery(directory: Path, config: Config) -> Iterator[RecoveryConfig]:
    """Have the engine's recovery store in a directory, which is made if it is not there.

    No other astray can have it at the same time.

    Raises
    ------
    RecoveryError
        The directory cannot be used, is not astray's, is in use, or holds the state of
        another configuration.
    """
    with ExitStack() as stack:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(directory, os.O_RDONLY)
            stack.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _prepare(directory, config)
        except BlockingIOError:
            raise RecoveryError(f"{directory}: in use by another astray") from None
        except OSError as error:
            reason = f"cannot be a recovery directory: {error.strerror}"
            raise RecoveryError(f"{directory}: {reason}") from None
        yield RecoveryConfig(directory)


def _prepare(directory: Path, config: Config) -> None:
    mark = directory / _MARK
    if not mark.exists():
        _make(directory, mark, config)
    _check(directory, _address_in(mark), _address(config))
    _check_parts(directory)


def _make(directory: Path, mark: Path, config: Config) -> None:
    if any(directory.iterdir()):
        raise RecoveryError(f"{directory}: not empty, and not a recovery directory of astray's")
    mark.write_bytes(orjson.dumps(_address(config)))


def _address_in(mark: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(mark.read_bytes())
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise RecoveryError(f"{mark}: damaged; restore it or begin with a new directory")
    return found


def _check_parts(directory: Path) -> None:
    """Make the engine's database if there is none; refuse what is none."""
    parts = list(directory.glob("part-*.sqlite3"))
    if not parts:
        init_db_dir(directory, _PARTITIONS)
    for part in parts:
        with part.open("rb") as file:
            if file.read(len(_SQLITE)) != _SQLITE:
                raise RecoveryError(f"{part}: damaged; restore it or begin with a new directory")


def _check(directory: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differing = [
        f"{name} is {found.get(name)!r} there and {value!r} here"
        for name, value in wanted.items()
        if found.get(name) != value
    ]
    if differing:
        raise RecoveryError(
            f"{directory}: holds the state of another configuration: {'; '.join(differing)}"
        )
