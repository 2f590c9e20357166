"""Cutting a stream of bytes into chunks of whole lines."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.events import Chunk
from astray.flow.lines import CHUNK_BYTES_MAX, TAIL_BYTES, Lines

SMALL = 8

data_and_cuts = st.tuples(
    st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bcd", b"efghijklmnop"]), max_size=30).map(
        b"".join
    ),
    st.lists(st.integers(0, 80), max_size=12),
)


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut data at offsets."""
    edges = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    return [data[first:end] for first, end in itertools.pairwise(edges)]


def cut(lines: Lines, parts: Sequence[bytes]) -> list[Chunk]:
    """Feed all parts, and finish."""
    chunks = [chunk for part in parts for chunk in lines.feed(part)]
    return [*chunks, *lines.finish()]


def begins_a_line(data: bytes, offset: int) -> bool:
    """Return whether a line begins at an offset."""
    return offset == 0 or data[offset - 1 : offset] == b"\n"


def check(data: bytes, first: int, chunks: Sequence[Chunk]) -> None:
    """Check that chunks are the data from `first` on, in whole lines and parts of one line."""
    at = first
    for chunk in chunks:
        assert chunk.offset == at
        own = data[at : at + len(chunk.data)]
        if chunk.fragment:
            assert chunk.data == own
            assert b"\n" not in own[:-1]
        else:
            assert begins_a_line(data, at) or own == b"\n"
            assert chunk.data.endswith(b"\n")
            assert chunk.data in (own, own + b"\n")
        at += len(own)
    assert at == len(data)


@given(data_and_cuts)
def test_chunks_are_the_data_whatever_the_cuts(given_: tuple[bytes, list[int]]) -> None:
    """Chunks are the data in order, in whole lines or as fragments of a line."""
    data, cuts = given_

    chunks = cut(Lines("s", "o", bytes_max=SMALL), pieces(data, cuts))

    check(data, 0, chunks)


@given(data_and_cuts, st.integers(0, 100))
def test_resuming_at_any_chunk_gives_the_rest(
    given_: tuple[bytes, list[int]], stop_after: int
) -> None:
    """Lines that begin where others stopped give the rest; inside a line it stays a fragment."""
    data, cuts = given_
    stopped = Lines("s", "o", bytes_max=SMALL)
    before = [chunk for part in pieces(data, cuts) for chunk in stopped.feed(part)][:stop_after]
    offset = before[-1].offset + len(before[-1].data) if before else 0
    tail = data[max(0, offset - TAIL_BYTES) : offset]

    after = cut(Lines("s", "o", offset, tail, bytes_max=SMALL), pieces(data[offset:], cuts))

    check(data, offset, after)


@given(data_and_cuts)
def test_what_is_held_back_is_bounded(given_: tuple[bytes, list[int]]) -> None:
    """However long a line, less than the maximum is held back, and less than twice handed over."""
    data, cuts = given_
    lines = Lines("s", "o", bytes_max=SMALL)
    fed = 0

    for part in pieces(data, cuts):
        for small in pieces(part, range(0, len(part), SMALL)):
            chunks = list(lines.feed(small))
            fed += len(small)
            assert fed - lines.offset < SMALL
            assert all(len(chunk.data) < 2 * SMALL for chunk in chunks)


@given(data_and_cuts)
def test_the_tail_is_what_stands_before_the_offset(given_: tuple[bytes, list[int]]) -> None:
    """The tail is the last bytes handed over, never a break that was added."""
    data, cuts = given_
    lines = Lines("s", "o", bytes_max=SMALL)

    for part in pieces(data, cuts):
        list(lines.feed(part))
        assert lines.tail == data[max(0, lines.offset - TAIL_BYTES) : lines.offset]
    list(lines.finish())

    assert lines.tail == data[-TAIL_BYTES:]


def test_an_oversized_line_comes_in_fragments_and_the_next_is_whole() -> None:
    """A line beyond the limit comes as fragments, and what follows it as whole lines again."""
    long_line = b"x" * (2 * CHUNK_BYTES_MAX + 5)
    data = b"first\n" + long_line + b"\nsecond\nthird\n"
    parts = pieces(data, range(0, len(data), CHUNK_BYTES_MAX))

    chunks = cut(Lines("s", "o"), parts)

    flags = [(chunk.fragment, len(chunk.data)) for chunk in chunks]
    assert flags == [
        (False, 6),
        (True, CHUNK_BYTES_MAX + CHUNK_BYTES_MAX - 6),
        (True, 12),
        (False, 13),
    ]
    assert chunks[-1].data == b"second\nthird\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(b"a\nb", [(0, b"a\n"), (2, b"b\n")], id="a last line without a break"),
        pytest.param(b"a\n\n\n", [(0, b"a\n\n\n")], id="blank lines"),
        pytest.param(b"a\r\nb\r\n", [(0, b"a\r\nb\r\n")], id="carriage returns"),
    ],
)
def test_small_streams(data: bytes, expected: list[tuple[int, bytes]]) -> None:
    """Whole lines come as they are; only a last line gets the break it lacks."""
    chunks = cut(Lines("s", "o"), [data])

    assert [(chunk.offset, chunk.data) for chunk in chunks] == expected
    assert not any(chunk.fragment for chunk in chunks)


def test_a_break_after_a_line_that_was_handed_over_is_a_blank_line() -> None:
    """Where only the line break of a finished line comes later, it makes no reject."""
    lines = Lines("s", "o", 3, b"a\nb")

    chunks = list(lines.feed(b"\nc\n"))

    assert [(chunk.data, chunk.fragment) for chunk in chunks] == [(b"\n", False), (b"c\n", False)]


def test_the_rest_of_a_line_that_was_handed_over_is_no_line() -> None:
    """Where a finished line turns out to go on, its rest is a fragment, and no event."""
    lines = Lines("s", "o", 3, b"a\nb")

    chunks = list(lines.feed(b"bb\nc\n"))

    assert [(chunk.data, chunk.fragment) for chunk in chunks] == [(b"bb\n", True), (b"c\n", False)]
