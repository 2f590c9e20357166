"""A recovery directory made of another one, for another number of shards.

A shard's state is divided in `baseline.reshard`. Deciders see whole tenants, which no shard
bounds: of theirs only what shards have sent from a window that is not over yet is addressed
anew. Where the sources have been read to, and all else, stays as it is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from astray import blob
from astray.baseline.records import Records
from astray.baseline.reshard.divide import Fleet
from astray.baseline.reshard.spread import Spread, Tenants, shards_of_records
from astray.baseline.settings import shard_settings
from astray.config import Config
from astray.decide.limits import lowest_limits
from astray.errors import RecoveryError
from astray.flow.dataflow import FLOW
from astray.flow.keys import shard_key
from astray.flow.recovery import check_readable
from astray.flow.snapshots import Snapshot
from astray.flow.state import Whole, check_new, make_directory, read_whole, sound
from astray.flow.steps import ASSESS, DECIDE

_ASSESS, _DECIDE = f"{FLOW}.{ASSESS}", f"{FLOW}.{DECIDE}"
_DECIDER = "decider"


@dataclass(frozen=True, slots=True)
class Resharded:
    """What came of it."""

    before: Spread
    after: Spread
    epoch: int
    agents: int
    open_sessions: int


@dataclass(frozen=True, slots=True)
class _Decided:
    """A decider's state, looked into as far as shards are concerned."""

    snapshot: Snapshot
    meta: dict[str, Any]
    arrays: dict[str, Any]

    @classmethod
    def of(cls, snapshot: Snapshot, state: bytes) -> "_Decided":
        return cls(snapshot, *blob.unpack(state, _DECIDER))

    def records(self) -> list[Records]:
        """Return what waits for the end of a window."""
        return [
            Records.load(held, self.arrays[f"held{place}"])
            for place, held in enumerate(self.meta["held"])
        ]

    def tenants(self) -> set[int]:
        waiting = (records.rows["tenant"].tolist() for records in self.records())
        return {tenant for tenant, _ in self.meta["tenants"]}.union(*waiting)

    def addressed(
        self, before: Spread, after: Spread, tenants: Tenants, window_us: int
    ) -> Snapshot:
        """Return the state as if what it has got had come from the new shards."""
        held: list[Records] = []
        for records in self.records():
            held.extend(_addressed(records, before, after, tenants))
        held.sort(key=lambda records: (records.window_us, records.shard))
        kept = {name: self.arrays[name] for name in self.arrays if not name.startswith("held")}
        kept |= {f"held{place}": records.rows for place, records in enumerate(held)}
        windows_us = [window_us] * after.shards
        dumped = [records.dump() for records in held]
        meta = {**self.meta, "shard_window_us": windows_us, "held": dumped}
        state = blob.pack(_DECIDER, meta, kept)
        return Snapshot.of(_DECIDE, self.snapshot.key, self.snapshot.epoch, state)


def _addressed(
    records: Records, before: Spread, after: Spread, tenants: Tenants
) -> Iterable[Records]:
    shards = shards_of_records(records.rows, records.shard, before, after, tenants)
    for shard in np.unique(shards).tolist() or [records.shard % after.shards]:
        some = records.only(np.flatnonzero(shards == shard))
        yield replace(some, shard=shard)


def reshard_state(
    directory: Path, target: Path, config: Config, epoch: int | None = None
) -> Resharded:
    """Make a recovery directory for the shards of a configuration of one for others.

    The one there is is not changed; the new one is there as a whole or not at all.

    Raises
    ------
    RecoveryError
        The directory is none of astray's, is in use, damaged, or cannot be divided so; the
        new one has something in it, or cannot be written.
    """
    check_new(target)
    whole = read_whole(directory, epoch)
    check_readable(directory, whole.address)
    before = _spread(whole.address["shards"], whole.address["shard_by"])
    after = _spread(config.events.shards, config.events.shard_by)
    if before == after:
        raise RecoveryError(f"{directory}: has {before} already", lasting=True)
    snapshots, fleet = _divided(directory, whole, before, after, config)
    address = {**whole.address, "shards": after.shards, "shard_by": config.events.shard_by}
    make_directory(target, Whole(address, whole.epoch, whole.after_us, tuple(snapshots)))
    return Resharded(before, after, whole.epoch, fleet.agents, fleet.open_sessions)


def _spread(shards: int, shard_by: str) -> Spread:
    return Spread(shards, shard_by == "group")


def _divided(
    directory: Path, whole: Whole, before: Spread, after: Spread, config: Config
) -> tuple[list[Snapshot], Fleet]:
    kept, shards, deciders = [], {}, []
    for snapshot in whole.snapshots:
        value = sound(directory, snapshot)
        if snapshot.step == _ASSESS and value is not None:
            shards[snapshot.key] = (snapshot.epoch, value)
        elif snapshot.step == _DECIDE and value is not None:
            deciders.append(_Decided.of(snapshot, value))
        elif snapshot.step != _ASSESS:
            kept.append(snapshot)
    fleet = Fleet.of(_in_order(directory, shards, before), before)
    settings = shard_settings(config, lowest_limits(config))
    tenants = Tenants(fleet.tenants().union(*(decider.tenants() for decider in deciders)))
    problems = fleet.problems(after, tenants, settings)
    if problems:
        raise RecoveryError(
            f"{directory}: cannot become {after}: {'; '.join(problems)}", lasting=True
        )
    at = max((epoch for epoch, _ in shards.values()), default=0)
    divided = enumerate(fleet.divided(after, tenants, settings))
    kept += [Snapshot.of(_ASSESS, shard_key(number), at, state) for number, state in divided]
    window_us = fleet.window_us
    kept += [decider.addressed(before, after, tenants, window_us) for decider in deciders]
    return kept, fleet


def _in_order(
    directory: Path, shards: dict[str, tuple[int, bytes]], before: Spread
) -> Sequence[bytes]:
    """Return the states of all shards; of none, where no event has come yet."""
    keys = list(map(shard_key, range(before.shards)))
    missing = [key for key in keys if key not in shards]
    if shards and missing:
        raise RecoveryError(f"{directory}: has no state of {', '.join(missing)}", lasting=True)
    return [shards[key][1] for key in keys if key in shards]
