"""From messages to chunks, one line a message, and back from a reject to its message.

A value is a line as it is, nearly always. A line break inside becomes a carriage return,
which to JSON is the same between tokens and as wrong inside strings. A value of nothing,
or of white space, would be a blank line and not count: it becomes a line that is no event.
What messages have that lines have not is looked at where they are rejected, not before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import Message

from astray.events import Chunk, Decoded, Reason, Reject
from astray.events.lines import count_lines

_NO_EVENT = b"\0\n"
_FRAME_BYTES = 5
"""A zero and the number of a schema, before what the schema describes; JSON begins with no zero."""

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Letter(Reject):
    """A message that is not an event; `offset` is its place in the partition."""

    topic: str
    partition: int
    timestamp_ms: int
    message_key: bytes | None
    headers: Headers
    is_tombstone: bool


class Messages:
    """The messages of a chunk, to have its rejects back as they came.

    They stay in this process: rejects are looked up where the chunk was decoded, and if it has
    none the messages are let go at once, while what they take is still near.
    """

    __slots__ = ("_messages",)

    def __init__(self, messages: Sequence[Message] = ()) -> None:
        self._messages = messages

    def __reduce__(self) -> tuple[type["Messages"], tuple[()]]:
        return Messages, ()

    def let_go(self) -> None:
        """Keep none of them: the chunk has no rejects."""
        self._messages = ()

    def rejects(self, decoded: Decoded) -> Iterator[Letter]:
        """Yield the rejects of the chunk as the messages that they were."""
        chunk, at, line = decoded.chunk, 0, 0
        for reject in decoded.rejects:  # in the order of their lines
            first = reject.offset - chunk.offset
            line += chunk.data.count(b"\n", at, first)
            at = first
            yield _letter(self._messages[line], reject)


def chunk_of(name: str, messages: Sequence[Message]) -> Chunk:
    """Return messages of a partition as a chunk; nothing here is done by message but in C."""
    values: list[Any] = list(map(Message.value, messages))
    count = len(values)
    values.append(b"")  # for the break at the end
    try:
        data = b"\n".join(values)
        lines = count_lines(np.frombuffer(data, np.uint8))
        plain = lines == count and all(map(bytes.strip, values[:count]))
    except TypeError:  # a tombstone has no value
        plain = False
    if not plain:
        data = b"".join(map(_line, values[:count]))
    return Chunk(name, 0, data, messages=Messages(messages))


def _line(value: bytes | None) -> bytes:
    if value is None or not value.strip():
        return _NO_EVENT
    return value.replace(b"\n", b"\r") + b"\n"


def _letter(message: Message, reject: Reject) -> Letter:
    value = message.value()
    return Letter(
        reason=_reason(value, reject.reason),
        key=reject.key,
        offset=message.offset() or 0,
        raw=_bytes(value) or b"",
        topic=message.topic() or "",
        partition=message.partition() or 0,
        timestamp_ms=message.timestamp()[1],
        message_key=_bytes(message.key()),
        headers=tuple((name, _bytes(value)) for name, value in _headers(message)),
        is_tombstone=value is None,
    )


def _reason(value: Any, of_line: Reason) -> Reason:
    """Return why a message is no event, where that says more than its line does."""
    if value is None:
        return Reason.TOMBSTONE
    is_framed = value[:1] == b"\0" and len(value) >= _FRAME_BYTES
    return Reason.SCHEMA_FRAMED if is_framed else of_line


def _headers(message: Message) -> Sequence[tuple[str, Any]]:
    headers: Any = message.headers()
    return headers or ()


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
