"""Running a dataflow: kernels first, errors as astray's own."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig
from bytewax.testing import cluster_main, run_main

from astray.baseline.judging import compile_judging
from astray.baseline.part import part_of, windows_of
from astray.baseline.settings import shard_settings
from astray.baseline.shard import Shard
from astray.calibrate.fusing import compile_experts
from astray.compiled import CACHE, COMPLETE, INTERPRETED
from astray.config import load_config
from astray.decide.decider import Decider
from astray.decide.limits import lowest_limits
from astray.errors import RecoveryError
from astray.events import Chunk, Decoded, Event, decode, encode_event
from astray.events.decoding import rows_of
from astray.flow.cluster import Cluster
from astray.flow.faults import unwrapped

_HOUR_US = 3_600_000_000
_COMPLETE = CACHE / COMPLETE
_ENGINE_API = "BYTEWAX_DATAFLOW_API_ENABLED"
"""Where it is set, to whatever, the engine tells everybody on every network of its dataflow."""

_ENGINE_DATABASE = "Sqlite"

_GARBAGE_THRESHOLDS = (100_000, 20, 50)
"""How often cycles are looked for. By default every few hundred messages of a batch have Python
look through all of them, a fifth of the time from a topic to decisions, and none is in a cycle."""


def kernels_are_ready() -> bool:
    """Return whether all kernels lie compiled on the disk, so that a run starts at once."""
    return INTERPRETED or _COMPLETE.exists()


def compile_kernels() -> None:
    """Have everything compiled, or loaded from the cache, that a run will need.

    Without a cache this takes a while, so a process of its own compiles the scanner.
    """
    other = None
    if not kernels_are_ready():
        code = "from astray.flow.engine import compile_scanner; compile_scanner()"
        other = subprocess.Popen([sys.executable, "-c", code])  # noqa: S603 - ourselves
    compile_shard()
    if other is not None:
        other.wait()
    compile_scanner()
    if CACHE.is_dir():
        _COMPLETE.touch()


def compile_scanner() -> None:
    """Compile, or load, what decoding needs."""
    line = b'{"ts":1,"agent":"a","action":"b"}\n'
    decode(Chunk("warm-up", 0, line), now_us=2**60).only(np.arange(1))


def compile_shard() -> None:
    """Compile, or load, what a shard and a decider need."""
    config = load_config(overrides={"events": {"shards": 1}})  # whose windows a decider follows
    events = [
        Event(ts_us=hours * _HOUR_US, agent="a", action="b", resources=("c",), session=session)
        for hours, session in ((9, "s"), (10, "t"), (30, "s"))
    ]
    rows, resources = rows_of(events)
    lines = [encode_event(event) for event in events]  # names are read from them
    rows["line_end"] = np.cumsum([len(line) for line in lines])
    rows["line_first"] = rows["line_end"] - [len(line) for line in lines]
    decoded = Decoded(Chunk("warm-up", 0, b"".join(lines)), rows, resources, ())
    shard = Shard(0, shard_settings(config, lowest_limits(config)), ["warm-up"])
    part = part_of(0, decoded, np.arange(len(rows)), windows_of(decoded, _HOUR_US))
    records = shard.assess(part)
    shard.dump()
    compile_judging(shard.memory)
    compile_experts()
    Decider(config).decide([*records, *shard.open_sessions()])


def run_flow(
    flow: Dataflow,
    interval_s: float,
    recovery: RecoveryConfig | None = None,
    cluster: Cluster | None = None,
) -> None:
    """Run a dataflow to the end of its sources; what a step raises comes as it is.

    In a cluster this is one process of several; it ends when all have come to the end.

    Raises
    ------
    RecoveryError
        The engine cannot read or write its recovery store.
    """
    os.environ.pop(_ENGINE_API, None)
    try:
        with unwrapped(), _rare_collections():
            _run(flow, timedelta(seconds=interval_s), recovery, cluster)
    except RuntimeError as error:
        if recovery is None or _ENGINE_DATABASE not in str(error):
            raise
        raise RecoveryError(f"{recovery.db_dir}: cannot be used: {error}") from None


@contextmanager
def _rare_collections() -> Iterator[None]:
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
        gc.collect()  # what was garbage when it was frozen would never be looked at again


def _run(
    flow: Dataflow,
    interval: timedelta,
    recovery: RecoveryConfig | None,
    cluster: Cluster | None,
) -> None:
    if cluster is None:
        run_main(flow, epoch_interval=interval, recovery_config=recovery)
        return
    cluster_main(
        flow,
        list(cluster.addresses),
        cluster.process,
        epoch_interval=interval,
        recovery_config=recovery,
    )
