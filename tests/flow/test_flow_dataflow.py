"""The real dataflow: from chunks to decisions, whatever the batches, crashes and faults."""

import itertools
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bytewax.inputs import AbortExecution, FixedPartitionedSource, StatefulSourcePartition
from bytewax.testing import TestingSource
from hypothesis import given, settings
from hypothesis import strategies as st

from astray.config import Config, load_config
from astray.errors import RecoveryError, StateError, StoreError
from astray.events import Chunk, Event
from astray.flow.counters import Counters
from astray.flow.dataflow import build_flow
from astray.flow.engine import run_flow
from astray.flow.keys import TENANT_KEYS, shard_key, tenant_key
from astray.flow.recovery import open_recovery
from astray.flow.sinks import Calling, Collector, RejectsFile
from astray.flow.sources import Reading, Sources
from astray.flow.statefiles import FOLDER, StateFiles
from astray.flow.steps import Context
from core import Core
from running import lines, states
from strategies import NOW_US

SOURCE = "source"
_MINUTE_US = 60_000_000
_HOUR_US = 60 * _MINUTE_US
_START_US = NOW_US - NOW_US % _HOUR_US - 2000 * _HOUR_US
_CONFIG = load_config(
    overrides={
        "events": {"shards": 3},
        "default_policy": {
            "alert": {"score": 20.0},
            "suspend": {"score": 26.0},
            "mode": "enforce",
            "enforce_uncertified": True,
        },
    }
)


def busy_stream(count: int = 900, seed: int = 5, tenants: Sequence[str] = ("",)) -> list[Event]:
    """Return a stream of some agents over days, with now and then something unheard of."""
    generator = random.Random(seed)
    ts_us, events = _START_US, []
    for number in range(count):
        ts_us += generator.choice([1, 20, 300, 1500]) * 1_000_000
        agent = generator.randrange(7)
        odd = generator.random() < 0.03
        events.append(
            Event(
                ts_us=ts_us,
                agent=f"agent-{agent}",
                group=f"group-{agent % 3}",
                tenant=tenants[agent % len(tenants)],
                action=f"odd-{number}" if odd else generator.choice(["read", "write", "list"]),
                session=f"s{agent}-{number // 40}",
                resources=tuple(generator.sample("abcdefgh", generator.randrange(3))),
                bytes=generator.choice([0, 10, 10**9 if odd else 100]),
                event_id=f"e{number}",
            )
        )
    return events


def chunks(data: bytes, size: int) -> list[Chunk]:
    """Cut lines into chunks of a number of lines."""
    pieces = data.splitlines(keepends=True)
    found, offset = [], 0
    for first in range(0, len(pieces), size):
        piece = b"".join(pieces[first : first + size])
        found.append(Chunk(SOURCE, offset, piece))
        offset += len(piece)
    return found


@dataclass
class Run:
    """Runs of one dataflow, one after the other, and what came of them."""

    config: Config = _CONFIG
    flush: bool = False
    collector: Collector = field(default_factory=Collector)
    counters: Counters = field(default_factory=Counters)

    def over(self, source, folder: Path | None = None, interval_s: float = 10.0) -> "Run":
        """Run over a source; with a folder, go on from the state in it and leave it there."""
        files = StateFiles(folder / "recovery", least_bytes=1) if folder else None
        context = Context(
            self.config, [SOURCE], self.counters, durable=folder is not None, files=files,
            flush=self.flush,
        )  # fmt: skip
        rejects = RejectsFile(folder / "rejects.jsonl" if folder else None, durable=True)
        flow = build_flow(context, source, Calling(self.collector), rejects)
        if folder is None:
            run_flow(flow, interval_s)
        else:
            with open_recovery(folder / "recovery", self.config) as recovery:
                run_flow(flow, interval_s, recovery)
        return self

    @property
    def ranked(self) -> list[tuple]:
        """Return every ranked session as it stood when it was ranked, in one order."""
        return sorted(map(tuple, self.collector.scored.tolist()))


def undisturbed(data: bytes, folder: Path, config: Config = _CONFIG) -> tuple[Run, dict]:
    """Run over all of the data at once; return what came of it, and the final states."""
    run = Run(config).over(TestingSource(chunks(data, 10**6)), folder)
    return run, states(folder / "recovery")


def test_a_session_beyond_its_limit_is_suspended_at_the_event_that_was_too_many():
    """The whole dataflow, worked out by hand: the third event where two are allowed."""
    config = load_config(
        overrides={"default_policy": {"mode": "enforce", "limits": {"events_per_session": 2}}}
    )
    events = [
        Event(
            ts_us=_START_US + at,
            agent=f"agent-{at % 2}",
            action="read",
            session="s",
            event_id=f"e{at}",
        )
        for at in range(5)
    ]

    run = Run(config).over(TestingSource(chunks(lines(events), 2)))

    found = [
        (one.agent, one.session, one.event_id, one.suspends)
        for one in run.collector.decisions.values()
    ]
    assert found == [("agent-0", "s", "e4", True)]
    assert (run.counters.events, run.counters.agents, dict(run.counters.rejects)) == (5, 2, {})


