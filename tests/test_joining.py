"""Joined is joined, however it is done."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.joining import LARGE_BYTES, joined


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_small_buffers_are_joined(pieces):
    """Any of them, none of them, empty ones."""
    assert joined(pieces) == joined([memoryview(piece) for piece in pieces]) == b"".join(pieces)


@pytest.mark.parametrize("more", [-1, 0, 1, 12_345_678])
def test_large_buffers_are_joined(more):
    """Of any size, beginning anywhere in a page of memory, with empty ones among them."""
    data = np.random.default_rng(1).integers(0, 256, LARGE_BYTES + more, np.uint8).tobytes()
    cuts = [0, 0, 1, 4097, LARGE_BYTES // 2, LARGE_BYTES // 2, len(data)]
    pieces = [memoryview(data)[first:end] for first, end in itertools.pairwise(cuts)]

    whole = joined(pieces)

    assert type(whole) is bytes
    assert whole == data
    assert hash(whole) == hash(data)


def test_what_was_joined_is_nobody_elses():
    """Its memory stays its own when what it was made of changes or goes."""
    piece = bytearray(LARGE_BYTES)
    first = joined([memoryview(piece)])
    piece[:] = b"\x01" * LARGE_BYTES
    second = joined([memoryview(piece)])
    del piece

    assert not any(first[:: LARGE_BYTES // 64])
    assert set(second[:: LARGE_BYTES // 64]) == {1}
