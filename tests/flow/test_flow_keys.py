"""Keys are where the engine spreads them: evenly over the processes of a run."""

import multiprocessing
import threading
from collections import Counter, defaultdict

import pytest
from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.testing import TestingSink, TestingSource, cluster_main

from astray.flow.keys import TENANT_KEYS, engine_hash, shard_key, tenant_key


class Place(StatefulBatchLogic[int, int, None]):
    """Says which worker it is at."""

    def on_batch(self, values):
        """Return the worker's thread, once for every value."""
        return [threading.get_ident() for _ in values], self.RETAIN

    def snapshot(self):
        """Return no state."""


def places(keys, workers):
    """Return the workers to which the engine sends keys."""
    found = []
    flow = Dataflow("places")
    items = op.input("keys", flow, TestingSource([(key, 0) for key in keys]))
    placed = op.stateful_batch("place", items, lambda _: Place())
    op.output("out", placed, TestingSink(found))
    cluster_main(flow, [], 0, worker_count_per_proc=workers)
    return dict(found)


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_the_engine_sends_a_key_to_the_worker_of_its_hash(workers):
    """Two keys are at one worker exactly if their hashes, modulo the workers, are the same."""
    keys = [f"key-{number}" for number in range(40)]

    with multiprocessing.get_context("spawn").Pool(1) as alone:  # the engine leaves traces
        found = alone.apply(places, (keys, workers))

    at = defaultdict(set)
    for key in keys:
        at[engine_hash(key) % workers].add(found[key])
    assert len(at) == len(set(found.values())) == workers
    assert all(len(threads) == 1 for threads in at.values())


@pytest.mark.parametrize("workers", range(1, 7))
@pytest.mark.parametrize("key", [shard_key, tenant_key])
def test_no_worker_has_much_more_than_another(key, workers):
    """Shards, and deciders, are spread as evenly as their number allows."""
    for count in range(TENANT_KEYS, 40):
        held = Counter(engine_hash(key(number)) % workers for number in range(count))

        most, least = max(held.values()), min(held.get(worker, 0) for worker in range(workers))
        assert most - least <= 1


def test_keys_stay_what_they_are():
    """State is found by its key: a change of the rule would lose it."""
    assert [shard_key(0), shard_key(255), tenant_key(3)] == [
        "shard-000.128", "shard-255.21", "tenants-003.98",
    ]  # fmt: skip
