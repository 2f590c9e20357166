"""A recovery directory looked into, written to one file, and made from one again."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from bytewax.recovery import init_db_dir
from numpy.typing import NDArray

from astray import blob
from astray.errors import RecoveryError, StateError
from astray.events.clock import iso
from astray.flow.dataflow import FLOW
from astray.flow.recovery import (
    address_of,
    check_readable,
    held,
    is_marked,
    noted_after_us,
    write_notes,
    write_whole,
)
from astray.flow.snapshots import Kept, Snapshot, read_kept, write_kept
from astray.flow.sources import Places
from astray.flow.steps import ASSESS, DECIDE, READ

_KIND = "recovery"
_STEPS = {step: f"{FLOW}.{step}" for step in (ASSESS, DECIDE, READ)}
_PARTITIONS = 1

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Described:
    """One state: what it is of, how large, what is in it; or what is wrong with it."""

    step: str
    key: str
    epoch: int
    size: int
    holds: Mapping[str, Any]
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Inspected:
    """What is in a recovery directory; see `snapshots.Kept` for its epochs."""

    address: Mapping[str, Any]
    epoch: int
    epochs: tuple[int, ...]
    after_us: int | None
    states: tuple[Described, ...]
    sources: Mapping[str, Any]

    @property
    def damaged(self) -> tuple[Described, ...]:
        """Return the states that no run could go on with."""
        return tuple(state for state in self.states if state.damage)


@dataclass(frozen=True, slots=True)
class Carried:
    """What went from one place to another."""

    epoch: int
    states: int
    size: int


@dataclass(frozen=True, slots=True)
class Whole:
    """All that a run goes on with from an epoch."""

    address: Mapping[str, Any]
    epoch: int
    after_us: int | None
    snapshots: tuple[Snapshot, ...]


def inspect_state(directory: Path) -> Inspected:
    """Return what is in a recovery directory, which no astray may be using.

    Raises
    ------
    RecoveryError
        It is none of astray's, is in use, or its database is damaged.
    """
    with held(directory):
        return _inspect(directory)


def _inspect(directory: Path) -> Inspected:
    address, kept = address_of(directory), read_kept(directory)
    states, sources = [], {}
    for snapshot in kept.snapshots(kept.epoch):
        try:
            value = snapshot.value()
            if snapshot.step == _STEPS[READ]:
                sources.update(value)
            holds, damage = _holds(snapshot.step, value), ""
        except StateError as error:
            holds, damage = {}, str(error)
        size = snapshot.size_bytes
        step = snapshot.step.removeprefix(f"{FLOW}.")
        states.append(Described(step, snapshot.key, snapshot.epoch, size, holds, damage))
    after_us = noted_after_us(directory)
    return Inspected(address, kept.epoch, kept.epochs, after_us, tuple(states), sources)


def _holds(step: str, value: Any) -> dict[str, Any]:
    described = {_STEPS[ASSESS]: _of_shard, _STEPS[DECIDE]: _of_decider}
    if step not in described or value is None:
        return {}
    if not isinstance(value, bytes):
        raise StateError("the state is damaged: it is not bytes")
    return described[step](value)


def _of_shard(state: bytes) -> dict[str, Any]:
    _, arrays = blob.unpack(state, "shard")
    first_us = int(arrays["window"]["first_us"][0])
    return {
        "agents": int(np.count_nonzero(arrays["agents"]["key"])),
        "open_sessions": int(np.count_nonzero(arrays["sessions"]["key"])),
        "window": iso(first_us) if first_us else "",
    }


def _of_decider(state: bytes) -> dict[str, Any]:
    meta, arrays = blob.unpack(state, "decider")
    sessions = 0
    for tenant, _ in meta["tenants"]:
        _, tables = blob.unpack(arrays[f"reference{tenant}"].tobytes(), "reference")
        past = sum(len(table) for name, table in tables.items() if name.startswith("past"))
        sessions += past + int(np.count_nonzero(tables["pending"]["kind"] < 0))
    window_us = meta["window_us"]
    return {
        "tenants": len(meta["tenants"]),
        "reference_sessions": sessions,
        "window": iso(window_us) if window_us else "",
    }


def export_state(directory: Path, file: Path, epoch: int | None = None) -> Carried:
    """Write all states and places of sources to a file; return what went into it.

    They are those of the last whole epoch, or of an earlier one that can still be gone back to.

    Raises
    ------
    RecoveryError
        The directory is none of astray's, is in use, damaged, or has nothing to export; the
        file is there already or cannot be written.
    """
    if file.exists():
        raise RecoveryError(f"{file}: is there already", lasting=True)
    whole = read_whole(directory, epoch)
    data = _packed(directory, whole)
    with _writing(file):
        write_whole(file, data)
    return Carried(whole.epoch, len(whole.snapshots), len(data))


def read_whole(directory: Path, epoch: int | None) -> Whole:
    """Return what a run would go on with; from an earlier epoch, if one is given.

    Raises
    ------
    RecoveryError
        The directory is none of astray's, is in use, damaged, or has nothing to go on with.
    """
    with held(directory):
        address, kept = address_of(directory), read_kept(directory)
        chosen = _chosen(directory, kept, epoch)
        after_us = noted_after_us(directory)
        return Whole(address, chosen, after_us, tuple(kept.snapshots(chosen)))


def _chosen(directory: Path, kept: Kept, epoch: int | None) -> int:
    if not kept.epoch:
        raise RecoveryError(f"{directory}: no epoch has come to its end yet")
    if epoch is not None and epoch not in kept.epochs:
        known = ", ".join(map(str, kept.epochs))
        raise RecoveryError(
            f"{directory}: one can go back to epoch {known}, not to {epoch}", lasting=True
        )
    return epoch or kept.epoch


def _packed(directory: Path, whole: Whole) -> bytes:
    """Return everything as bytes: what is bytes already as it is, places and the like as JSON."""
    states: list[Any] = []
    arrays: dict[str, NDArray[Any]] = {}
    for snapshot in whole.snapshots:
        value = sound(directory, snapshot)
        if isinstance(value, bytes):
            arrays[f"{len(states)}"] = np.frombuffer(value, np.uint8)
            value = None
        states.append([snapshot.step, snapshot.key, snapshot.epoch, value])
    meta = {
        "address": whole.address,
        "epoch": whole.epoch,
        "after_us": whole.after_us,
        "states": states,
    }
    return blob.pack(_KIND, meta, arrays)


def sound(directory: Path, snapshot: Snapshot) -> Any:
    """Return the state of a snapshot; raises a `RecoveryError` where it is damaged."""
    with damage_of(directory, snapshot):
        value = snapshot.value()
        _holds(snapshot.step, value)
    return value


def import_state(file: Path, directory: Path) -> Carried:
    """Make a recovery directory of an exported file; return what went into it.

    It is there as a whole or not at all.

    Raises
    ------
    RecoveryError
        The file is not there, damaged, or of another version; the directory has something in it.
    """
    check_new(directory)
    whole = read_exported(file)
    make_directory(directory, whole)
    return Carried(whole.epoch, len(whole.snapshots), file.stat().st_size)


def read_exported(file: Path) -> Whole:
    """Return what a run would go on with that goes on from an exported file.

    Raises
    ------
    RecoveryError
        The file is not there, damaged, or of another version.
    """
    with _reading(file):
        meta, arrays = blob.unpack(file.read_bytes(), _KIND)
    check_readable(file, meta["address"])
    snapshots = tuple(_unpacked(meta["states"], arrays))
    return Whole(meta["address"], meta["epoch"], meta["after_us"], snapshots)


def places_in(whole: Whole) -> Places:
    """Return how far all sources had been read; raises `StateError` where that is damaged."""
    places: Places = {}
    for snapshot in whole.snapshots:
        if snapshot.step == _STEPS[READ]:
            places.update(snapshot.value())
    return places


def check_new(directory: Path) -> None:
    """Raise a `RecoveryError` where there is something in what is to be a new directory."""
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise RecoveryError(f"{directory}: is there already, and not empty", lasting=True)


def make_directory(directory: Path, whole: Whole) -> None:
    """Make a recovery directory, which is there as a whole or not at all.

    What a kill leaves lies beside it, under a name that begins with a dot.

    Raises
    ------
    RecoveryError
        It cannot be written.
    """
    with _writing(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}.") as folder:
            made = Path(folder) / "made"
            made.mkdir(mode=0o700)
            init_db_dir(made, _PARTITIONS)
            write_kept(made, whole.epoch, whole.snapshots)
            write_notes(made, whole.address, whole.after_us)
            made.replace(directory)


def _unpacked(states: Iterable[Any], arrays: Arrays) -> Iterator[Snapshot]:
    for place, (step, key, epoch, told) in enumerate(states):
        state = arrays.get(f"{place}")
        value = told if state is None else state.tobytes()
        if step == _STEPS[READ]:  # JSON has no tuples
            value = {name: tuple(at) for name, at in told.items()}
        yield Snapshot.of(step, key, epoch, value)


@contextmanager
def damage_of(directory: Path, snapshot: Snapshot) -> Iterator[None]:
    """Say which snapshot of which directory is damaged, and what can be done."""
    try:
        yield
    except StateError as error:
        raise RecoveryError(
            _told(directory, snapshot.step, snapshot.key, snapshot.epoch, error)
        ) from None


def _told(directory: Path, step: str, key: str, epoch: int, why: object) -> str:
    return (
        f"{directory}: the snapshot of {key} ({step.removeprefix(FLOW + '.')}, epoch {epoch}) "
        f"cannot be used: {why}. Keep a copy of the directory; `astray state inspect {directory}` "
        "shows what else is in it and whether one can go back; a file that `astray state export` "
        "has written, or a new directory, is another beginning"
    )


@contextmanager
def naming_damage(directory: Path | None) -> Iterator[None]:
    """Say which snapshot is to blame where a run cannot go on with its state."""
    try:
        yield
    except StateError as error:
        if directory is not None and is_marked(directory):
            for state in _inspect(directory).damaged:
                told = _told(directory, state.step, state.key, state.epoch, state.damage)
                raise RecoveryError(told) from error
        raise


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, StateError) as error:
        said = f"{file}: cannot be imported: {_reason(error)}"
        raise RecoveryError(said, lasting=True) from None


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RecoveryError(f"{path}: cannot be written: {_reason(error)}") from None


def _reason(error: OSError | StateError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
