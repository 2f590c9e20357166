"""Everything compiled before the first event: else a stream would wait for it in the middle."""

import subprocess
import sys

import numpy as np

from astray.baseline.activity import SHOWN, Shown
from astray.baseline.buffers import RECORD
from astray.baseline.judging import compile_judging
from astray.baseline.memory import Memory
from astray.baseline.part import part_of, windows_of
from astray.baseline.records import Records
from astray.baseline.settings import shard_settings
from astray.baseline.shard import Shard
from astray.baseline.swarms import Swarms
from astray.baseline.turn import compile_turn
from astray.calibrate.fusing import compile_experts
from astray.compiled import CACHE, COMPLETE, INTERPRETED
from astray.config import Config, load_config
from astray.decide.decider import Decider
from astray.decide.limits import lowest_limits
from astray.events import Chunk, Decoded, Event, decode, encode_event
from astray.events.decoding import rows_of

_HOUR_US = 3_600_000_000
_COMPLETE = CACHE / COMPLETE
_LINE = b'{"ts":1,"agent":"a","action":"b"}\n'


def kernels_are_ready() -> bool:
    """Return whether all kernels lie compiled on the disk, so that a run starts at once."""
    return INTERPRETED or _COMPLETE.exists()


def compile_kernels() -> None:
    """Have everything compiled, or loaded from the cache, that a run will need.

    Without a cache this takes a while, so a process of its own compiles what a shard does not
    need, which is half of it.
    """
    other = None
    if not kernels_are_ready():
        code = "from astray.flow.kernels import compile_others; compile_others()"
        other = subprocess.Popen([sys.executable, "-c", code])  # noqa: S603 - ourselves
    compile_shard()
    if other is not None:
        other.wait()
    compile_others()
    if CACHE.is_dir():
        _COMPLETE.touch()


def compile_others() -> None:
    """Compile, or load, what decoding, verdicts, experts and deciders need.

    The turn of a window is a shard's; but the hot loop takes as long as all else together, and
    by the time that it is compiled the turn lies there.
    """
    compile_turn(Memory.new())
    first = decode(Chunk("warm-up", 0, _LINE), now_us=2**60).only(np.arange(1))
    Swarms(1).swarming(first, np.arange(1), 0)
    compile_judging(Memory.new())
    compile_experts()
    Decider(_config()).decide([_told(9), _shown(9), _told(10), _shown(10), _told(11)])


def compile_shard() -> None:
    """Compile, or load, what a shard needs."""
    events = [
        Event(ts_us=hours * _HOUR_US, agent="a", action="b", resources=("c",), session=session)
        for hours, session in ((9, "s"), (10, "t"), (30, "s"))
    ]
    rows, resources = rows_of(events)
    lines = [encode_event(event) for event in events]  # names are read from them
    rows["line_end"] = np.cumsum([len(line) for line in lines])
    rows["line_first"] = rows["line_end"] - [len(line) for line in lines]
    decoded = Decoded(Chunk("warm-up", 0, b"".join(lines)), rows, resources, ())
    config = _config()
    shard = Shard(0, shard_settings(config, lowest_limits(config)), ["warm-up"])
    shard.assess(part_of(0, decoded, np.arange(len(rows)), windows_of(decoded, _HOUR_US)))
    shard.open_sessions()
    shard.dump()


def _config() -> Config:
    """Return the default configuration, with one shard: a decider waits for all there are.

    It has no floods: what counts swarms is not the hot loop's to wait for.
    """
    return load_config(overrides={"events": {"shards": 1}, "flood": {"agents_min": 0}})


def _told(hour: int) -> Records:
    """Return a session that ended in an hour."""
    rows = np.zeros(1, RECORD)
    rows["tenant"], rows["session"], rows["row"] = 1, hour, -1
    return Records(0, hour * _HOUR_US, rows, (b"",), ((),))


def _shown(hour: int) -> Records:
    """Return that an agent has shown itself in an hour."""
    rows = np.zeros(1, SHOWN)
    rows["tenant"], rows["agent"], rows["action"] = 1, 2, 3
    lines = decode(Chunk("warm-up", 0, _LINE), now_us=2**60).lines(np.arange(1))
    shown = Shown("warm-up", True, rows, lines)
    return Records(0, hour * _HOUR_US, np.zeros(0, RECORD), (), (), shown)
