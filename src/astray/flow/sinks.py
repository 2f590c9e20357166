"""Where rulings and rejects go.

Both sinks are partitioned and snapshotted, although the case store needs no state of theirs:
that makes them part of what the engine commits, so an epoch is not over before they have
written.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from numpy.typing import NDArray

from astray.decide.decider import SCORED, Ruling
from astray.decide.decision import Decision
from astray.decide.review import Review
from astray.decide.silence import Silence
from astray.errors import ConfigError
from astray.events import Reject
from astray.flow.faults import leaving
from astray.flow.linesfile import LinesFile
from astray.flow.steps import RECORD, REJECT

RejectFrom = tuple[str, Reject]


class Calling(FixedPartitionedSink[Ruling, None]):
    """Hands every ruling to a function, in the engine's own call: a crash repeats it."""

    def __init__(self, function: Callable[[Ruling], None]) -> None:
        self._function = function

    def list_parts(self) -> list[str]:
        """Return the one partition."""
        return [RECORD]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> "CallingPartition":
        """Return the one partition; it has no state."""
        return CallingPartition(self._function)


class CallingPartition(StatefulSinkPartition[Ruling, None]):
    """See `Calling`."""

    def __init__(self, function: Callable[[Ruling], None]) -> None:
        self._function = function

    @leaving()
    def write_batch(self, values: list[Ruling]) -> None:
        """Hand on rulings; called by the engine."""
        for ruling in values:
            self._function(ruling)

    def snapshot(self) -> None:
        """Return no state."""


class DeadLetters(Protocol):
    """Takes rejects to where nobody can look whether they are there: at least once."""

    def send(self, rejects: Sequence[RejectFrom]) -> None:
        """Begin to write rejects."""
        ...

    def settle(self) -> None:
        """Wait until all is written; an error keeps the epoch from being over."""
        ...

    def close(self) -> None:
        """Let go of what is not written."""
        ...


class RejectsFile(FixedPartitionedSink[RejectFrom, int]):
    """Keeps rejects byte for byte, each once, in a JSONL file; without a path it drops them.

    With `letters` they go there as well.

    `durable`: there is a recovery store, so rejects may come again after a crash. Without
    one all that comes is new.
    """

    def __init__(
        self,
        path: Path | None,
        letters: Callable[[], DeadLetters] | None = None,
        *,
        durable: bool = False,
    ) -> None:
        self._path = path
        self._letters = letters
        self._durable = durable

    def list_parts(self) -> list[str]:
        """Return the one partition."""
        return [REJECT]

    @leaving()
    def build_part(
        self, step_id: str, for_part: str, resume_state: int | None
    ) -> "RejectsPartition":
        """Return the file; the state is its size when the snapshot was made."""
        letters = self._letters() if self._letters else None
        if self._path is None:
            return RejectsPartition(None, (), letters)
        with _writing(self._path):
            file = LinesFile(self._path)
            written = file.since(resume_state or 0) if self._durable else ()
            return RejectsPartition(file, written, letters)


class RejectsPartition(StatefulSinkPartition[RejectFrom, int]):
    """See `RejectsFile`. What a crash has us write again is known by what it is.

    A place alone would not do: another stream has rejects at the same places.
    """

    def __init__(
        self, file: LinesFile | None, written: Iterable[bytes], letters: DeadLetters | None
    ) -> None:
        self._file = file
        self._written = set(map(_digest, written))
        self._letters = letters

    @leaving()
    def write_batch(self, values: list[RejectFrom]) -> None:
        """Write rejects; called by the engine."""
        if self._letters is not None:
            self._letters.send(values)
        if self._file is not None:
            fresh = [line for value in values if self._is_fresh(line := _line(*value))]
            with _writing(self._file.path):
                self._file.append(b"".join(fresh))

    def _is_fresh(self, line: bytes) -> bool:
        if not self._written:
            return True
        digest = _digest(line)
        known = digest in self._written
        self._written.discard(digest)
        return not known

    @leaving()
    def snapshot(self) -> int:
        """Return the size of the file; all is written by now, wherever it went."""
        if self._letters is not None:
            self._letters.settle()
        if self._file is None:
            return 0
        with _writing(self._file.path):
            self._file.sync()
        return self._file.size

    def close(self) -> None:
        """Close the file, and the topic."""
        if self._letters is not None:
            self._letters.close()
        if self._file:
            self._file.close()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError([f"{path}: rejects cannot be written: {error.strerror}"]) from None


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()


def _line(origin: str, reject: Reject) -> bytes:
    place: dict[str, Any] = {
        "source": origin.encode(errors="backslashreplace").decode(),
        "offset": reject.offset,
        "stage": "decode",
        "reason": reject.reason,
        "key": reject.key,
    }
    try:
        place["raw"] = reject.raw.decode()
    except UnicodeDecodeError:
        place["raw_base64"] = base64.b64encode(reject.raw).decode()
    return orjson.dumps(place) + b"\n"


class Collector:
    """Takes rulings for measuring: every ranked session, every decision and notice once."""

    def __init__(self) -> None:
        self.decisions: dict[str, Decision] = {}
        self.notices: dict[str, Silence | Review] = {}
        self._scored: list[NDArray[Any]] = []
        self.lines: list[bytes] = []

    def __call__(self, ruling: Ruling) -> None:
        """Take a ruling."""
        for decision in ruling.decisions:
            self.decisions.setdefault(decision.id, decision)
        told: list[Silence | Review] = [*ruling.silences, *ruling.reviews]
        for notice in told:
            self.notices.setdefault(notice.id, notice)
        scored, lines = ruling.every
        self._scored.extend(scored)
        self.lines.extend(lines)

    @property
    def scored(self) -> NDArray[Any]:
        """Return all ranked sessions, in the order in which they were ranked."""
        return np.concatenate(self._scored) if self._scored else np.zeros(0, SCORED)