def test_the_dataflow_is_the_core_and_nothing_more(tmp_path):
    """Decisions and state are those of the core when no engine drives it."""
    events = busy_stream()
    core = Core(_CONFIG)
    rulings = core.feed(events)

    run, kept = undisturbed(lines(events), tmp_path)

    expected = {}
    for one in (one for ruling in rulings for one in ruling.decisions):
        expected.setdefault(one.id, one)
    assert run.collector.decisions == expected
    assert len(expected) > 10
    shards = [kept["astray.assess", shard_key(number)] for number in range(3)]
    assert [*shards, kept["astray.decide", tenant_key(0)]] == core.dump()


@pytest.mark.parametrize(
    ("lines_each", "chunks_at_once"),
    [
        pytest.param(1, 1, id="line by line"),
        pytest.param(1, 900, id="all lines at once, each a chunk"),
        pytest.param(7, 3, id="some lines, some chunks"),
        pytest.param(250, 1, id="long chunks"),
    ],
)
def test_batches_change_nothing(lines_each, chunks_at_once, tmp_path):
    """However a stream is cut into chunks and batches: same decisions, ranks and state bytes."""
    (tmp_path / "whole").mkdir()
    data = lines(busy_stream(tenants=("", "t1", "t2", "t3", "t4")))
    expected, kept = undisturbed(data, tmp_path / "whole")

    run = Run().over(TestingSource(chunks(data, lines_each), chunks_at_once), tmp_path)

    assert run.collector.decisions == expected.collector.decisions
    assert states(tmp_path / "recovery") == kept
    assert {row for row in run.ranked if not row[5]} == {
        row for row in expected.ranked if not row[5]
    }


