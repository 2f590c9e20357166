"""From the bytes of a source to chunks of whole lines."""

from collections.abc import Iterator
from dataclasses import replace

from astray.events import Chunk

CHUNK_BYTES_MAX = 8 << 20
"""What is read at once. A chunk has less than twice that; a longer line comes in fragments."""

TAIL_BYTES = 64
"""So much of what was handed over last is kept, to know the place again."""


class Lines:
    """Cuts a stream of bytes at line breaks; `offset` is where the next chunk begins.

    `tail` are the last bytes before it. They tell, too, whether a reader that goes on there
    is inside a line whose first part was handed over before: its rest must not pass for a
    line of its own. Between two calls less than `bytes_max` is held back.
    """

    def __init__(
        self,
        source: str,
        origin: str,
        offset: int = 0,
        tail: bytes = b"",
        *,
        bytes_max: int = CHUNK_BYTES_MAX,
    ) -> None:
        self.offset = offset
        self.tail = tail
        self._source = source
        self._origin = origin
        self._bytes_max = bytes_max
        self._rest = b""
        self._inside = bool(tail) and not tail.endswith(b"\n")

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """Take more bytes; yield what can be handed over."""
        cut = 0 if self._inside else data.rfind(b"\n") + 1
        if cut:  # nearly always; what was held back has no break
            whole = b"".join((self._rest, memoryview(data)[:cut]))
            self._rest = data[cut:]
            yield self._handed(whole)
        else:
            yield from self._fed(data)
        if len(self._rest) >= self._bytes_max:
            self._inside = True
            yield self._chunk(len(self._rest), fragment=True)

    def _fed(self, data: bytes) -> Iterator[Chunk]:
        """Take more bytes of a line that has begun; yield what ends with it."""
        self._rest = self._rest + data if self._rest else data
        if self._inside and b"\n" in self._rest:
            self._inside = False
            size = self._rest.index(b"\n") + 1
            yield self._chunk(size, fragment=size > 1)  # a break alone is a blank line
        cut = self._rest.rfind(b"\n") + 1
        if cut:
            yield self._chunk(cut)

    def finish(self) -> Iterator[Chunk]:
        """Yield a last line that has no line break."""
        if self._rest:
            chunk = self._chunk(len(self._rest), fragment=self._inside)
            # Decoding wants whole lines to have a break; this one is not the source's.
            yield chunk if chunk.fragment else replace(chunk, data=chunk.data + b"\n")

    def _chunk(self, size: int, *, fragment: bool = False) -> Chunk:
        data, self._rest = self._rest[:size], self._rest[size:]
        return self._handed(data, fragment=fragment)

    def _handed(self, data: bytes, *, fragment: bool = False) -> Chunk:
        chunk = Chunk(self._source, self.offset, data, fragment, origin=self._origin)
        self.offset += len(data)
        self.tail = (self.tail + data[-TAIL_BYTES:])[-TAIL_BYTES:]
        return chunk
