"""Sources: files, directories of files, standard input. An item is one poll's worth of lines.

A source is read by one reader, so its order is kept. There is a fixed number of readers,
which are what the engine knows, and a reader's state has the place of every source it ever
read: a run may name other sources than the one before it, and go back to them later. The
place is that of the next byte to hand over; an incomplete line is not handed over.
"""

import os
import select
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from zlib import adler32

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from astray.errors import SourceError
from astray.events import Chunk
from astray.flow.folder import Folder
from astray.flow.lines import CHUNK_BYTES_MAX, Lines
from astray.flow.naming import STDIN
from astray.flow.openfile import OpenFile, Place, ReplacedError
from astray.flow.progress import Progress
from astray.flow.reading import Reading

_POLL, _AWAY_POLL = timedelta(milliseconds=20), timedelta(milliseconds=200)
_SILENT_AFTER = timedelta(seconds=30)
_PIPE_SILENT_AFTER = timedelta(seconds=1)

Places = dict[str, tuple[str, int, int]]
"""The places of sources by their names, as the engine keeps them."""

READ_KEYS = 16
"""The number of readers; a part of the state's address."""


class Feed(Protocol):
    """Gives every reader a source of its own: of those of its parts that are the reader's."""

    def source(self, reader: str, places: Places) -> "Source":
        """Return the source of the reader of that key, which goes on at these places."""
        ...


class Sources(FixedPartitionedSource[Chunk, Places]):
    """The sources named on the command line, divided among the readers.

    `beside` are sources that nobody names, by their names: each is made with its reader's places.
    """

    def __init__(
        self,
        names: Sequence[str],
        reading: Reading,
        feeds: Sequence[Feed] = (),
        beside: Mapping[str, Callable[[Places], "Source"]] | None = None,
    ) -> None:
        self._names = list(names)
        self._reading = reading
        self._feeds = tuple(feeds)
        self._beside = beside or {}
        if not reading.clustered:
            reading.unfinished.update(names)

    def list_parts(self) -> list[str]:
        """Return the readers' keys."""
        return [reader_key(number) for number in range(READ_KEYS)]

    def build_part(self, step_id: str, for_part: str, resume_state: Places | None) -> "Reader":
        """Return a reader that goes on where its sources were left."""
        places = resume_state or {}
        names = [name for name in self._names if reader_of(name) == for_part]
        fed = [feed.source(for_part, places) for feed in self._feeds]
        beside = [
            make(places) for name, make in self._beside.items() if reader_of(name) == for_part
        ]
        return Reader(names, self._reading, places, fed, beside)


def reader_of(name: str) -> str:
    """Return the key of the reader of a source: it depends on nothing but the source's name."""
    return reader_key(adler32(name.encode()))


def reader_key(number: int) -> str:
    """Return the key of a reader in the dataflow."""
    return f"reader-{number % READ_KEYS:02d}"


