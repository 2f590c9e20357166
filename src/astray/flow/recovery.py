"""The recovery directory: made, marked and checked by astray itself.

bytewax finds state by step name and key, and says nothing when it finds none. So what the
address of the state depends on is written beside it, and a directory that does not fit is
refused before anything starts.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from bytewax.recovery import RecoveryConfig, init_db_dir

from astray.blob import OLDEST_VERSION, SCHEMA_VERSION
from astray.config import Config
from astray.errors import RecoveryError
from astray.flow.cluster import Cluster
from astray.flow.dataflow import FLOW
from astray.flow.keys import SPREAD, TENANT_KEYS
from astray.flow.snapshots import forget_unnamed, forget_unreached, take_in_files
from astray.flow.sources import READ_KEYS
from astray.flow.statefiles import StateFiles
from astray.flow.steps import STEPS

_MARK = "astray.json"
_BEGUN = "begun.json"
_AFTER = "after_us"
_VERSION = "schema_version"
_PART = ".part"  # what a crash has kept from being written as a whole
_PARTITIONS = 1
_RESHARDED = {"shards", "shard_by"}
_RESHARD = "`astray state reshard` makes a directory for this configuration of it"
_SQLITE = b"SQLite format 3\0"


def _address(config: Config) -> dict[str, Any]:
    return {
        _VERSION: SCHEMA_VERSION,
        "flow": FLOW,
        "steps": list(STEPS),
        "shards": config.events.shards,
        "shard_by": config.events.shard_by,
        "tenant_keys": TENANT_KEYS,
        "read_keys": READ_KEYS,
        "spread": SPREAD,
    }


@dataclass(frozen=True, slots=True)
class Recovery:
    """A recovery directory in use: by the engine, and by steps for states that are large.

    `files` is None where not all processes of a cluster have the same files.
    """

    engine: RecoveryConfig
    files: StateFiles | None


@contextmanager
def open_recovery(
    directory: Path, config: Config, cluster: Cluster | None = None
) -> Iterator[Recovery]:
    """Have the engine's recovery store in a directory, which is made if it is not there.

    No other astray can have it at the same time. In a cluster the first process keeps the
    state of all: the engine sends it there, unless all can write to the directory themselves.

    Raises
    ------
    RecoveryError
        The directory cannot be used, is not astray's, is in use, or holds the state of
        another configuration.
    """
    files = StateFiles(directory) if cluster is None or cluster.is_local else None
    with ExitStack() as stack:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            engine_directory = directory
            if cluster is None or cluster.is_first:
                stack.enter_context(_locked(directory))
                _prepare(directory, config, takes_in_files=files is None)
            else:
                nothing = stack.enter_context(TemporaryDirectory(prefix="astray-"))
                engine_directory = Path(nothing)
        except OSError as error:
            reason = f"cannot be a recovery directory: {error.strerror}"
            is_file = isinstance(error, FileExistsError | NotADirectoryError)
            raise RecoveryError(f"{directory}: {reason}", lasting=is_file) from None
        yield Recovery(RecoveryConfig(engine_directory), files)


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Have a recovery directory that is there to oneself, and change nothing in it.

    Raises
    ------
    RecoveryError
        It is not there, none of astray's, or in use.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(_locked(directory))
        except OSError as error:
            reason = f"{directory}: cannot be read: {error.strerror}"
            raise RecoveryError(reason, lasting=True) from None
        if not is_marked(directory):
            raise RecoveryError(f"{directory}: no recovery directory of astray's", lasting=True)
        yield


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise RecoveryError(f"{directory}: in use by another astray") from None
    finally:
        os.close(lock)


def is_marked(directory: Path) -> bool:
    """Return whether a directory is a recovery directory of astray's."""
    return (directory / _MARK).is_file()


def address_of(directory: Path) -> dict[str, Any]:
    """Return what the address of the state in a directory depends on, as it was written down."""
    return _address_in(directory / _MARK)


