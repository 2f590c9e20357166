"""Chunks to columns: the compiled scanner and the parser are one decoder."""

import random

import numpy as np
import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from astray.events import Chunk, Event, Reason, decode, encode_event, parse_line
from astray.events.columns import EVENT
from astray.events.decoding import rows_of
from astray.events.ids import pair_id, stable_id
from astray.events.places import RESOURCE
from astray.events.scan import PLAIN, scan
from strategies import NOW_US, any_lines

_COMPARED = [name for name in EVENT.names if name not in {"seen", "resource_first"}]


def _chunk(lines, offset=0):
    return Chunk("source", offset, b"".join(line + b"\n" for line in lines))


def _check_like_the_parser(lines):
    """Decode lines at once and one by one, and compare everything."""
    decoded = decode(_chunk(lines, offset=100), NOW_US)

    events, places, rejected, at = [], [], [], 0
    for line in lines:
        found = parse_line(line, NOW_US)
        if isinstance(found, Event):
            events.append(found)
            places.append((at, at + len(line)))
        elif line.strip(b" \t\r"):
            rejected.append((100 + at, found.reason, line))
        at += len(line) + 1
    expected, resources = rows_of(events)
    expected["line_first"], expected["line_end"] = np.array(places or np.zeros((0, 2))).T
    assert [(reject.offset, reject.reason, reject.raw) for reject in decoded.rejects] == rejected
    assert decoded.rows[_COMPARED].tolist() == expected[_COMPARED].tolist()
    for row, same in zip(decoded.rows, expected, strict=True):
        first, count = row["resource_first"], row["resource_count"]
        of_row = decoded.resources[first : first + count].tolist()
        assert of_row == resources[same["resource_first"] :][:count].tolist()


@given(st.lists(any_lines, max_size=6))
@example([b'{"ts":1,"agent":"a","action":"b"}\r', b"", b" "])
@example([b'{"ts":01,"agent":"a","action":"b"}', b'{"ts":1.,"agent":"a","action":"b"}'])
@example([b'{"ts":"2026-02-29T00:00:00Z","agent":"a","action":"b"}'])
@example([b'{"ts":"2024-02-29T23:59:59.123456Z","agent":"a","action":"b"}'])
@example([b'{"ts":1,"agent":"a","action":"b","agent":"c"}', b'{"agent":"a","action":"b"}'])
@example([b'{"ts":1,"agent":"a","action":"b","x":{"y":[{}, [], [1, {"z": null}]]}}'])
@example([b'{"ts":1,"agent":"a","action":"b","x":[1,]}', b'{"ts":1,"agent":"a","action":"b",}'])
def test_a_chunk_decodes_as_its_lines_do_one_by_one(lines):
    """The fast way and the careful way agree on every column, reject and byte."""
    _check_like_the_parser(lines)


def test_a_hundred_thousand_damaged_lines_are_all_accounted_for():
    """No damage raises, and events, rejects and blank lines cover every byte."""
    generator = random.Random(7)
    good = [
        encode_event(Event(ts_us=NOW_US - n, agent=f"a{n % 9}", action="x", resources=("r", "ä")))
        for n in range(50)
    ]
    lines = []
    for _ in range(100_000):
        line = bytearray(generator.choice(good))
        for _ in range(generator.randint(0, 3)):
            at = generator.randrange(len(line) + 1)
            line[at : at + generator.randrange(4)] = generator.randbytes(generator.randrange(3))
        lines.append(bytes(line).replace(b"\n", b" "))
    chunk = _chunk(lines)

    decoded = decode(chunk, NOW_US)

    sizes = decoded.rows["line_end"] - decoded.rows["line_first"]
    blank = sum(len(line) for line in lines if not line.strip(b" \t\r"))
    rejected = sum(len(reject.raw) for reject in decoded.rejects)
    assert int(sizes.sum()) + rejected + blank + len(lines) == len(chunk.data)
    assert len(decoded.rejects) > 10_000
    assert len(decoded.rows) > 10_000


def test_plain_lines_never_need_the_parser():
    """What producers usually write is scanned, not parsed: that is the fast path."""
    record = {
        "ts": 1_795_000_000.123, "event_id": "e-1", "agent": "größe", "session": "s", "action": "b",
        "group": "g", "kind": "bot", "outcome": "denied", "source": "10.0.0.1", "principal": "p",
        "target_agent": "t", "tenant": "u", "bytes": 12, "count": 2, "resources": ["x", "y"],
        "session_end": True, "delegation_depth": 3, "attrs": {"deep": [{"er": 1.5}]},
    }  # fmt: skip
    lines = [
        orjson.dumps(record),
        orjson.dumps(record | {"ts": "2026-11-22T01:00:00Z"}),
        orjson.dumps(record | {"ts": 1_795_000_000_123}),
        orjson.dumps({"action": "b", "agent": "a", "ts": 1_795_000_000}),
    ]
    data = np.frombuffer(_chunk(lines).data, np.uint8)
    rows, found = np.zeros(len(lines), EVENT), np.zeros(len(lines), np.uint8)

    scan(data, NOW_US, rows, np.zeros(len(data), RESOURCE), found)

    assert found.tolist() == [PLAIN] * len(lines)


def test_names_are_ids_within_their_tenant():
    """The same agent name in two tenants is two agents; groups and sessions likewise."""
    lines = [
        orjson.dumps({"ts": 1, "agent": "a", "action": "b", "session": "s", "tenant": tenant})
        for tenant in ("t1", "t2")
    ]

    rows = decode(_chunk(lines), NOW_US).rows

    assert rows["agent"][0] == pair_id(stable_id("t1"), stable_id("a"))
    assert rows["session"][0] == pair_id(int(rows["agent"][0]), stable_id("s"))
    assert rows["agent"][0] != rows["agent"][1]
    assert rows["session"][0] != rows["session"][1]


def test_the_line_of_an_event_is_found_again():
    """The bytes an analyst wants to see are those that came."""
    lines = [b"nonsense", b' {"ts":1,"agent":"a","action":"b"} ']

    decoded = decode(_chunk(lines), NOW_US)

    assert decoded.line(0) == lines[1]


def test_fragments_of_an_endless_line_are_rejects():
    """A line beyond the source's buffer is kept in pieces, each with its place."""
    decoded = decode(Chunk("source", 5, b"x" * 1000, fragment=True), NOW_US)

    assert len(decoded.rows) == 0
    assert [(r.reason, r.offset, r.raw) for r in decoded.rejects] == [
        (Reason.OVERSIZED, 5, b"x" * 1000)
    ]


def test_an_event_in_the_far_future_is_refused_by_either_way():
    """A clock that is wrong by more than a day must not move everybody's."""
    late = NOW_US // 1_000_000 + 25 * 3600
    lines = [
        orjson.dumps({"ts": late, "agent": "a", "action": "b"}),
        orjson.dumps({"ts": late, "agent": "\\a", "action": "b"}),
    ]

    decoded = decode(_chunk(lines), NOW_US)

    assert [reject.reason for reject in decoded.rejects] == [Reason.FUTURE_TIME] * 2