class Crashing(FixedPartitionedSource, StatefulSourcePartition):
    """Hands out chunks one at a time; before each of `aborts` it crashes, once.

    The engine's own TestingSource miscounts where it is resumed after a second crash.
    """

    def __init__(self, given_: Sequence[Chunk], aborts: Sequence[int]) -> None:
        self.given, self.aborts, self.at = given_, list(aborts), 0

    def list_parts(self) -> list[str]:
        """Return the one partition."""
        return ["given"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "Crashing":
        """Go on where the state says."""
        self.at = resume_state or 0
        return self

    def next_batch(self) -> list[Chunk]:
        """Return the next chunk."""
        if self.at in self.aborts:
            self.aborts.remove(self.at)
            raise AbortExecution
        if self.at == len(self.given):
            raise StopIteration
        self.at += 1
        return [self.given[self.at - 1]]

    def snapshot(self) -> int:
        """Return how many were handed out."""
        return self.at


# A run takes a quarter of a second, an example several of them.
@settings(max_examples=4)
@given(
    aborts=st.lists(st.integers(0, 30), min_size=1, max_size=4),
    interval_s=st.sampled_from([0.0, 0.01, 10.0]),
)
def test_a_crash_anywhere_changes_nothing(tmp_path_factory, aborts, interval_s):
    """Aborted anywhere and resumed, the dataflow decides and knows what it would have."""
    folder = tmp_path_factory.mktemp("crash")
    (folder / "whole").mkdir()
    data = lines(busy_stream(count=300))
    expected, kept = undisturbed(data, folder / "whole")

    run, source = Run(), Crashing(chunks(data, 10), aborts)
    for _ in range(len(aborts) + 1):
        run.over(source, folder, interval_s)

    assert run.collector.decisions == expected.collector.decisions
    assert states(folder / "recovery") == kept


def test_files_of_states_do_not_pile_up(tmp_path):
    """However many epochs there have been, the newest few states of each key are left."""
    Run().over(TestingSource(chunks(lines(busy_stream(count=400)), 10)), tmp_path, interval_s=0.0)
    keys = 3 + TENANT_KEYS
    after = len(list((tmp_path / "recovery" / FOLDER).iterdir()))

    with open_recovery(tmp_path / "recovery", _CONFIG):
        named = len(list((tmp_path / "recovery" / FOLDER).iterdir()))

    assert keys < after <= 3 * keys
    assert keys <= named <= after


def test_a_resumed_run_reads_the_rest_only(tmp_path):
    """After a clean end nothing is read again: the second run sees only what is new."""
    data = lines(busy_stream(count=100))
    items = chunks(data, 10)
    Run().over(TestingSource([*items[:6], TestingSource.EOF(), *items[6:]]), tmp_path)

    second = Run().over(TestingSource([*items[:6], TestingSource.EOF(), *items[6:]]), tmp_path)

    assert second.counters.events == 40


def test_a_reject_in_the_middle_does_not_disturb(tmp_path):
    """Lines that are no events leave decisions and state as they would be without them."""
    for name in ("clean", "dirty"):
        (tmp_path / name).mkdir()
    events = busy_stream(count=300)
    good = [lines([event]) for event in events]
    bad = [b"nonsense\n", b'{"ts":"\xff"}\n', b"[]\n", b"\n"]
    dirty = b"".join(itertools.chain.from_iterable(zip(good, bad * 75, strict=True)))
    expected, kept = undisturbed(b"".join(good), tmp_path / "clean")

    run = Run().over(TestingSource(chunks(dirty, 9)), tmp_path / "dirty")

    assert dict(run.counters.rejects) == {"not_json": 150, "not_object": 75}
    assert run.collector.decisions.keys() == expected.collector.decisions.keys()
    assert states(tmp_path / "dirty" / "recovery") == kept
    assert len((tmp_path / "dirty" / "rejects.jsonl").read_bytes().splitlines()) == 225


def test_open_sessions_are_reported_at_the_end_where_that_is_asked_for():
    """A replay ranks the sessions that are still open; a live run leaves them open."""
    events = [Event(ts_us=_START_US + at, agent="a", action="read", session="s") for at in range(3)]
    data = chunks(lines(events), 3)

    flushed = Run(flush=True).over(TestingSource(data))
    left_open = Run().over(TestingSource(data))

    assert flushed.collector.scored["rows"].tolist()[-1:] == [3]
    assert left_open.collector.scored["live"].all()


def test_a_source_that_ended_does_not_hold_the_clock(tmp_path):
    """Sessions of a longer source end although the time of a shorter one stands still."""
    short, long_ = tmp_path / "short.jsonl", tmp_path / "long.jsonl"
    short.write_bytes(lines([Event(ts_us=_START_US, agent="early", action="read", session="s")]))
    long_.write_bytes(
        lines(
            Event(ts_us=_START_US + hour * _HOUR_US, agent=f"late-{hour}", action="read")
            for hour in range(1, 11)
        )
    )
    names, collector = [str(short), str(long_)], Collector()
    context = Context(_CONFIG, names, Counters())

    run_flow(
        build_flow(context, Sources(names, Reading()), Calling(collector), RejectsFile(None)), 10.0
    )

    ended = collector.scored[~collector.scored["live"]]
    assert len(ended) >= 9


class Raising:
    """Raises an error where a ruling is to be recorded."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, _: object) -> None:
        """Raise it."""
        raise self.error


def _flow(record=None, watch=None, source=None):
    data = chunks(lines(busy_stream(count=50)), 10)
    context = Context(_CONFIG, [SOURCE], Counters(), watch=watch)
    return build_flow(
        context, source or TestingSource(data), Calling(record or Collector()), RejectsFile(None)
    )


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(StoreError("cases.db: disk full"), id="an error of ours"),
        pytest.param(ZeroDivisionError("a fault"), id="a fault"),
    ],
)
@pytest.mark.parametrize("where", ["record", "watch"])
def test_what_a_step_raises_comes_as_it_is(where, error, capfd):
    """An error leaves the dataflow as itself, and the engine prints nothing about it."""
    with pytest.raises(type(error)) as caught:
        run_flow(_flow(**{where: Raising(error)}), 10.0)

    assert caught.value is error
    sys.stderr.write("still there\n")
    assert capfd.readouterr().err == "still there\n"


def test_a_damaged_state_is_refused(tmp_path):
    """A state with a flipped bit ends the next run with an error of ours, not with nonsense."""
    items = chunks(lines(busy_stream(count=50)), 10)
    Run().over(TestingSource(items), tmp_path)
    for file in (tmp_path / "recovery" / FOLDER).iterdir():
        state = bytearray(file.read_bytes())
        state[len(state) // 2] ^= 1
        file.write_bytes(state)

    with pytest.raises(StateError):
        Run().over(TestingSource(items), tmp_path)


def test_a_recovery_database_without_its_tables_is_an_error_of_ours(tmp_path):
    """What the engine says of its database comes as a sentence that names the directory."""
    items = chunks(lines(busy_stream(count=50)), 10)
    Run().over(TestingSource(items), tmp_path)
    (part,) = (tmp_path / "recovery").glob("part-*.sqlite3")
    part.write_bytes(part.read_bytes()[:100] + bytes(8000))

    with pytest.raises(RecoveryError, match=r"recovery/part-0\.sqlite3: cannot be read: "):
        Run().over(TestingSource(items), tmp_path)
