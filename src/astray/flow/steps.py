"""The steps between source and sink: thin hosts of the core.

Step names and keys are the address of the state: they are never renamed.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from bytewax.operators import StatefulBatchLogic

from astray.baseline.activity import Shown
from astray.baseline.judgement import Judgement
from astray.baseline.part import Part, part_of, told_to, windows_of
from astray.baseline.records import Records
from astray.baseline.settings import shard_settings
from astray.baseline.shard import Shard
from astray.baseline.swarms import Swarming
from astray.config import Config
from astray.decide.decider import Decider, Ranked, Ruling
from astray.decide.limits import lowest_limits, tag_patterns
from astray.events import Chunk, Decoded, Reason, Reject, decode
from astray.flow.counters import Counters
from astray.flow.faults import leaving
from astray.flow.kafka.address import feed_of
from astray.flow.keys import TENANT_KEYS, shard_key, tenant_key
from astray.flow.pace import Pace
from astray.flow.parcel import Parcel
from astray.flow.statefiles import Shelf, State, StateFiles
from astray.flow.tagging import Tagger
from astray.flow.verdicts import VERDICTS, decode_verdicts

READ, DECODE, REJECT, ROUTE, ASSESS, DECIDE, RECORD = STEPS = (
    "read", "decode", "reject", "route", "assess", "decide", "record",
)  # fmt: skip

Told = Parcel[list[Records]]
"""What a shard tells a decider of a batch, in its order."""

_MICROS = 1_000_000
_NOTICES = 256


@dataclass(frozen=True)
class Context:
    """What the steps of a dataflow share.

    `durable`: there is a recovery store, so snapshots are worth making; large ones go into
    `files`, if there are any. `flush`: at the end of the sources, report the sessions that are
    still open, without ending them. `watch` is shown every decoded chunk, `audit` all sessions
    as they are ranked. `stop`, in a cluster, is set when any process is asked to stop. `pace`
    is told how far sources have got. Shards know `judgements` from the beginning. `placed` is
    told of every other verdict by its id and of the time at which it is to take effect, and
    returns when it does, for good.
    """

    config: Config
    sources: Sequence[str]
    counters: Counters
    durable: bool = False
    files: StateFiles | None = None
    flush: bool = False
    watch: Callable[[Decoded], None] | None = None
    audit: Callable[[Ranked], None] | None = None
    stop: threading.Event | None = None
    pace: Pace | None = None
    judgements: tuple[Judgement, ...] = ()
    placed: Callable[[str, int], int] | None = None


@leaving()
def decode_step(context: Context, chunks: Iterable[Chunk]) -> list[Decoded]:
    """Decode chunks."""
    return [_decoded(context, chunk) for chunk in chunks if not chunk.is_last]


def _decoded(context: Context, chunk: Chunk) -> Decoded:
    if context.placed is not None and chunk.source == VERDICTS:
        told = decode_verdicts(chunk, _next_window_us(context), context.placed)
        context.counters.verdicts += len(told.judgements)
        if told.rejects:
            context.counters.rejects[Reason.NOT_A_VERDICT] += len(told.rejects)
        return told
    decoded = decode(chunk, int(time.time() * _MICROS))
    if len(decoded.rows):
        context.counters.events += len(decoded.rows)
        context.counters.latest_us = int(decoded.rows["ts_us"].max())
        context.counters.newest_us = max(context.counters.newest_us, context.counters.latest_us)
        if context.pace is not None:
            context.pace.reach(chunk.source, context.counters.latest_us)
    elif chunk.silent and context.pace is not None:
        context.pace.rest(chunk.source)
    for reject in decoded.rejects:
        context.counters.rejects[reject.reason] += 1
    if chunk.messages is not None and not decoded.rejects:
        chunk.messages.let_go()
    if context.watch is not None:
        context.watch(decoded)
    return decoded


def _next_window_us(context: Context) -> int:
    """Return the first window of which nothing has been read, and in which no shard is."""
    counters, window_us = context.counters, int(context.config.baseline.window_s * _MICROS)
    in_us = (watched.shard.window_us for watched in counters.shards.values())
    newest_us = max(counters.newest_us, *in_us, 0)
    return newest_us - newest_us % window_us + window_us if newest_us else 0


def rejects_of(decoded: Decoded) -> list[tuple[str, tuple[str, Reject]]]:
    """Return the rejects of a chunk with the file they come from, keyed for their sink."""
    chunk = decoded.chunk
    rejects = decoded.rejects if chunk.messages is None else chunk.messages.rejects(decoded)
    return [(REJECT, (chunk.origin or chunk.source, reject)) for reject in rejects]


def notices_of(chunk: Chunk) -> list[tuple[str, None]]:
    """Return notices to all processes where a chunk is the last before a stop.

    Keys are what the engine spreads over processes; so many miss none of them.
    """
    return [(f"stop-{number:03d}", None) for number in range(_NOTICES)] if chunk.is_last else []


class Stop(StatefulBatchLogic[None, None, None]):
    """Has a process stop reading because another one does."""

    def __init__(self, stop: threading.Event, _: None) -> None:
        self._stop = stop

    @leaving()
    def on_batch(self, values: list[None]) -> tuple[list[None], bool]:
        """Stop; called by the engine."""
        self._stop.set()
        return [], self.DISCARD

    def snapshot(self) -> None:
        """Return no state."""


class Route:
    """Divides chunks among the shards; every shard gets every chunk, for the time in it."""

    def __init__(self, config: Config) -> None:
        self._shards = np.uint64(config.events.shards)
        self._by_group = config.events.shard_by == "group"
        self._window_us = int(config.baseline.window_s * _MICROS)
        self._tagger = Tagger(tag_patterns(config))

    @leaving()
    def __call__(self, chunks: Iterable[Decoded]) -> list[tuple[str, Parcel[Part]]]:
        """Return the parts of chunks, with their shards' keys."""
        return [(key, Parcel(part)) for decoded in chunks for key, part in self._parts(decoded)]

    def _parts(self, decoded: Decoded) -> Iterator[tuple[str, Part]]:
        if decoded.judgements:
            for number in range(int(self._shards)):
                yield shard_key(number), told_to(number, decoded)
            return
        rows = decoded.rows
        tags = self._tagger.tags(decoded)
        key = rows["agent"]
        if self._by_group:
            key = np.where(rows["group"] != 0, rows["group"], key)
        shards = key % self._shards
        window_us = windows_of(decoded, self._window_us)
        for number in range(int(self._shards)):
            order = np.flatnonzero(shards == number)
            yield shard_key(number), part_of(number, decoded, order, window_us, tags)


