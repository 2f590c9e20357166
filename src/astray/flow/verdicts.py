"""Verdicts on their way to the shards: out of the case store, or out of a file.

A verdict takes effect at the turn of an event-time window. Where a run is told of one, that is
the first window that nothing has been read of yet; the case store writes it down, so that a
recovery and a replay give it effect at the same place.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from astray.baseline.judgement import Judgement, Said
from astray.decide.effect import case_alone, judgement_of
from astray.errors import ConfigError
from astray.events import EVENT, Chunk, Decoded, Reason, Reject
from astray.events.places import RESOURCE
from astray.flow.openfile import Place
from astray.flow.reading import Reading
from astray.flow.sources import Places, Source
from astray.store import Store

VERDICTS: Final = "verdicts:"
"""The name of the case store among the sources; its place is the number of a verdict."""

POLL_EVERY_S: Final = 3.0
"""How often a run asks the case store for verdicts."""

VERDICTS_MAX: Final = 65_536
"""Verdicts that are heard at once; it is as many as a shard lets wait."""

_BATCH_MAX: Final = 1000
_NO_PLACE: Final = 2**62
_ALONE: Final = (
    "it names a case, but no agent and session, as a topic has it: take the file into the case "
    "store with `astray cases import-verdicts`; `astray cases export-verdicts` writes both"
)


class StoreVerdicts(Source):
    """The verdicts of the case store, in the order in which they were given.

    It is no source of time: nobody waits for it, and it ends with all the others.
    """

    def __init__(self, store: Store, reading: Reading, places: Places, *, lasts: bool) -> None:
        super().__init__(VERDICTS, reading)
        self.lasts = False
        self.is_away = True  # it keeps nobody from resting
        self._store = store
        self._goes_on = lasts
        self._number = Place(*places.get(VERDICTS, Place())).offset
        self._next_s = 0.0

    def parts(self) -> tuple[Source, ...]:
        """Return nothing that has a clock."""
        return ()

    def place(self) -> Place:
        """Return the number of the last verdict handed over."""
        return Place(offset=self._number)

    def next_chunks(self) -> list[Chunk]:
        """Return what was said since the last time it was asked, which is not always."""
        if time.monotonic() < self._next_s:
            self.ended = not self._goes_on and not self.reading.unfinished
            return []
        found = self._store.verdicts_after(self._number, _BATCH_MAX)
        if len(found) < _BATCH_MAX:
            self._next_s = time.monotonic() + POLL_EVERY_S
        if not found:
            return []
        first, self._number = self._number, found[-1][0]
        data = b"".join(body + b"\n" for _, body in found)
        return [Chunk(VERDICTS, first, data, silent=True)]


def decode_verdicts(chunk: Chunk, at_us: int, placed: Callable[[str, int], int]) -> Decoded:
    """Return the verdicts of a chunk; those that have no place in the stream yet get this one."""
    told: list[Judgement] = []
    rejects = []
    for line in chunk.data.splitlines():
        found = judgement_of(line, at_us)
        if isinstance(found, str):
            rejects.append(Reject(Reason.NOT_A_VERDICT, found, chunk.offset, line))
        else:
            told.append(found._replace(at_us=placed(_id_of(found.id), found.at_us)))
    nothing = Chunk(chunk.source, chunk.offset, b"", silent=True)
    none = np.zeros(0, RESOURCE)
    return Decoded(nothing, np.zeros(0, EVENT), none, tuple(rejects), tuple(told))


@dataclass(frozen=True, slots=True)
class Told:
    """Verdicts that are known before a stream begins, and a sentence for each that is none.

    `undoings` are the ids of what is taken back, each with what to say if nobody knows it.
    """

    judgements: tuple[Judgement, ...] = ()
    problems: tuple[str, ...] = ()
    undoings: tuple[tuple[int, str], ...] = ()

    def __add__(self, other: "Told") -> "Told":
        """Return these, and then others."""
        return Told(
            self.judgements + other.judgements,
            self.problems + other.problems,
            self.undoings + other.undoings,
        )

    @property
    def in_vain(self) -> tuple[str, ...]:
        """Return a sentence for each that takes back what is not among these."""
        known = {one.id for one in self.judgements}
        return tuple(sentence for undone, sentence in self.undoings if undone not in known)


@dataclass(frozen=True, slots=True)
class VerdictLines:
    """The lines of a file with one verdict a line, with their numbers."""

    file: Path | None
    lines: tuple[tuple[int, bytes], ...] = ()

    @property
    def cases_alone(self) -> set[str]:
        """Return the cases of verdicts that do not say whose sessions those are about."""
        return {case_alone(line) for _, line in self.lines} - {""}

    def told(self, sessions: Mapping[str, Mapping[str, str]] | None = None) -> Told:
        """Return the verdicts; `sessions` has whose sessions cases are about, if that is known.

        A case that is not among them is about nobody: its verdict will find nothing.
        """
        told: dict[int, Judgement] = {}
        named: dict[int, str] = {}
        problems = []
        for number, line in self.lines:
            found = _said_in(line, sessions)
            if isinstance(found, str):
                problems.append(f"{self.file}:{number}: not a verdict: {found}")
            else:
                told[number], named[number] = found, f"{orjson.loads(line).get('id')}"
        undoings = tuple(
            (one.undoes, f"{self.file}:{number}: {_in_vain(told, named, one.undoes)}")
            for number, one in told.items()
            if one.said == Said.UNDONE
        )
        return Told(tuple(told.values()), tuple(problems), undoings)


def _said_in(line: bytes, sessions: Mapping[str, Mapping[str, str]] | None) -> Judgement | str:
    """Return what a line says of somebody's session, or what is wrong with it."""
    case = case_alone(line)
    if not case:
        return judgement_of(line)
    if sessions is None:
        return _ALONE
    whose = sessions.get(case, {"agent": case, "session": case})
    return judgement_of(orjson.dumps({**orjson.loads(line), **whose}))


