"""The core without an engine, as laws and examples drive it."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from astray.baseline.judgement import Judgement
from astray.baseline.part import NO_TAGS, Part, part_of, windows_of
from astray.baseline.records import Records
from astray.baseline.settings import shard_settings
from astray.baseline.shard import Shard
from astray.config import Config, load_config
from astray.decide.decider import Decider, Ruling
from astray.decide.limits import lowest_limits, tag_patterns
from astray.events import Chunk, Decoded, Event, decode, encode_event
from astray.flow.tagging import Tagger
from strategies import NOW_US

SOURCE = "source"


def small_config(**sections: dict) -> Config:
    """Return a configuration of one shard, with changes by section."""
    return load_config(overrides={"events": {"shards": 1}, **sections})


def new_shard(config: Config, number: int = 0, sources: Sequence[str] = (SOURCE,)) -> Shard:
    """Return a shard that has seen nothing."""
    return Shard(number, shard_settings(config, lowest_limits(config)), sources)


def decoded(events: Iterable[Event], source: str = SOURCE) -> Decoded:
    """Return events as a chunk of their own."""
    lines = b"".join(encode_event(event) + b"\n" for event in events)
    return decode(Chunk(source, 0, lines), NOW_US)


def part_for(shard: Shard, chunk: Decoded, order: np.ndarray, tagger: Tagger | None = None) -> Part:
    """Return the part of a chunk that is a shard's."""
    window_us = windows_of(chunk, shard.settings.window_us)
    tags = NO_TAGS if tagger is None else tagger.tags(chunk)
    return part_of(shard.number, chunk, order, window_us, tags)


def feed(shard: Shard, events: Sequence[Event], batch: int | None = None) -> list[Records]:
    """Feed events to a shard, in batches of a size, and return all it reports."""
    out: list[Records] = []
    size = batch or max(len(events), 1)
    for first in range(0, len(events), size):
        chunk = decoded(events[first : first + size])
        out += shard.assess(part_for(shard, chunk, np.arange(len(chunk.rows))))
    return out


def reported(records: Iterable[Records]) -> list[tuple]:
    """Return what was reported as comparable values, window by window; places in a chunk apart."""
    found = []
    for some in records:
        rows = some.rows.copy()
        rows["row"] = np.sign(rows["row"] + 1)
        found += [
            (some.window_us, row, line, findings)
            for row, line, findings in zip(rows.tolist(), some.lines, some.findings, strict=True)
        ]
    return [(window, str(row), line, findings) for window, row, line, findings in found]


class Core:
    """Shards and a decider in one, fed event by event or in batches."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.shards = [new_shard(config, number) for number in range(config.events.shards)]
        self.decider = Decider(config)
        self._tagger = Tagger(tag_patterns(config))

    def feed(self, events: Sequence[Event], batch: int | None = None) -> list[Ruling]:
        """Feed events, and return the rulings."""
        size = batch or max(len(events), 1)
        return [
            self.take(decoded(events[first : first + size]))
            for first in range(0, len(events), size)
        ]

    def take(self, chunk: Decoded) -> Ruling:
        """Take a chunk, and return the ruling."""
        rows = chunk.rows
        key = np.where(rows["group"] != 0, rows["group"], rows["agent"])
        shard_of = key % np.uint64(len(self.shards))
        records: list[Records] = []
        for shard in self.shards:
            order = np.flatnonzero(shard_of == shard.number)
            records += shard.assess(part_for(shard, chunk, order, self._tagger))
        return self.decider.decide(records)

    def dump(self) -> list[bytes]:
        """Return the whole state as bytes."""
        return [*(shard.dump() for shard in self.shards), self.decider.dump()]


def say(shard: Shard, *judgements: Judgement) -> None:
    """Tell a shard of verdicts."""
    nothing = decoded(())
    part = part_of(shard.number, nothing, np.zeros(0, np.intp), np.zeros(0, np.int64))
    assert shard.assess(dataclasses.replace(part, judgements=judgements)) == []
