"""Running a dataflow, with errors as astray's own."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from bytewax.dataflow import Dataflow
from bytewax.testing import cluster_main, run_main

from astray.errors import ClusterError, RecoveryError, Seeing
from astray.flow.allocating import keep_freed_memory
from astray.flow.cluster import Cluster
from astray.flow.faults import unwrapped
from astray.flow.recovery import Recovery

_ENGINE_API = "BYTEWAX_DATAFLOW_API_ENABLED"
"""Where it is set, to whatever, the engine tells everybody on every network of its dataflow."""

_ENGINE_DATABASE = "Sqlite"
_ENGINE_PANIC = "PanicException"  # no `Exception`, and in no module
_PEER_IS_GONE = "another process of the cluster has ended, and says why itself"

_GARBAGE_THRESHOLDS = (100_000, 20, 50)
"""How often cycles are looked for. By default every few hundred messages of a batch have Python
look through all of them, a fifth of the time from a topic to decisions, and none is in a cycle."""


def run_flow(
    flow: Dataflow,
    interval_s: float,
    recovery: Recovery | None = None,
    cluster: Cluster | None = None,
) -> None:
    """Run a dataflow to the end of its sources; what a step raises comes as it is.

    In a cluster this is one process of several; it ends when all have come to the end.

    Raises
    ------
    RecoveryError
        The engine cannot read or write its recovery store.
    ClusterError
        Another process has ended before all had come to the end.
    """
    os.environ.pop(_ENGINE_API, None)
    with Seeing(partial(_tell, recovery, cluster)), unwrapped(), _rare_collections():
        _run(flow, timedelta(seconds=interval_s), recovery, cluster)


def _tell(recovery: Recovery | None, cluster: Cluster | None, error: BaseException) -> None:
    """Raise as an error of astray's own what is the engine's own."""
    if type(error) is not RuntimeError and type(error).__name__ != _ENGINE_PANIC:
        return
    if recovery is not None and _ENGINE_DATABASE in str(error):
        directory = recovery.engine.db_dir
        raise RecoveryError(f"{directory}: cannot be used: {error}") from None
    if cluster is not None:
        raise ClusterError(f"{_PEER_IS_GONE} ({error})") from None


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for garbage seldom, and not among what was there before.

    A program that has frozen what it imported goes on so: to look at all of it once more, now
    and when it ends, takes a quarter of a short run.
    """
    before, is_frozen = gc.get_threshold(), gc.get_freeze_count() > 0
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if not is_frozen:
            gc.unfreeze()
            gc.collect()  # what was garbage when it was frozen would never be looked at again


def _run(
    flow: Dataflow,
    interval: timedelta,
    recovery: Recovery | None,
    cluster: Cluster | None,
) -> None:
    keep_freed_memory()
    engine = None if recovery is None else recovery.engine
    if cluster is None:
        run_main(flow, epoch_interval=interval, recovery_config=engine)
        return
    cluster_main(
        flow,
        list(cluster.addresses),
        cluster.process,
        epoch_interval=interval,
        recovery_config=engine,
    )
