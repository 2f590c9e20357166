"""Joined is joined, however it is done."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.joining import LARGE_BYTES, joined


def length(pieces):
    """Return how many bytes there are, in eight bytes."""
    return sum(map(len, pieces)).to_bytes(8, "big")


def sealed(pieces):
    """Return these buffers joined, with their length after them."""
    return joined(pieces, length, 8)


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_small_buffers_are_joined(pieces):
    """Any of them, none of them, empty ones."""
    assert sealed(pieces) == sealed(list(map(memoryview, pieces)))
    assert sealed(pieces) == b"".join(pieces) + length(pieces)


@pytest.mark.parametrize("more", [-1, 0, 1, 12_345_678])
def test_large_buffers_are_joined(more):
    """Of any size, beginning anywhere in a page of memory, with empty ones among them."""
    data = np.random.default_rng(1).integers(0, 256, LARGE_BYTES + more, np.uint8).tobytes()
    cuts = [0, 0, 1, 4097, LARGE_BYTES // 2, LARGE_BYTES // 2, len(data)]
    pieces = [memoryview(data)[first:end] for first, end in itertools.pairwise(cuts)]

    whole = sealed(pieces)

    assert type(whole) is bytes
    assert whole == data + length([data])
    assert hash(whole) == hash(data + length([data]))


def test_what_was_joined_is_nobody_elses():
    """Its memory stays its own when what it was made of changes or goes."""
    piece = bytearray(LARGE_BYTES)
    first = sealed([memoryview(piece)])
    piece[:] = b"\x01" * LARGE_BYTES
    second = sealed([memoryview(piece)])
    del piece

    assert not any(first[: LARGE_BYTES : LARGE_BYTES // 64])
    assert set(second[: LARGE_BYTES : LARGE_BYTES // 64]) == {1}


def test_a_seal_that_cannot_be_made_is_an_error():
    """Nobody gets what is not sealed."""

    def fails(_):
        raise ValueError("no seal")

    for size in (1, LARGE_BYTES):
        with pytest.raises(ValueError, match="no seal"):
            joined([bytes(size)], fails, 8)