def write_notes(directory: Path, address: Mapping[str, Any], after_us: int | None) -> None:
    """Make a directory that has the engine's databases a recovery directory."""
    if after_us is not None:
        write_whole(directory / _BEGUN, orjson.dumps({_AFTER: after_us}))
    write_whole(directory / _MARK, orjson.dumps(address))


def check_readable(place: Path, address: Mapping[str, Any]) -> None:
    """Raise a `RecoveryError` unless this astray, in some configuration, can use such a state."""
    ours = {_VERSION: SCHEMA_VERSION, "flow": FLOW, "steps": list(STEPS)}
    keys = {"tenant_keys": TENANT_KEYS, "read_keys": READ_KEYS, "spread": SPREAD}
    _check(place, address, ours | keys)


def check_fits(place: Path, address: Mapping[str, Any], config: Config) -> None:
    """Raise a `RecoveryError` unless a run with this configuration can use such a state."""
    _check(place, address, _address(config))


def noted_after_us(directory: Path) -> int | None:
    """Return what `begun_after_us` has written down; None: no run has begun with it yet."""
    return begun_after_us(directory, 0) if (directory / _BEGUN).exists() else None


def begun_after_us(directory: Path, newest_us: int) -> int:
    """Return the time of the newest event that had been heard of when the state began.

    The first run with a directory writes it down: `newest_us` is what is known then. Later
    ones go on from that run's state, and so may still be reading what it had begun to read.

    Raises
    ------
    RecoveryError
        What is written there cannot be read, or cannot be written.
    """
    file = directory / _BEGUN
    try:
        if not file.exists():
            write_whole(file, orjson.dumps({_AFTER: newest_us}))
        begun = orjson.loads(file.read_bytes())
    except OSError as error:
        raise RecoveryError(f"{file}: cannot be used: {error.strerror}") from None
    except orjson.JSONDecodeError:
        begun = None
    after_us = begun.get(_AFTER) if isinstance(begun, dict) else None
    if not isinstance(after_us, int):
        raise RecoveryError(f"{file}: damaged; restore it, or remove it to act on new events only")
    return after_us


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there as a whole or not at all, whatever happens meanwhile."""
    part = path.with_name(f"{path.name}.{os.getpid()}{_PART}")
    with open(part, "wb", opener=_private) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def _prepare(directory: Path, config: Config, *, takes_in_files: bool) -> None:
    mark = directory / _MARK
    if not mark.exists():
        _make(directory, mark, config)
    found, ours = _address_in(mark), _address(config)
    _check(directory, found, ours)
    if found != ours:  # an older state, that an older astray cannot read from now on
        write_whole(mark, orjson.dumps(ours))
    _check_parts(directory)
    forget_unreached(directory)
    if takes_in_files:
        take_in_files(directory)
    forget_unnamed(directory)


def _is_upgraded(version: object) -> bool:
    """Return whether state of this schema version can be read and is written anew."""
    return isinstance(version, int) and OLDEST_VERSION <= version <= SCHEMA_VERSION


def _make(directory: Path, mark: Path, config: Config) -> None:
    if any(path.suffix != _PART for path in directory.iterdir()):
        reason = "not empty, and not a recovery directory of astray's"
        raise RecoveryError(f"{directory}: {reason}", lasting=True)
    write_whole(mark, orjson.dumps(_address(config)))


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
    differing = [name for name, value in wanted.items() if found.get(name) != value]
    if _is_upgraded(found.get(_VERSION)):
        differing = [name for name in differing if name != _VERSION]
    if differing:
        said = [
            f"{name} is {found.get(name)!r} there and {wanted[name]!r} here" for name in differing
        ]
        said += [_RESHARD] if set(differing) <= _RESHARDED else []
        problem = f"holds the state of another configuration: {'; '.join(said)}"
        raise RecoveryError(f"{directory}: {problem}", lasting=True)