class Reader(StatefulSourcePartition[Chunk, Places]):
    """Reads its sources in turn, each until it ends."""

    def __init__(
        self,
        names: Sequence[str],
        reading: Reading,
        places: Places,
        fed: Sequence["Source"] = (),
        beside: Sequence["Source"] = (),
    ) -> None:
        self._reading = reading
        self._places = dict(places)
        self._sources = [
            *(_source(name, reading, Place(*places.get(name, Place()))) for name in names),
            *fed,
            *beside,
        ]
        # In a cluster that never ends by itself every process must be able to tell the others.
        self._lasts = reading.clustered and (reading.follow or bool(fed))
        self._last_data = datetime.now(UTC)

    def next_batch(self) -> list[Chunk]:
        """Return what can be read now; called by the engine, and must not wait."""
        self._reading.turned_s = time.monotonic()
        if self._reading.stop.is_set() and self._lasts:
            self._lasts = False
            return [Chunk("", 0, b"", silent=True)]  # for the other processes
        if self._reading.stop.is_set() or not (self._sources or self._lasts):
            raise StopIteration
        chunks: list[Chunk] = []
        for source in self._sources:
            if self._is_held(source):
                continue
            try:
                given = source.next_chunks()
            except SourceError as fault:
                self._reading.fail(fault)  # the next poll finds it
                break
            chunks.extend(given)
            places = source.places()
            if source.lasts:
                giving = [chunk.source for chunk in given if not chunk.silent]
                self._reading.listening.asked(places, giving, self._places)
            self._places.update(places)
        for source in self._sources:
            if source.ended:
                source.close()
                self._reading.unfinished.discard(source.name)
        self._sources = [source for source in self._sources if not source.ended]
        if chunks:
            self._last_data = datetime.now(UTC)
            self._reading.heard(chunks)
        return chunks

    def _is_held(self, source: "Source") -> bool:
        """Return whether a source is to wait for others, far behind it."""
        giving = [part.name for part in source.parts() if not part.is_silent]
        self._reading.pace.expect(giving)
        if not self._reading.pace.holds(source.name, giving):
            return False
        for part in source.parts():
            part.wait()
        return True

    def next_awake(self) -> datetime | None:
        """Return when to ask again: at once while there is data."""
        done = not self._sources and not self._lasts
        if done or datetime.now(UTC) - self._last_data < _POLL:
            return None
        is_away = all(source.is_away for source in self._sources)  # or there is none to ask
        return datetime.now(UTC) + (_AWAY_POLL if is_away else _POLL)

    def snapshot(self) -> Places:
        """Return the places of all sources it ever read."""
        for source in self._sources:
            source.kept()
        return dict(self._places)

    def close(self) -> None:
        """Close what is still open; called by the engine at the end."""
        for source in self._sources:
            source.close()


def _source(name: str, reading: Reading, place: Place) -> "Source":
    return Stdin(name, reading) if name == STDIN else FileSource(name, reading, place)


class Source:
    """A source being read."""

    def __init__(self, name: str, reading: Reading) -> None:
        self.name = name
        self.reading = reading
        self.lasts = True  # it is to give for ever: nothing for long is worth a word
        self.ended = False
        self.is_away = False  # nobody is there to give something, so it is asked more rarely
        self._last_data = datetime.now(UTC)
        self._silent = False

    @property
    def is_silent(self) -> bool:
        """Whether it has said that it has nothing to give now."""
        return self._silent or self.ended

    def parts(self) -> Sequence["Source"]:
        """Return what gives on its own: itself, or the parts that it has."""
        return (self,)

    def wait(self) -> None:
        """Take note that it is not asked, so that it is not its fault that it gives nothing."""
        self._last_data = datetime.now(UTC)

    def poll(self) -> list[Chunk] | None:
        """Return the lines that lie ready, none when there are none now, None at the end."""
        raise NotImplementedError

    def place(self) -> Place:
        """Return the place of the next byte to hand over."""
        raise NotImplementedError

    def places(self) -> Places:
        """Return the places of the source, or of its parts, by their names."""
        place = self.place()
        return {self.name: (place.file, place.offset, place.mark)}

    def kept(self) -> None:
        """Take note that the places are being made durable."""

    def close(self) -> None:
        """Close what is open."""

    def next_chunks(self) -> list[Chunk]:
        """Return what lies ready, and say so where nothing comes any more."""
        chunks = self.poll()
        if chunks is None:
            self.ended = True
            return [self._silence()]
        if chunks:
            self._last_data = datetime.now(UTC)
            self._silent = False
        elif not self._silent and datetime.now(UTC) - self._last_data > self.patience():
            self._silent = True
            return [self._silence()]
        return chunks

    def patience(self) -> timedelta:
        """Return how long others wait for this one while it has nothing to give.

        Not at all where it knows that it has given all there is. What waits longer is scored
        later; who is waited for less may find that the others' window has turned.
        """
        return _SILENT_AFTER

    def _silence(self) -> Chunk:
        return Chunk(self.name, 0, b"", silent=True)


