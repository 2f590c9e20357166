"""Where rejects go: byte for byte, each once, whatever a crash has left."""

import base64
import os
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.decide.decider import Ruling
from astray.errors import ConfigError
from astray.events import Reject
from astray.events.schema import Reason
from astray.flow.linesfile import LinesFile, output_problems
from astray.flow.sinks import Calling, Collector, RejectsFile
from astray.testing import make_decision


def reject(offset: int, raw: bytes, reason: Reason = Reason.NOT_JSON) -> tuple[str, Reject]:
    """Return a reject and where it is from."""
    return "events.jsonl", Reject(reason, "", offset, raw)


def part_of(path, state=None, *, durable=True):
    """Open the file of rejects as the engine does."""
    return RejectsFile(path, durable=durable).build_part("reject", "reject", state)


def raws(path) -> list[bytes]:
    """Return the bytes of all rejects in a file."""
    found = map(orjson.loads, path.read_bytes().splitlines())
    return [
        base64.b64decode(one["raw_base64"]) if "raw_base64" in one else one["raw"].encode()
        for one in found
    ]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_bytes_come_back(tmp_path_factory, lines):
    """Whatever a line was, its bytes can be had back from the file."""
    path = tmp_path_factory.mktemp("rejects") / "rejects.jsonl"
    part = part_of(path)

    part.write_batch([reject(at, raw) for at, raw in enumerate(lines)])
    part.close()

    assert raws(path) == lines


def test_a_reject_says_where_it_is_from_and_why(tmp_path):
    """A line of the file has source, place, stage, reason and key, and the text where it is one."""
    path = tmp_path / "rejects.jsonl"
    part = part_of(path)

    part.write_batch(
        [
            ("a\udcff.jsonl", Reject(Reason.WRONG_TYPE, "bytes", 7, b'{"bytes":"x"}')),
            ("b.jsonl", Reject(Reason.NOT_JSON, "", 0, b"\xff")),
        ]
    )
    part.close()

    assert [orjson.loads(line) for line in path.read_bytes().splitlines()] == [
        {"source": "a\\udcff.jsonl", "offset": 7, "stage": "decode", "reason": "wrong_type", "key": "bytes", "raw": '{"bytes":"x"}'},
        {"source": "b.jsonl", "offset": 0, "stage": "decode", "reason": "not_json", "key": "", "raw_base64": "/w=="},
    ]  # fmt: skip


@given(
    st.lists(st.sampled_from([b"a", b"b", b"\xff"]), max_size=12),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(0, 40),
)
def test_each_reject_is_there_once_whatever_the_crash(tmp_path_factory, lines, kept, written, torn):
    """A crash after any write, even inside one, leaves each reject in the file exactly once."""
    path = tmp_path_factory.mktemp("rejects") / "rejects.jsonl"
    rejects = [reject(at, raw) for at, raw in enumerate(lines)]
    snapshot_at, crash_at = min(kept, len(lines)), min(max(kept, written), len(lines))
    before = part_of(path)
    before.write_batch(rejects[:snapshot_at])
    state = before.snapshot()
    before.write_batch(rejects[snapshot_at:crash_at])
    before.close()
    os.truncate(path, max(state, path.stat().st_size - torn))

    after = part_of(path, state)
    for one in rejects[snapshot_at:]:  # the engine repeats what came after the snapshot
        after.write_batch([one])
    after.close()

    assert sorted(raws(path)) == sorted(lines)


def test_another_streams_rejects_at_the_same_places_are_kept(tmp_path):
    """What is known after a crash is known by all it is, not by its place alone."""
    path = tmp_path / "rejects.jsonl"
    first = part_of(path)
    first.write_batch([reject(0, b"one")])
    first.close()

    second = part_of(path, 0)
    second.write_batch([reject(0, b"two"), reject(0, b"one"), reject(0, b"one")])
    second.close()

    assert raws(path) == [b"one", b"two", b"one"]


def test_without_recovery_all_that_comes_is_new(tmp_path):
    """Without a recovery store nothing is repeated, so nothing is taken for a repetition."""
    path = tmp_path / "rejects.jsonl"
    for _ in range(2):
        part = part_of(path, durable=False)
        part.write_batch([reject(0, b"one")])
        part.close()

    assert raws(path) == [b"one", b"one"]


def test_without_a_file_rejects_are_dropped():
    """Without a path there is nothing to write, and the state is zero."""
    part = part_of(None)

    part.write_batch([reject(0, b"one")])

    assert part.snapshot() == 0
    part.close()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", b"", id="empty"),
        pytest.param(b"whole\n", b"whole\n", id="whole"),
        pytest.param(b"whole\ntorn", b"whole\n", id="torn"),
        pytest.param(b"torn", b"", id="nothing but torn"),
        pytest.param(b"whole\n" + b"t" * 200_000, b"whole\n", id="torn and long"),
    ],
)
def test_a_torn_last_line_is_cut_off(content, expected, tmp_path):
    """A last line that a crash has torn goes when the file is opened, and nothing else."""
    path = tmp_path / "lines.jsonl"
    path.write_bytes(content)

    file = LinesFile(path)
    last = file.last()
    file.append(b"next\n")
    file.close()

    assert path.read_bytes() == expected + b"next\n"
    assert last == (expected[:-1])


def test_what_cannot_be_written_is_a_sentence():
    """A full disk is an error that names the file, and nothing of it is half there."""
    part = part_of(Path("/dev/full"))  # a disk that is always full

    with pytest.raises(ConfigError, match="/dev/full: rejects cannot be written: No space left"):
        part.write_batch([reject(0, b"one")])
    part.close()


def test_outputs_are_tried_before_anything_starts(tmp_path):
    """Every output that cannot be written, or is read, has its sentence; none is no output."""
    good, inside, read = (tmp_path / name for name in ("good.jsonl", "missing/file", "read.jsonl"))
    read.touch()

    problems = output_problems([good, None, tmp_path, inside, read], [tmp_path, read])

    assert problems == [
        f"{tmp_path}: cannot be written: Is a directory",
        f"{inside}: cannot be written: No such file or directory",
        f"{read}: is what is read; write to another file",
    ]


def test_every_ruling_is_handed_on_in_order():
    """The sink calls for every ruling, in order, in the engine's own call."""
    seen = []
    rulings = [Ruling(), Ruling(decisions=[make_decision()])]

    Calling(seen.append).build_part("record", "record", None).write_batch(rulings)

    assert seen == rulings


def test_a_decision_that_comes_again_is_collected_once():
    """What a crash repeats counts once, and the first is kept."""
    collector, first = Collector(), make_decision(score=81.0)

    collector(Ruling(decisions=[first]))
    collector(Ruling(decisions=[make_decision(score=99.0)]))

    assert collector.decisions == {first.id: first}
    assert len(collector.scored) == 0
