"""A recording through shards and a decider without an engine, open for experiments.

The same events in the same order give the scores of `astray replay`, which a test holds; in
between an experiment may change what is decoded and what is reported.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.part import part_of, windows_of
from astray.baseline.records import Records
from astray.baseline.settings import shard_settings
from astray.baseline.shard import Shard
from astray.config import Config
from astray.decide.decider import SCORED, Decider, Ranked, Ruling
from astray.decide.decision import Decision
from astray.decide.limits import lowest_limits, tag_patterns
from astray.decide.review import Review
from astray.events import Chunk, Decoded, decode
from astray.flow.tagging import Tagger
from astray.lab.replay import enforced
from astray.lab.sessions import Names, SessionScore, session_scores
from baselines.protocol import Key
from detection.lines import read_bytes

_CHUNK_BYTES = 1 << 20
_ANY_TIME_US = 2**60
_MICROS = 1_000_000


def _same_decoded(decoded: Decoded) -> Decoded:
    return decoded


def _same_records(records: Records) -> Records:
    return records


@dataclass(frozen=True)
class Seam:
    """Where an experiment may step in: behind decoding, and between shards and decider."""

    decoded: Callable[[Decoded], Decoded] = _same_decoded
    records: Callable[[Records], Records] = _same_records


@dataclass
class Run:
    """What came of a recording.

    `ranked` is all that was ranked, in the order in which it was: sessions as they stood, and
    the bits of their statistics.
    """

    sessions: list[SessionScore]
    decisions: list[Decision]
    event_us: Mapping[str, int]
    ranked: list[tuple[NDArray[Any], NDArray[np.float32]]] = field(repr=False)
    names: Names = field(repr=False)
    floods: list[Review] = field(default_factory=list)

    def pieces(self) -> Iterator[tuple[Key, NDArray[np.void]]]:
        """Return how every piece of a session last stood, under its agent's and its own name."""
        if not self.ranked:
            return
        rows = np.concatenate([rows for rows, _ in self.ranked])
        columns = [rows[name].tolist() for name in ("session", "agent", "start_us")]
        places = {piece: place for place, piece in enumerate(zip(*columns, strict=True))}
        for piece, place in places.items():
            yield self.names.of(*piece)[1:], rows[place]

    def ages(self) -> dict[Key, int]:
        """Return the age class of each session's agent when it began."""
        found: dict[Key, int] = {}
        for key, row in self.pieces():
            found[key] = min(int(row["age"]), found.get(key, int(row["age"])))
        return found

    def statistics(self) -> dict[Key, NDArray[np.float32]]:
        """Return each session's statistics as it ended; of pieces the largest ones."""
        found: dict[Key, NDArray[np.float32]] = {}
        for key, row in self.pieces():
            known = found.get(key)
            found[key] = row["statistic"] if known is None else np.maximum(known, row["statistic"])
        return found


class Core:
    """Shards and a decider, fed with chunks."""

    def __init__(self, config: Config, source: str, seam: Seam) -> None:
        self._config, self._seam = enforced(config), seam
        settings = shard_settings(self._config, lowest_limits(self._config))
        count = config.events.shards
        self._shards = [Shard(number, settings, [source]) for number in range(count)]
        self._decider = Decider(self._config)
        self._window_us = int(config.baseline.window_s * _MICROS)
        self._decider.audit = self._keep
        self._tagger = Tagger(tag_patterns(self._config))
        self.rulings: list[Ruling] = []
        self.ranked: list[tuple[NDArray[Any], NDArray[np.float32]]] = []

    def take(self, decoded: Decoded) -> None:
        """Assess a chunk and rule on what comes of it."""
        decoded = self._seam.decoded(decoded)
        rows = decoded.rows
        by_group = self._config.events.shard_by == "group"
        own = (rows["group"] == 0) | (not by_group)
        key = np.where(own, rows["agent"], rows["group"])
        shard_of = key % np.uint64(len(self._shards))
        window_us, tags = windows_of(decoded, self._window_us), self._tagger.tags(decoded)
        for shard in self._shards:
            order = np.flatnonzero(shard_of == shard.number)
            self._rule(shard.assess(part_of(shard.number, decoded, order, window_us, tags)))

    def finish(self) -> None:
        """Rule on the sessions that are still open, as they stand."""
        for shard in self._shards:
            self._rule(shard.open_sessions())

    def _rule(self, reported: list[Records]) -> None:
        self.rulings.append(self._decider.decide(map(self._seam.records, reported)))

    def _keep(self, ranked: Ranked) -> None:
        self.ranked.append((ranked.rows, ranked.bits))


def run(
    events: Path, config: Config, wanted: Collection[str] = (), seam: Seam | None = None
) -> Run:
    """Run a recording; `wanted` are ids of events whose times are to be known."""
    names = Names(wanted)
    core = Core(config, str(events), seam or Seam())
    for chunk in _chunks(events):
        decoded = decode(chunk, _ANY_TIME_US)
        names(decoded)
        core.take(decoded)
    core.finish()
    scored = [some for ruling in core.rulings for some in ruling.every[0]]
    lines = [line for ruling in core.rulings for line in ruling.every[1]]
    sessions = session_scores(
        np.concatenate(scored) if scored else np.zeros(0, SCORED), lines, names
    )
    decisions = {d.id: d for ruling in reversed(core.rulings) for d in reversed(ruling.decisions)}
    floods = [one for ruling in core.rulings for one in ruling.reviews if one.is_flood]
    return Run(sessions, list(decisions.values()), names.event_us, core.ranked, names, floods)


def _chunks(events: Path) -> Iterator[Chunk]:
    data = read_bytes(events)
    first = 0
    while first < len(data):
        end = data.find(b"\n", first + _CHUNK_BYTES) + 1 or len(data)
        yield Chunk(str(events), first, data[first:end])
        first = end
