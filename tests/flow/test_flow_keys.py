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
def test_no_worker_has_many_more_deciders_than_another(workers):
    """Deciders are spread as evenly as their number allows."""
    for count in range(TENANT_KEYS, 40):
        held = Counter(engine_hash(tenant_key(number)) % workers for number in range(count))

        most, least = max(held.values()), min(held.get(worker, 0) for worker in range(workers))
        assert most - least <= 1


@pytest.mark.parametrize(
    ("workers", "shares"),
    [(2, (1, 3)), (3, (0, 2, 2)), (4, (0, 1, 1, 2)), (5, (0, 1, 1, 1, 1)), (6, (0, 0, 0, 1, 1, 2))],
)
def test_shards_keep_out_of_the_way_of_the_decider_of_who_has_one_tenant(workers, shares):
    """Its process has the fewest: what a decider does cannot be divided."""
    for count in (4, 8, 16, 64):
        held = Counter(engine_hash(shard_key(number)) % workers for number in range(count))
        of = [held.get(worker, 0) for worker in range(workers)]

        assert of[engine_hash(tenant_key(0)) % workers] == min(of)
        assert count > 4 or tuple(sorted(of)) == shares
        assert max(of) <= max(count * (3 if workers == 2 else 2) / 4, 2)


def test_keys_stay_what_they_are():
    """State is found by its key: a change of the rule would lose it."""
    assert [shard_key(0), shard_key(255), tenant_key(3)] == [
        "shard-000.7", "shard-255.27", "tenants-003.98",
    ]  # fmt: skip
