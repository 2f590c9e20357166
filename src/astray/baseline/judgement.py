"""What a person says of a session, in the core's terms; names have become ids."""

from enum import IntEnum
from typing import NamedTuple


class Said(IntEnum):
    """What is said of a session; an undoing takes back what was said before."""

    EXCUSED = 0
    PEERS_EXCUSED = 1
    CONFIRMED = 2
    UNDONE = 3


class Fate(IntEnum):
    """What has become of a verdict in a shard; of several shards the highest holds.

    Its time has come and it found nothing to change; it waits, for its time or for the end of
    its session; it took effect.
    """

    FOUND_NOTHING = 0
    WAITS = 1
    TOOK_EFFECT = 2


class Judgement(NamedTuple):
    """A verdict about a session; equal ids are the same verdict.

    It takes effect when the stream turns to the first window that begins at `at_us` or later.
    A session of this name between `first_us` and `last_us` is meant; `start_ms` is when one
    without a name began (-1: it has a name). `until_us` is the end of a verdict, 0: it has
    none. `undoes` is the id of the verdict that is taken back.
    """

    at_us: int
    given_us: int
    id: int
    said: int
    agent: int
    session: int
    start_ms: int
    first_us: int
    last_us: int
    until_us: int
    undoes: int
