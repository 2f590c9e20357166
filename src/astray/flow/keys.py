"""The keys of the state, which say in which process it lives.

The engine sends a key to the process at its hash modulo their number. Plain names do not
spread: of `shard-000` to `shard-003` two processes would leave one idle. So a name ends in
what makes the hash count like a number that is chosen, in which 2 to 6 processes find the place
that is meant for it.

Deciders are spread evenly. Who has one tenant has one busy decider, the first; it does a quarter
of all work and cannot be divided. So its process has a quarter of the shards where there are
two, and none where there are more.
"""

from collections.abc import Iterator
from functools import cache
from itertools import count

TENANT_KEYS = 4
"""Tenants are spread over so many deciders; a part of the state's address."""

SPREAD = 60
"""Divisible by 2, 3, 4, 5 and 6; a part of the state's address."""

_OF_FOUR = (1, 3, 2, 3, 1, 2, 3, 1)
"""In which of four processes shards are, and so on; one in four is in the first of two."""

_END = b"\xff"
_BITS = (1 << 64) - 1
_SEEDS = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_ROUNDS = 3

_Words = tuple[int, int, int, int]


@cache
def tenant_key(number: int) -> str:
    """Return the key of a decider in the dataflow."""
    return _spread("tenants", number, number % SPREAD)


@cache
def shard_key(number: int) -> str:
    """Return the key of a shard in the dataflow."""
    meant = (_OF_FOUR[number % len(_OF_FOUR)], 1 + number % 2, 1 + number % 4)
    place = next(at for at in range(SPREAD) if (at % 4, at % 3, at % 5) == meant)
    return _spread("shard", number, place)


def _spread(what: str, number: int, place: int) -> str:
    names = (f"{what}-{number:03d}.{more}" for more in count())
    return next(name for name in names if engine_hash(name) % SPREAD == place)


def engine_hash(key: str) -> int:
    """Return the engine's hash of a key: SipHash-1-3 with key zero, as Rust hashes a string.

    Source: J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input PRF", 2012.
    """
    words = _SEEDS
    for word in _words_of(key.encode() + _END):
        words = _round((*words[:3], words[3] ^ word))
        words = (words[0] ^ word, *words[1:])
    words = (*words[:2], words[2] ^ 0xFF, words[3])
    for _ in range(_ROUNDS):
        words = _round(words)
    return words[0] ^ words[1] ^ words[2] ^ words[3]


def _words_of(data: bytes) -> Iterator[int]:
    whole = len(data) - len(data) % 8
    for first in range(0, whole, 8):
        yield int.from_bytes(data[first : first + 8], "little")
    yield int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56


def _round(words: _Words) -> _Words:
    v0, v1, v2, v3 = words
    v0 = (v0 + v1) & _BITS
    v1 = _turned(v1, 13) ^ v0
    v0 = _turned(v0, 32)
    v2 = (v2 + v3) & _BITS
    v3 = _turned(v3, 16) ^ v2
    v0 = (v0 + v3) & _BITS
    v3 = _turned(v3, 21) ^ v0
    v2 = (v2 + v1) & _BITS
    v1 = _turned(v1, 17) ^ v2
    return v0, v1, _turned(v2, 32), v3


def _turned(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & _BITS
