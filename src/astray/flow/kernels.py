"""Everything compiled before the first event: else a stream would wait for it in the middle."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from astray.baseline.activity import SHOWN, Shown
from astray.baseline.buffers import RECORD
from astray.baseline.judging import compile_judging
from astray.baseline.memory import Memory
from astray.baseline.observe import end_session
from astray.baseline.part import part_of, windows_of
from astray.baseline.records import Records
from astray.baseline.settings import ShardSettings, shard_settings
from astray.baseline.shard import Shard
from astray.baseline.swarms import Swarms
from astray.baseline.turn import compile_ends, compile_turn
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
        code = "from astray.flow.kernels import compile_beside; compile_beside()"
        other = subprocess.Popen([sys.executable, "-c", code])  # noqa: S603 - ourselves
    with _nothing_collected():
        compile_shard()
        if other is not None:
            other.wait()
        compile_others()
    if CACHE.is_dir():
        _COMPLETE.touch()


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Keep Python from looking for garbage: a compiler makes little, and has much to look through.

    It takes a twelfth of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def compile_beside() -> None:
    """Compile, while another process compiles the hot loop, all that can be without it.

    What ends the sessions of a window calls one function of the hot loop, the longest of all. As
    soon as that lies there, it is this process that has the time.
    """
    waits = True
    with _nothing_collected():
        for compile_one in _OTHERS:
            compile_one()
            if waits and any(CACHE.rglob(f"*.{end_session.__name__}-*.nbi")):
                compile_ends(Memory.new(), _settings().loop)
                waits = False


def compile_others() -> None:
    """Compile, or load, what decoding, verdicts, experts and deciders need.

    The turn of a window is a shard's; but the hot loop takes as long as all else together, and
    by the time that it is compiled the turn lies there.
    """
    for compile_one in _OTHERS:
        compile_one()


def _compile_turn() -> None:
    compile_turn(Memory.new())


def _compile_verdicts() -> None:
    compile_judging(Memory.new())


def _compile_decoding() -> None:
    first = decode(Chunk("warm-up", 0, _LINE), now_us=2**60).only(np.arange(1))
    Swarms(1).swarming(first, np.arange(1), 0)


def _compile_decider() -> None:
    Decider(_config()).decide([_told(9), _shown(9), _told(10), _shown(10), _told(11)])


_OTHERS = (
    _compile_turn,
    _compile_decoding,
    _compile_verdicts,
    compile_experts,
    _compile_decider,
)


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
    shard = Shard(0, _settings(), ["warm-up"])
    shard.assess(part_of(0, decoded, np.arange(len(rows)), windows_of(decoded, _HOUR_US)))
    shard.open_sessions()
    shard.dump()


def _config() -> Config:
    """Return the default configuration, with one shard: a decider waits for all there are.

    It has no floods: what counts swarms is not the hot loop's to wait for.
    """
    return load_config(overrides={"events": {"shards": 1}, "flood": {"agents_min": 0}})


def _settings() -> ShardSettings:
    config = _config()
    return shard_settings(config, lowest_limits(config))


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