class Assess(StatefulBatchLogic[Parcel[Part], tuple[str, Told], State | None]):
    """A shard in the dataflow."""

    @leaving()
    def __init__(self, context: Context, state: State | None) -> None:
        self._context = context
        self._shelf = Shelf(context.files, ASSESS)
        self._settings = shard_settings(context.config, lowest_limits(context.config))
        self._shard: Shard | None = None  # without a state, the first part tells its number
        if state is not None:
            self._shard = Shard.load(self._shelf.take(state), self._settings, context.sources)
            self._shard.waiting.begin_again()
            self._shard.judging.hear(context.judgements)
            context.counters.watch(self._shard)

    @leaving()
    def on_batch(self, values: list[Parcel[Part]]) -> tuple[list[tuple[str, Told]], bool]:
        """Assess parts in order; called by the engine."""
        if self._shard is None:
            self._shard = Shard(values[0].content.shard, self._settings, self._context.sources)
            self._shard.judging.hear(self._context.judgements)
            self._context.counters.watch(self._shard)
        assessed = [self._shard.assess(value.content) for value in values]
        return self._sent(chain.from_iterable(assessed)), self.RETAIN

    def on_eof(self) -> tuple[list[tuple[str, Told]], bool]:
        """Report open sessions where the context asks for it; end none: they may go on."""
        records = self._shard.open_sessions() if self._shard and self._context.flush else []
        return self._sent(records), self.RETAIN

    def _sent(self, assessed: Iterable[Records]) -> list[tuple[str, Told]]:
        """Return what each decider is told, all at once: what crosses costs by the piece."""
        told: dict[str, list[Records]] = defaultdict(list)
        for records in assessed:
            for key, some in self._by_tenant(records):
                told[key].append(some)
        return [(key, Parcel(several)) for key, several in told.items()]

    def _by_tenant(self, records: Records) -> Iterator[tuple[str, Records]]:
        """Send records to their tenants' deciders; the turn of a window concerns all of them."""
        if records.shown is not None:
            yield from _shown_by_tenant(records, records.shown)
            return
        if records.swarming is not None:
            yield from _swarming_by_tenant(records, records.swarming)
            return
        tenants = records.rows["tenant"]
        if len(tenants) and (tenants == tenants[0]).all():
            yield tenant_key(int(tenants[0] % np.uint64(TENANT_KEYS))), records
            return
        buckets = tenants % np.uint64(TENANT_KEYS)
        for bucket in range(TENANT_KEYS) if not len(buckets) else np.unique(buckets).tolist():
            yield tenant_key(bucket), records.only(np.flatnonzero(buckets == bucket))

    @leaving()
    def snapshot(self) -> State | None:
        """Return the shard's state; called by the engine at the end of every epoch."""
        if self._shard is None or not self._context.durable:
            return None
        return self._context.counters.snapshots.timed(self._shard.dump, self._shelf.put)


