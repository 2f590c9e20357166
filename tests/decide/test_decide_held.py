"""What waits for its window is taken by windows, the earliest first."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from astray.baseline.buffers import RECORD
from astray.baseline.records import Records
from astray.decide.held import Held


def records(shard, window_us):
    """Return records of a shard that wait for a window."""
    return Records(shard, window_us, np.zeros(0, RECORD), (), ())


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9))), st.integers(-1, 10))
def test_what_is_due_is_taken_and_the_rest_waits(waiting, until_us):
    """As a list that is searched as a whole would have it, whatever order things come in."""
    held, every = Held(), [records(*one) for one in waiting]
    for one in every:
        held.put(one)

    of_window = list(held.of(until_us))
    due = held.take(until_us)

    assert of_window == [one for one in every if one.window_us == until_us]
    assert due == sorted(
        (one for one in every if one.window_us <= until_us), key=lambda one: one.window_us
    )
    later = [one for one in every if one.window_us > until_us]
    assert sorted(map(id, held)) == sorted(map(id, later))
    assert held.first_us == min((one.window_us for one in later), default=None)
    assert held.take(until_us) == []