def verdict_lines(file: Path | None) -> VerdictLines:
    """Return the lines of a file of verdicts; without a file there are none.

    Raises
    ------
    ConfigError
        The file cannot be read, or has more than can be heard.
    """
    if file is None:
        return VerdictLines(None)
    try:
        with file.open("rb") as lines:
            numbered = (each for each in enumerate(lines, start=1) if each[1].strip())
            found = tuple(islice(numbered, VERDICTS_MAX + 1))
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from None
    if len(found) > VERDICTS_MAX:
        raise ConfigError([f"{file}: has more than {VERDICTS_MAX:,} lines, a verdict in each"])
    return VerdictLines(file, found)


def read_verdicts(file: Path | None) -> Told:
    """Return the verdicts of a file, each of which says whose session it is about.

    Raises
    ------
    ConfigError
        The file cannot be read, or has more than can be heard.
    """
    return verdict_lines(file).told()


def _in_vain(told: Mapping[int, Judgement], named: Mapping[int, str], undone: int) -> str:
    """Say that no line is the verdict that is taken back; ids follow from what verdicts say."""
    undone_id = _id_of(undone)
    places = [number for number, name in named.items() if name == undone_id]
    why = "which no line is"
    if places:
        own_id = _id_of(told[places[0]].id)
        why = f"which line {places[0]} claims to be, but what it says makes it {own_id}"
    elsewhere = "unless a case store or a state has it"
    return f"undoes {undone_id}, {why}: nothing is taken back, {elsewhere}"


def _id_of(verdict: int) -> str:
    return f"ver_{verdict:016x}"


def stored_verdicts(store: Store, after: int = 0) -> Told:
    """Return the verdicts of a case store after the one of that number, where they took effect.

    Those that no run has heard of have no place in the stream, and have changed nothing.

    Raises
    ------
    ConfigError
        There are more than can be heard.
    """
    told: list[Judgement] = []
    problems = []
    while found := store.verdicts_after(after, _BATCH_MAX):
        after = found[-1][0]
        for number, body in found:
            one = judgement_of(body, _NO_PLACE)
            if isinstance(one, str):
                problems.append(f"the case store's verdict {number}: {one}")
            elif one.at_us != _NO_PLACE:
                told.append(one)
        if len(told) > VERDICTS_MAX:
            raise ConfigError(
                [f"the case store has more than {VERDICTS_MAX:,} verdicts: take a later state"]
            )
    return Told(tuple(told), tuple(problems))
