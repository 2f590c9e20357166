"""What compares many numbers at once says what a loop says, compiled and not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray import vector
from astray.compiled import compiled
from astray.vector import BYTES, LANES, fetch, place_of, plain_bytes

_ROW = np.dtype([("item", np.uint32, LANES), ("weight", np.float32)])
_NUMBERS = st.sampled_from([0, 1, 2, 2**31, 2**32 - 1])


@compiled
def _place_of(rows, row, wanted):
    return place_of(rows, row, wanted)


@compiled
def _plain_bytes(data, at):
    return plain_bytes(data, at)


@compiled
def _fetch(rows, row, offset):
    fetch(rows, row, offset)


@given(numbers=st.lists(_NUMBERS, min_size=LANES, max_size=LANES), wanted=_NUMBERS)
def test_the_last_number_that_is_the_wanted_one_is_found(numbers, wanted):
    """And -1 if none is; rows before and after are not looked at."""
    rows = np.zeros(3, _ROW)
    rows["item"][0] = rows["item"][2] = wanted
    rows["item"][1] = numbers
    places = [place for place, number in enumerate(numbers) if number == wanted]

    assert _place_of(rows, 1, wanted) == (places[-1] if places else -1)
    assert vector._in_python(rows, 1, wanted) == (places[-1] if places else -1)


@given(st.binary(min_size=BYTES, max_size=BYTES + 3), st.integers(0, 3))
def test_text_is_plain_up_to_the_first_byte_that_is_not(text, at):
    """A quote, a backslash, a control character, or what is not ASCII."""
    data = np.frombuffer(text.ljust(BYTES + 3, b"x"), np.uint8)
    odd = [
        place
        for place, byte in enumerate(data[at : at + BYTES].tolist())
        if byte < 32 or byte > 127 or byte in b'"\\'
    ]

    assert _plain_bytes(data, at) == (odd[0] if odd else BYTES)
    assert vector._plain_in_python(data, at) == (odd[0] if odd else BYTES)


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_is_told_apart(byte):
    """In the first place and in the last."""
    is_plain = 32 <= byte < 128 and byte not in b'"\\'
    for place in (0, BYTES - 1):
        data = np.full(BYTES, ord("x"), np.uint8)
        data[place] = byte

        assert _plain_bytes(data, 0) == (BYTES if is_plain else place)


def test_memory_that_is_asked_for_is_not_changed():
    """Nor is memory that is not there touched: asking is no reading."""
    rows = np.arange(8, dtype=np.uint64)

    for offset in (0, 56, 1 << 40):
        _fetch(rows, 3, offset)
        vector._nothing(rows, 3, offset)

    assert rows.tolist() == list(range(8))
