"""State as bytes: a frame around numpy buffers, never pickled objects.

    magic | schema version | size of the header | header | buffers | crc-32

The header is JSON: the kind of state, what else belongs to it, and name, type and shape of
every buffer in order. The checksum comes last, so that it is computed while the rest is copied.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from astray.errors import StateError
from astray.joining import joined

SCHEMA_VERSION, OLDEST_VERSION = 10, 8
"""The version of what is written, and the oldest that is read; whoever unpacks upgrades it."""

_MAGIC = b"astray\x00S"
_FRAME = struct.Struct("<8sII")
_CRC = struct.Struct("<I")


def pack(kind: str, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return state as bytes; equal state gives equal bytes."""
    described = [
        [name, np.lib.format.dtype_to_descr(array.dtype), array.shape]
        for name, array in arrays.items()
    ]
    header = orjson.dumps({"kind": kind, "meta": meta, "arrays": described})
    frame = _FRAME.pack(_MAGIC, SCHEMA_VERSION, len(header))
    return joined((frame, header, *map(_bytes_of, arrays.values())), _crc, _CRC.size)


def _bytes_of(array: NDArray[Any]) -> memoryview:
    """Return the bytes of an array where they are: a snapshot holds the flow, so copies once."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def unpack(blob: bytes, kind: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return what `pack` was given, in whichever version; arrays are writable copies.

    Raises
    ------
    StateError
        The bytes are damaged, of another kind, or of a schema version that is not read.
    """
    header, at = _header(blob, kind)
    arrays: dict[str, NDArray[Any]] = {}
    for name, descr, shape in header["arrays"]:
        dtype = np.lib.format.descr_to_dtype(_tuples(descr))
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(blob, dtype, count, at).reshape(shape).copy()
        at += count * dtype.itemsize
    return header["meta"], arrays


def _header(blob: bytes, kind: str) -> tuple[dict[str, Any], int]:
    if len(blob) < _FRAME.size + _CRC.size or not blob.startswith(_MAGIC):
        raise StateError(f"the {kind} state is not astray's: it does not begin as it should")
    _, version, header_size = _FRAME.unpack_from(blob)
    if not OLDEST_VERSION <= version <= SCHEMA_VERSION:
        read = f"this astray reads {OLDEST_VERSION} to {SCHEMA_VERSION}"
        raise StateError(f"the {kind} state has schema version {version}; {read}")
    checked = memoryview(blob)[: -_CRC.size]
    if _crc([checked]) != blob[-_CRC.size :]:
        raise StateError(f"the {kind} state is damaged: its checksum does not match")
    header = orjson.loads(checked[_FRAME.size : _FRAME.size + header_size])
    if header["kind"] != kind:
        raise StateError(f"expected {kind} state, found {header['kind']} state")
    return header, _FRAME.size + header_size


def _crc(pieces: Iterable[bytes | memoryview]) -> bytes:
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
    return _CRC.pack(crc)


def _tuples(descr: Any) -> Any:
    """Return a type description as numpy wants it: JSON has turned its tuples into lists."""
    if isinstance(descr, str):
        return descr
    return [(name, type_, *map(tuple, shape)) for name, type_, *shape in descr]
