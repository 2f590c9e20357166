"""Resources as hierarchies: what a name is, what it looks like, and where it lies.

`s3://lake/exports/2026-11-22/part-5d18e982.parquet` is new every time; its pattern
`s3/lake/exports/*/*/parquet` and its place `s3/lake` are not. A name is cut at what separates
its parts in paths, URLs, ARNs and mail addresses alike. A part that is a number or has several
digits is one of many and could as well be another: an id, a date, a hash, an account number.
Nothing here knows a format, and nothing is taken for granted of the levels: whether an
exact name, a pattern or a place is news is counted per agent and group, like all else.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.compiled import compiled, inner, int64
from astray.events.ids import hash_bytes, mix

RESOURCE = np.dtype([("id", np.uint64), ("pattern", np.uint64), ("place", np.uint64)])
"""A resource: ids of its exact name, of its pattern, and of the pattern's first two parts."""

_SEPARATORS = b"/:?&=#@ .,;|\\"
_PLAIN, _DIGIT, _SEPARATOR = 0, 1, 2
_CLASS = np.zeros(256, np.uint8)
_CLASS[np.frombuffer(b"0123456789", np.uint8)] = _DIGIT
_CLASS[np.frombuffer(_SEPARATORS, np.uint8)] = _SEPARATOR
_ROOT = np.uint64(0x7061747465726E73)
_ANY = np.uint64(0x616E797468696E67)
_DIGITS_MIN = 2
_PLACE_PARTS = 2


@inner
def describe(data: NDArray[np.uint8], first: int, end: int, resource: Any) -> None:
    """Fill in the `RESOURCE` whose name is `data[first:end]`."""
    pattern, place = _ROOT, _ROOT
    parts, begin, digits = 0, first, 0
    for at in range(first, end + 1):
        kind = int64(_CLASS[data[at]]) if at < end else _SEPARATOR
        if kind != _SEPARATOR:
            digits += kind
            continue
        if at > begin:
            is_any = digits == at - begin or digits >= _DIGITS_MIN
            pattern = mix(pattern, _ANY if is_any else hash_bytes(data, begin, at))
            parts += 1
            if parts <= _PLACE_PARTS:
                place = pattern
        begin, digits = at + 1, 0
    resource["id"] = hash_bytes(data, first, end)
    resource["pattern"] = pattern
    resource["place"] = place


def resources_of(texts: Sequence[str]) -> NDArray[Any]:
    """Return names as `RESOURCE`, exactly as the scanner describes them."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
    resources = np.zeros(len(encoded), RESOURCE)
    with np.errstate(over="ignore"):  # only the interpreted form warns; wrapping is meant
        _describe_all(np.frombuffer(b"".join(encoded), np.uint8), ends, resources)
    return resources


@compiled
def _describe_all(
    data: NDArray[np.uint8], ends: NDArray[np.int64], resources: NDArray[Any]
) -> None:
    first = int64(0)
    for number in range(len(ends)):
        describe(data, first, ends[number], resources[number])
        first = ends[number]