class Stdin(Source):
    """Standard input. What a crash has swallowed cannot be read again."""

    def __init__(self, name: str, reading: Reading) -> None:
        super().__init__(name, reading)
        self._lines = Lines(name, name)
        self._at_end = False

    def poll(self) -> list[Chunk] | None:
        """Return what lies ready."""
        if self._at_end:
            return None
        ready, _, _ = select.select([sys.stdin], [], [], 0)
        try:
            data = os.read(sys.stdin.fileno(), CHUNK_BYTES_MAX) if ready else b""
        except OSError as error:
            raise SourceError(f"-: cannot be read: {error.strerror}") from None
        self._at_end = bool(ready) and not data
        return list(self._lines.finish() if self._at_end else self._lines.feed(data))

    def patience(self) -> timedelta:
        """Return a moment: nobody knows whether whoever writes has more."""
        return _PIPE_SILENT_AFTER

    def place(self) -> Place:
        """Return the place of the next byte to hand over."""
        return Place(offset=self._lines.offset)


class FileSource(Source):
    """A file, or the files of a directory one after the other."""

    def __init__(self, name: str, reading: Reading, place: Place) -> None:
        super().__init__(name, reading)
        self.lasts = reading.follow
        self._path = reading.paths.get(name, Path(name))
        self._folder = Folder(self._path) if self._path.is_dir() else None
        self._place = place
        self._open: OpenFile | None = None
        self._at_end = False
        self._progress = reading.progress.setdefault(name, Progress())
        sizes = self._sizes()
        self._progress.total = sum(sizes.values())
        self._read_before = sum(size for file, size in sizes.items() if file < place.file)

    def _paths(self) -> list[Path]:
        if self._folder is not None:
            return [self._path / name for name in self._folder.names()]
        rotating = self.reading.follow and not self._path.exists()
        return [] if rotating else [self._path]

    def _sizes(self) -> dict[str, int]:
        try:
            return {path.name: path.stat().st_size for path in self._paths()}
        except (OSError, SourceError):  # reading will tell
            return {}

    def poll(self) -> list[Chunk] | None:
        """Return the next lines of the file, or go on to the one after it."""
        self._at_end = False
        if self._open is None:
            self._open = self._enter()
        if self._open is None:
            self._at_end = True
            return [] if self.reading.follow else None
        data = self._open.read()
        if not data and self._has_successor(self._open):
            data = self._open.read()  # what was written until the successor came
            if not data:
                return self._leave(self._open)
        self._progress.done = self._read_before + self._open.position
        self._progress.file, self._progress.position = self._open.path.name, self._open.position
        if data or self.reading.follow:
            self._at_end = not data
            return list(self._open.lines.feed(data))
        return list(self._open.lines.finish()) or None

    def _enter(self) -> OpenFile | None:
        """Open the file of the place, or the first after it if that is gone."""
        if self._folder is None:
            return next((self._opened(path, self._place) for path in self._paths()), None)
        name = self._folder.first(self._place.file)
        if name is None:
            return None
        path = self._path / name
        if name == self._place.file:
            return self._opened(path, self._place)
        return OpenFile(self.name, path, Place())

    def _opened(self, path: Path, place: Place) -> OpenFile:
        try:
            return OpenFile(self.name, path, place)
        except ReplacedError:
            if not self.reading.follow:
                raise
            return OpenFile(self.name, path, Place())  # rotated while nobody was reading

    def _has_successor(self, open_: OpenFile) -> bool:
        """Return whether nothing more will be written to a file: another has taken its place."""
        if self._folder is not None:
            return self._folder.after(open_.path.name) is not None
        return self.reading.follow and open_.replaced()

    def _leave(self, open_: OpenFile) -> list[Chunk]:
        """Close a file that has been read to its end; return its last line, if it had no break."""
        last = list(open_.lines.finish())
        self._read_before += open_.position
        successor = self._folder.after(open_.path.name) if self._folder is not None else ""
        self._place = open_.place(named=True) if successor is None else Place(successor)
        self._open = None
        open_.close()
        return last

    def patience(self) -> timedelta:
        """Return none at the end of what is followed: all has been given."""
        return timedelta() if self._at_end else super().patience()

    def place(self) -> Place:
        """Return the place of the next byte to hand over."""
        return self._open.place(named=self._folder is not None) if self._open else self._place

    def close(self) -> None:
        """Close the file that is being read."""
        if self._open is not None:
            self._open.close()
