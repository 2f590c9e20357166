"""Keys are told apart by their bytes, wherever in a chunk they stand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.compiled import compiled
from astray.events.keys import KEYS, UNKNOWN, field_of


@compiled
def _field_of(data, first, end):
    return field_of(data, first, end)


def _found(before, key, after):
    data = np.frombuffer(before + key + after, np.uint8)
    with np.errstate(over="ignore"):
        return _field_of(data, len(before), len(before) + len(key))


@pytest.mark.parametrize("after", [b"", b'"', b'": 12345678 }\n'], ids=["end", "near", "far"])
@pytest.mark.parametrize("key", KEYS)
def test_each_key_is_found(key, after):
    """Also at the end of the bytes, where no eight are left to be read."""
    assert _found(b'{"', key.encode(), after) == KEYS.index(key)


@pytest.mark.parametrize("key", KEYS)
def test_what_differs_in_one_byte_is_no_key(key):
    """Or has one more, or one less."""
    text = key.encode()
    others = [text[:at] + bytes([byte ^ 1]) + text[at + 1 :] for at, byte in enumerate(text)]

    for other in (*others, text + b"s", text[:-1], text.upper()):
        expected = KEYS.index(other.decode()) if other.decode() in KEYS else UNKNOWN
        assert _found(b'"', other, b'":1}\n') == expected


@given(st.binary(max_size=20))
def test_any_other_bytes_are_no_key(key):
    """Whatever they are."""
    expected = KEYS.index(key.decode()) if key in [one.encode() for one in KEYS] else UNKNOWN

    assert _found(b'{"', key, b'":1}\n') == expected
