"""From keys to rows: a model-based check against a dictionary."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from astray.baseline.index import PLACE, build_index, drop_row, find_row, put_row, rows_of
from astray.compiled import compiled

# Few distinct low bits, so that probes collide and wrap around.
_KEYS = st.integers(1, 2**64 - 1).map(lambda key: key & ~0x3F | (key & 3)).filter(bool)


@compiled
def _find(index, key):
    return find_row(index, key)


@compiled
def _put(index, key, row):
    put_row(index, key, row)


@given(st.lists(st.tuples(st.booleans(), _KEYS), max_size=60))
def test_an_index_is_a_dictionary(steps):
    """Whatever is put and dropped, exactly what is there is found."""
    index, model = np.zeros(128, PLACE), {}

    for step, (put, key) in enumerate(steps):
        if put and key not in model:
            _put(index, np.uint64(key), step)
            model[key] = step
        elif not put and key in model:
            drop_row(index, np.uint64(key))
            del model[key]

    for _, key in steps:
        assert _find(index, np.uint64(key)) == model.get(key, -1)
    assert np.count_nonzero(index["key"]) == len(model)


def test_a_built_index_has_room_for_as_many_again():
    """Free rows are left out, and the index is at most half full when the rows are."""
    keys = np.array([0, 11, 0, 22, 33], np.uint64)

    index = build_index(keys)

    assert [_find(index, np.uint64(key)) for key in (11, 22, 33, 44)] == [1, 3, 4, -1]
    assert len(index) >= 2 * len(keys)


def test_rows_are_found_by_their_keys():
    """Who has no row is told so."""
    index = build_index(np.array([1, 2], np.uint64))

    assert rows_of(index, np.array([2, 7, 1], np.uint64)).tolist() == [1, -1, 0]
