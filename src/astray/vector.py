"""What numba has no word for: comparing many numbers at once, and asking for memory ahead.

Not compiled, the same is done in plain Python, or nothing where nothing but time is at stake.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from astray.compiled import INTERPRETED

LANES = 16
"""Numbers that are compared at once."""

BYTES = 32
"""Bytes of text that are looked at at once."""

_BYTE, _LONG, _INT, _BIT = ir.IntType(8), ir.IntType(64), ir.IntType(32), ir.IntType(1)
_SPACE, _QUOTE, _BACKSLASH, _ASCII = 32, 34, 92, 127
_FOR_READING, _KEEP_NEAR, _DATA = 0, 3, 1


def _address(context: Any, builder: Any, array: Any, of: Any, row: Any, offset: Any) -> Any:
    """Return where a row of an array begins, and so many bytes further."""
    found = context.make_array(of)(context, builder, array)
    start = builder.bitcast(found.data, _BYTE.as_pointer())
    row_bytes = builder.extract_value(found.strides, 0)
    return builder.gep(start, [builder.add(builder.mul(row, row_bytes), offset)])


@intrinsic
def _place_of(_: Any, array: Any, _row: Any, _wanted: Any) -> Any:
    """Return the last of the sixteen numbers at a row's beginning that is the wanted one, or -1."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(_INT, LANES)
        at = _address(context, builder, arguments[0], signature.args[0], arguments[1], _LONG(0))
        there = builder.load(builder.bitcast(at, vector.as_pointer()), align=4)
        one = builder.trunc(arguments[2], _INT)
        single = builder.insert_element(ir.Constant(vector, ir.Undefined), one, _INT(0))
        first = ir.Constant(ir.VectorType(_INT, LANES), [0] * LANES)
        same = builder.icmp_unsigned("==", there, builder.shuffle_vector(single, single, first))
        mask = builder.zext(builder.bitcast(same, ir.IntType(LANES)), _LONG)
        return builder.sub(_LONG(63), builder.ctlz(mask, _BIT(0)))

    return types.int64(array, types.int64, types.int64), generate


@intrinsic
def _fetch(_: Any, array: Any, _row: Any, _offset: Any) -> Any:
    """Ask for the 64 bytes around a byte of a row."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of, row, offset = signature.args[0], arguments[1], arguments[2]
        there = _address(context, builder, arguments[0], of, row, offset)
        kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _INT, _INT, _INT])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [_BYTE.as_pointer()], kind)
        builder.call(fetch, [there, _INT(_FOR_READING), _INT(_KEEP_NEAR), _INT(_DATA)])
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate


@intrinsic
def _plain(_: Any, data: Any, _at: Any) -> Any:
    """Return how many bytes from a place on are plain text, at most thirty-two."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(_BYTE, BYTES)
        first = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        there = builder.gep(builder.bitcast(first, _BYTE.as_pointer()), [arguments[1]])
        text = builder.load(builder.bitcast(there, vector.as_pointer()), align=1)
        low = builder.icmp_signed("<", text, _all_of(vector, _SPACE))  # and all beyond ASCII
        quote = builder.icmp_unsigned("==", text, _all_of(vector, _QUOTE))
        escape = builder.icmp_unsigned("==", text, _all_of(vector, _BACKSLASH))
        ends = builder.or_(low, builder.or_(quote, escape))
        mask = builder.zext(builder.bitcast(ends, ir.IntType(BYTES)), _LONG)
        return builder.cttz(builder.or_(mask, _LONG(1 << BYTES)), _BIT(1))

    return types.int64(data, types.int64), generate


def _all_of(vector: Any, byte: int) -> Any:
    return ir.Constant(vector, [byte] * vector.count)


def _in_python(array: Any, row: int, wanted: int) -> int:
    numbers = array[row][array.dtype.names[0]]
    found = -1
    for place in range(LANES):
        found = place if numbers[place] == wanted else found
    return found


def _plain_in_python(data: Any, at: int) -> int:
    for place in range(BYTES):
        byte = data[at + place]
        if byte < _SPACE or byte > _ASCII or byte in (_QUOTE, _BACKSLASH):
            return place
    return BYTES


def _nothing(_: Any, __: int, ___: int) -> None:
    """Ask for nothing: it would change no result."""


place_of = cast("Callable[[Any, int, int], int]", _in_python if INTERPRETED else _place_of)
"""Of sixteen 32-bit numbers with which a row of a structured array begins, the place of the last
one that is the wanted one; -1 if none is."""

fetch = cast("Callable[[Any, int, int], None]", _nothing if INTERPRETED else _fetch)
"""Ask for the 64 bytes around a byte of a row of an array, without waiting for them."""

plain_bytes = cast("Callable[[Any, int], int]", _plain_in_python if INTERPRETED else _plain)
"""How many of the 32 bytes from a place on are ASCII that may stand in a JSON string as it is, up
to the first that is not; all of them must be there to be read."""
