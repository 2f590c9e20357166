"""Tables in pages: a model-based check against plain dictionaries, and the caps."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from astray.baseline import pages as p
from astray.compiled import compiled

_TABLE = np.dtype([("run", np.int32), ("run_bits", np.int32)])
_ROOM = 8192


@compiled
def _add(heap, tables, table, item, run_bits_max, weight_min):
    return p.add(heap, tables[table], item, run_bits_max, weight_min)


@compiled
def _weigh(heap, tables, table, item):
    return p.weight_at(heap, p.find(heap, tables[table], item))


@compiled
def _set(heap, place, weight, note):
    p.set_weight(heap, place, weight)
    p.set_note(heap, place, note)


@compiled
def _release(heap, tables, table):
    p.release(heap, tables[table])


@compiled
def _fingerprint(channel, item):
    return p.fingerprint(channel, item)


class Tables(RuleBasedStateMachine):
    """Three tables in one heap behave like three dictionaries."""

    def __init__(self):
        super().__init__()
        self.heap = p.new_pages(_ROOM)
        self.tables = np.zeros(3, _TABLE)
        self.model = [{}, {}, {}]

    @rule(table=st.integers(0, 2), first=st.integers(1, 3000), count=st.integers(1, 60))
    def add(self, table, first, count):
        """Give items a place; they keep their weight."""
        for item in range(first, first + count):
            place = _add(self.heap, self.tables, table, item, 10, np.inf)
            weight = self.model[table].get(item, 0.0) + 1.0
            _set(self.heap, place, weight, 0)
            self.model[table][item] = weight

    @precondition(lambda self: any(self.model))
    @rule(table=st.integers(0, 2))
    def release(self, table):
        """Empty a table; its pages serve others."""
        _release(self.heap, self.tables, table)
        self.model[table] = {}

    @invariant()
    def agrees(self):
        """Find what the dictionaries hold, and nothing else."""
        for table, model in enumerate(self.model):
            for item in (*model, 4000, 5000):
                assert _weigh(self.heap, self.tables, table, item) == model.get(item, 0.0)


TestTables = Tables.TestCase


def test_a_table_grows_with_what_it_holds():
    """One page serves a few items, and many items need many pages."""
    heap, tables = p.new_pages(_ROOM), np.zeros(2, _TABLE)

    for item in range(1, 5):
        _add(heap, tables, 0, item, 10, np.inf)
    for item in range(1, 2001):
        _add(heap, tables, 1, item * 2_654_435_761 % 2**32, 10, np.inf)

    assert tables["run_bits"].tolist()[0] == 0
    assert 2000 / 16 <= 2 ** tables["run_bits"][1] <= 512


def test_at_its_cap_a_table_gives_up_the_lightest():
    """A heavy item survives a flood of light ones; the table does not grow."""
    heap, tables = p.new_pages(_ROOM), np.zeros(1, _TABLE)
    _set(heap, _add(heap, tables, 0, 7, 1, np.inf), 100.0, 0)

    for item in range(1000, 11_000):
        _set(heap, _add(heap, tables, 0, item, 1, np.inf), 1.0, 0)

    assert _weigh(heap, tables, 0, 7) == 100.0
    assert tables["run_bits"][0] == 1
    assert p.used_pages(heap) <= 8


def test_an_item_that_weighs_less_than_all_is_not_admitted():
    """Peers' knowledge is not pushed out by what weighs less."""
    heap, tables = p.new_pages(64), np.zeros(1, _TABLE)
    for item in range(16):
        _set(heap, _add(heap, tables, 0, item + 1, 0, np.inf), 5.0, 0)

    assert _add(heap, tables, 0, 99, 0, 4.9) == -1
    assert _add(heap, tables, 0, 99, 0, 5.0) >= 0


def test_pages_are_used_again():
    """Tables that come and go do not use up the heap."""
    heap, tables = p.new_pages(_ROOM), np.zeros(1, _TABLE)

    for _ in range(200):
        for item in range(1, 200):
            _add(heap, tables, 0, item, 10, np.inf)
        _release(heap, tables, 0)

    assert p.used_pages(heap) < 100


@given(st.integers(0, 15), st.integers(0, 2**64 - 1))
def test_a_fingerprint_has_32_bits_and_is_never_the_empty_slot(channel, item):
    """Zero marks an empty slot, so no item may have it."""
    with np.errstate(over="ignore"):
        found = _fingerprint(channel, np.uint64(item))

    assert 0 < found < 2**32