def _shown_by_tenant(records: Records, shown: Shown) -> Iterator[tuple[str, Records]]:
    """Tell deciders what has shown itself, all of them that a source gives something."""
    shown = replace(shown, source=feed_of(shown.source))
    buckets = shown.rows["tenant"] % np.uint64(TENANT_KEYS)
    for bucket in range(TENANT_KEYS) if shown.is_first else np.unique(buckets).tolist():
        part = shown.only(np.flatnonzero(buckets == bucket))
        yield tenant_key(bucket), replace(records, shown=part)


def _swarming_by_tenant(records: Records, swarming: Swarming) -> Iterator[tuple[str, Records]]:
    """Tell deciders what ever more of their tenants' agents do."""
    buckets = swarming.rows["tenant"] % np.uint64(TENANT_KEYS)
    for bucket in np.unique(buckets).tolist():
        part = swarming.only(np.flatnonzero(buckets == bucket))
        yield tenant_key(bucket), replace(records, swarming=part)


def without_shard(
    assessed: Iterable[tuple[str, tuple[str, Told]]],
) -> list[tuple[str, Told]]:
    """Return records with their tenants' keys; the engine has put their shards' before them."""
    return [keyed for _, keyed in assessed]


class Decide(StatefulBatchLogic[Told, Ruling, State | None]):
    """A decider in the dataflow."""

    @leaving()
    def __init__(self, context: Context, state: State | None) -> None:
        self._context = context
        self._shelf = Shelf(context.files, DECIDE)
        config = context.config
        kept = None if state is None else self._shelf.take(state)
        self._decider = Decider(config) if kept is None else Decider.load(kept, config)
        self._decider.audit = context.audit
        context.counters.deciders.append(self._decider)

    @leaving()
    def on_batch(self, values: list[Told]) -> tuple[list[Ruling], bool]:
        """Decide about records; called by the engine."""
        ruling = self._decider.decide(records for told in values for records in told.content)
        is_news = ruling.scored or ruling.again or ruling.silences or ruling.reviews or ruling.left
        return [ruling] if is_news else [], self.RETAIN

    @leaving()
    def snapshot(self) -> State | None:
        """Return the decider's state; called by the engine at the end of every epoch."""
        if not self._context.durable:
            return None
        return self._context.counters.snapshots.timed(self._decider.dump, self._shelf.put)
