"""Reading files, directories and standard input, and going on where reading was left."""

import gzip
import os
import subprocess
import sys
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from astray.errors import ConfigError, SourceError
from astray.events import Chunk
from astray.flow.lines import CHUNK_BYTES_MAX, TAIL_BYTES
from astray.flow.naming import check_sources
from astray.flow.openfile import Place
from astray.flow.sources import FileSource, Places, Reader, Reading, Sources

LINES = b'{"a":1}\n\n{"b":"\xff\xc3"}\r\n\r\nthe third\n' + b"long" * 40 + b"\nno break"


def readers(names: list[str], reading: Reading, states: list[Places] | None = None) -> list[Reader]:
    """Build every reader of some sources, from the states that readers were left in."""
    sources = Sources(names, reading)
    kept = states or [None] * len(sources.list_parts())
    return [
        sources.build_part("read", key, state)
        for key, state in zip(sources.list_parts(), kept, strict=True)
    ]


def polled(parts: list[Reader]) -> list[Chunk]:
    """Ask every reader once."""
    chunks = []
    for part in parts:
        try:
            chunks += part.next_batch()
        except StopIteration:
            continue
    return chunks


def drained(parts: list[Reader]) -> list[Chunk]:
    """Ask every reader until it ends."""
    chunks = []
    for part in parts:
        while True:
            try:
                chunks += part.next_batch()
            except StopIteration:
                break
    return chunks


def closed(parts: list[Reader]) -> list[Places]:
    """End readers as the engine does; return their states."""
    states = [part.snapshot() for part in parts]
    for part in parts:
        part.close()
    return states


def read_all(name: Path, reading: Reading | None = None) -> list[Chunk]:
    """Read a source to its end."""
    parts = readers([str(name)], reading or Reading())
    chunks = drained(parts)
    closed(parts)
    return chunks


def joined(chunks: list[Chunk]) -> bytes:
    """Return the bytes of chunks one after the other."""
    return b"".join(chunk.data for chunk in chunks)


def mark(data: bytes, offset: int) -> int:
    """Return the checksum by which a place is known again."""
    return zlib.crc32(data[max(0, offset - TAIL_BYTES) : offset])


def plain_file(folder: Path) -> tuple[Path, str]:
    """Write the lines as they are."""
    path = folder / "events.jsonl"
    path.write_bytes(LINES)
    return path, ""


def packed_file(folder: Path) -> tuple[Path, str]:
    """Write the lines compressed."""
    path = folder / "events.jsonl.gz"
    path.write_bytes(gzip.compress(LINES))
    return path, ""


def two_members(folder: Path) -> tuple[Path, str]:
    """Write the lines as two compressed files one after the other, cut inside a line."""
    path = folder / "events.jsonl.gz"
    path.write_bytes(gzip.compress(LINES[:20]) + gzip.compress(LINES[20:]))
    return path, ""


def file_in_directory(folder: Path) -> tuple[Path, str]:
    """Write the lines into a directory, after a file that was read before."""
    path = folder / "events"
    path.mkdir()
    (path / "a.jsonl").write_bytes(b"read before\n")
    (path / "b.jsonl").write_bytes(LINES)
    return path, "b.jsonl"


KINDS = pytest.mark.parametrize(
    "write",
    [
        pytest.param(plain_file, id="a plain file"),
        pytest.param(packed_file, id="a compressed file"),
        pytest.param(two_members, id="two compressed files in one"),
        pytest.param(file_in_directory, id="a file in a directory"),
    ],
)


@KINDS
def test_all_lines_come_as_they_are(write, tmp_path):
    """Blank lines, carriage returns and bytes that are no text come as they lie in the file."""
    path, _ = write(tmp_path)

    chunks = read_all(path)

    assert joined(chunks).removeprefix(b"read before\n") == LINES + b"\n"
    assert not any(chunk.fragment for chunk in chunks)


@KINDS
def test_resuming_at_any_byte_gives_the_rest(write, tmp_path):
    """From every place on exactly the rest comes, and the rest of a line passes for no line."""
    path, file = write(tmp_path)

    for offset in range(len(LINES) + 1):
        reading = Reading()
        source = FileSource(str(path), reading, Place(file, offset, mark(LINES, offset)))
        chunks = []
        while not source.ended:
            chunks += source.next_chunks()
        source.close()
        rest, data = LINES[offset:], [chunk for chunk in chunks if not chunk.silent]
        assert joined(data).removesuffix(b"\n") == rest.removesuffix(b"\n")
        inside = bool(offset) and LINES[offset - 1 : offset] != b"\n"
        begins_with_break = rest.startswith(b"\n")
        assert bool(data and data[0].fragment) == (inside and bool(rest) and not begins_with_break)
        assert [chunk.offset for chunk in data[:1]] == ([offset] if rest else [])


def test_a_snapshot_between_two_polls_is_where_the_next_run_goes_on(tmp_path):
    """Wherever a run stops between two polls, the run after it reads the rest of the file."""
    path = tmp_path / "events.jsonl"
    data = b"".join(b"%07d\n" % number for number in range(400_000))
    path.write_bytes(data)
    whole = read_all(path)

    for polls in range(1, 5):
        before = readers([str(path)], Reading())
        first = [chunk for _ in range(polls) for chunk in polled(before)]
        after = readers([str(path)], Reading(), closed(before))
        rest = drained(after)
        closed(after)
        assert joined(first) + joined(rest) == data
        assert all(chunk.data.endswith(b"\n") for chunk in first + rest if not chunk.silent)
    assert len(whole) == 1 + -(-len(data) // CHUNK_BYTES_MAX)  # the last says that it is silent


def test_a_directory_is_read_in_the_order_of_its_names(tmp_path):
    """Files come in the order of their names, whole, and what is no event file is left out."""
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"2\n3"))
    (tmp_path / "a.jsonl").write_bytes(b"1\n")
    (tmp_path / "c.jsonl").write_bytes(b"4\n")
    (tmp_path / "a.txt").write_bytes(b"no events\n")
    (tmp_path / "d.jsonl").mkdir()

    chunks = read_all(tmp_path)

    found = [(Path(chunk.origin).name, chunk.offset, chunk.data) for chunk in chunks]
    assert found[:-1] == [
        ("a.jsonl", 0, b"1\n"),
        ("b.jsonl.gz", 0, b"2\n"),
        ("b.jsonl.gz", 2, b"3\n"),
        ("c.jsonl", 0, b"4\n"),
    ]
    assert {chunk.source for chunk in chunks} == {str(tmp_path)}


def test_a_directory_that_was_read_gives_only_what_is_new(tmp_path):
    """After its end a directory gives what was added to its last file, and later files."""
    (tmp_path / "a.jsonl").write_bytes(b"1\n")
    (tmp_path / "b.jsonl").write_bytes(b"2\n")
    first = readers([str(tmp_path)], Reading())
    drained(first)
    states = closed(first)
    with (tmp_path / "b.jsonl").open("ab") as file:
        file.write(b"3\n")
    (tmp_path / "c.jsonl").write_bytes(b"4\n")

    again = readers([str(tmp_path)], Reading(), states)

    assert joined(drained(again)) == b"3\n4\n"
    closed(again)


def test_where_the_file_of_the_place_is_gone_the_next_one_follows(tmp_path):
    """A directory whose oldest files were removed meanwhile goes on with the first after them."""
    for name, data in (("a", b"1\n"), ("b", b"2\n"), ("c", b"3\n")):
        (tmp_path / f"{name}.jsonl").write_bytes(data)
    first = readers([str(tmp_path)], Reading())
    polled(first)
    states = closed(first)
    (tmp_path / "a.jsonl").unlink()

    again = readers([str(tmp_path)], Reading(), states)

    assert joined(drained(again)) == b"2\n3\n"
    closed(again)


def test_an_ended_source_says_so_once(tmp_path):
    """The last chunk of a source is empty and silent, so that the others' clock is freed."""
    short, long_ = tmp_path / "short.jsonl", tmp_path / "long.jsonl"
    short.write_bytes(b"1\n")
    long_.write_bytes(b"x\n" * CHUNK_BYTES_MAX)
    parts = readers([str(short), str(long_)], Reading())

    chunks = [*polled(parts), *polled(parts)]

    silent = [chunk for chunk in chunks if chunk.silent]
    assert [(chunk.source, chunk.data) for chunk in silent] == [(str(short), b"")]
    assert [chunk.source for chunk in drained(parts) if chunk.silent] == [str(long_)]
    closed(parts)


def test_a_followed_file_is_silent_at_its_end(tmp_path):
    """A followed file that has given all there is holds nobody up, and says so once."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"1\n")
    source = FileSource(str(path), Reading(follow=True), Place())
    assert joined(source.next_chunks()) == b"1\n"

    silent = [source.next_chunks(), source.next_chunks()]
    with path.open("ab") as file:
        file.write(b"2\n")

    assert [[chunk.silent for chunk in chunks] for chunks in silent] == [[True], []]
    assert [(chunk.data, chunk.silent) for chunk in source.next_chunks()] == [(b"2\n", False)]
    source.close()


def test_following_waits_for_the_end_of_a_line(tmp_path):
    """What is appended comes when its line is whole, and no end comes by itself."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"1\n2")
    parts = readers([str(path)], Reading(follow=True))
    found = [joined(polled(parts)), joined(polled(parts))]

    with path.open("ab") as file:
        for piece in (b"2", b"2\n3\n4", b"\n"):
            file.write(piece)
            file.flush()
            found.append(joined(polled(parts)))

    assert found == [b"1\n", b"", b"", b"222\n3\n", b"4\n"]
    closed(parts)


def test_following_a_file_that_is_not_there_yet(tmp_path):
    """A file between the two steps of a rotation is waited for."""
    path = tmp_path / "events.jsonl"
    parts = readers([str(path)], Reading(follow=True))
    before = polled(parts)

    path.write_bytes(b"1\n")

    assert [chunk.silent for chunk in before] == [True]
    assert joined(polled(parts)) == b"1\n"
    closed(parts)


def test_rotation_by_rename_loses_nothing(tmp_path):
    """After a rename the old file is read to its end, then the new one from its beginning."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"1\n")
    parts = readers([str(path)], Reading(follow=True))
    found = [joined(polled(parts))]

    with path.open("ab") as file:
        path.rename(tmp_path / "events.jsonl.1")
        file.write(b"2\n")
        file.flush()
        found.append(joined(polled(parts)))  # there is no new file yet
        file.write(b"3\nunfinished")
    path.write_bytes(b"4\n" * 50)  # longer than the old one
    found += [joined(polled(parts)) for _ in range(3)]

    assert found == [b"1\n", b"2\n", b"3\n", b"unfinished\n", b"4\n" * 50]
    closed(parts)


class Overtaken(FileSource):
    """A source whose file gets its last line and its successor just after a read found nothing."""

    def _has_successor(self, open_):
        path = open_.path
        if not path.with_suffix(".old").exists():
            with path.open("ab") as file:
                file.write(b"2\n")
            path.rename(path.with_suffix(".old"))
            path.write_bytes(b"3\n")
        return super()._has_successor(open_)


def test_what_is_written_while_a_file_is_rotated_is_not_lost(tmp_path):
    """Between finding nothing and finding the successor a line may come; it is read."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"1\n")
    source = Overtaken(str(path), Reading(follow=True), Place())

    found = [joined(source.next_chunks()) for _ in range(4)]

    assert found == [b"1\n", b"2\n", b"", b"3\n"]
    source.close()


def test_rotation_by_truncation_begins_anew(tmp_path):
    """A file that has been cut is read from its beginning again."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"1\n2\n3\n")
    parts = readers([str(path)], Reading(follow=True))
    found = [joined(polled(parts))]

    path.write_bytes(b"4\n")
    found += [joined(polled(parts)) for _ in range(2)]

    assert b"".join(found) == b"1\n2\n3\n4\n"
    closed(parts)


def test_rotation_while_nobody_was_reading_begins_anew(tmp_path):
    """Where another file lies under the name of the one that was read, following reads all of it."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"old 1\nold 2\n")
    first = readers([str(path)], Reading(follow=True))
    polled(first)
    states = closed(first)
    path.unlink()
    path.write_bytes(b"new 1\nnew 2\nnew 3\n")

    again = readers([str(path)], Reading(follow=True), states)

    assert joined(polled(again)) == b"new 1\nnew 2\nnew 3\n"
    closed(again)


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(b"new 1\nnew 2\nnew 3\n", id="longer"),
        pytest.param(b"old 1\n", id="shorter"),
    ],
)
def test_another_file_under_the_same_name_is_not_taken_for_the_one_that_was_read(now, tmp_path):
    """Without following, going on in the middle of another file is refused with a sentence."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"old 1\nold 2\n")
    first = readers([str(path)], Reading())
    drained(first)
    states = closed(first)
    path.write_bytes(now)
    reading = Reading()

    again = readers([str(path)], reading, states)

    assert drained(again) == []
    with pytest.raises(SourceError, match=r"events\.jsonl: not the file that was read"):
        reading.raise_fault()
    closed(again)


def test_a_new_file_in_a_followed_directory_is_read(tmp_path):
    """A followed directory goes to a new file when there is one, after all of the one before."""
    parts = readers([str(tmp_path)], Reading(follow=True))
    found = [joined(polled(parts))]

    (tmp_path / "a.jsonl").write_bytes(b"1\nunfinished")
    found.append(joined(polled(parts)))
    (tmp_path / "b.jsonl").write_bytes(b"2\n")
    found += [joined(polled(parts)) for _ in range(2)]
    (tmp_path / "c.jsonl").write_bytes(b"3\n")
    found += [joined(polled(parts)) for _ in range(2)]

    assert found == [b"", b"1\n", b"unfinished\n", b"2\n", b"", b"3\n"]
    closed(parts)


_READ_STDIN = """
import sys
from astray.flow.sources import Reading, Sources, reader_key
sources = Sources(["-"], Reading())
parts = [sources.build_part("read", key, None) for key in sources.list_parts()]
while parts:
    for part in tuple(parts):
        try:
            for chunk in part.next_batch():
                print(chunk.offset, chunk.data, chunk.silent, flush=True)
        except StopIteration:
            parts.remove(part)
"""


def test_standard_input_is_read_as_it_comes():
    """Lines come through a pipe as soon as they are whole; the last needs no break."""
    command = [sys.executable, "-c", _READ_STDIN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"1\n2\nthe thi")
        process.stdin.flush()
        first = process.stdout.readline()
        process.stdin.write(b"rd\nlast")
        process.stdin.flush()
        second = process.stdout.readline()
        process.stdin.close()
        rest = process.stdout.read()

    assert first == b"0 b'1\\n2\\n' False\n"
    assert second == b"4 b'the third\\n' False\n"
    assert rest == b"14 b'last\\n' False\n0 b'' True\n"
    assert process.returncode == 0


_READ_DIRECTORY = """
import os
from astray.flow.sources import Reading, Stdin
os.dup2(os.open(".", os.O_RDONLY), 0)
Stdin("-", Reading()).poll()
"""


def test_standard_input_that_cannot_be_read_is_an_error_of_ours():
    """What the system says of standard input comes as a sentence with its name."""
    command = [sys.executable, "-c", _READ_DIRECTORY]

    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)

    assert result.stderr.endswith(b"SourceError: -: cannot be read: Is a directory\n")


def _cut_short(packed: bytes) -> bytes:
    return packed[: len(packed) // 2]


def _scrambled(packed: bytes) -> bytes:
    middle = len(packed) // 2
    return (
        packed[:middle]
        + bytes(byte ^ 0x55 for byte in packed[middle : middle + 50])
        + packed[middle + 50 :]
    )


@pytest.mark.parametrize(
    "damage", [pytest.param(_cut_short, id="cut"), pytest.param(_scrambled, id="scrambled")]
)
def test_a_damaged_compressed_file_is_named_with_the_place(damage, tmp_path):
    """What can be unpacked is handed over; then all reading stops, with a sentence."""
    lines = b"".join(b"%x\n" % (number * number * 2654435761) for number in range(400_000))
    damaged, other = tmp_path / "damaged.jsonl.gz", tmp_path / "other.jsonl"
    damaged.write_bytes(damage(gzip.compress(lines)))
    other.write_bytes(b"1\n")
    reading = Reading(follow=False)
    parts = readers([str(damaged)], reading)

    before = drained(parts)

    at = len(joined(before))
    assert at >= len(lines) // 4
    assert joined(before)[: at // 2] == lines[: at // 2]  # a scrambled byte shows itself late
    with pytest.raises(
        SourceError, match=rf"damaged\.jsonl\.gz: cannot be read beyond byte {at}: "
    ):
        reading.raise_fault()
    assert drained(readers([str(other)], reading)) == []
    closed(parts)


def test_a_file_that_only_calls_itself_compressed_is_named(tmp_path):
    """A plain file named .gz is refused with a sentence when it is read."""
    path = tmp_path / "events.jsonl.gz"
    path.write_bytes(b'{"ts":1}\n')
    reading = Reading()

    assert read_all(path, reading) == []
    with pytest.raises(SourceError, match=r"events\.jsonl\.gz: cannot be read beyond byte 0"):
        reading.raise_fault()


def test_other_sources_and_back_on_one_state(tmp_path):
    """A run that reads other sources keeps the places of the ones before it."""
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one.write_bytes(b"x\n" * CHUNK_BYTES_MAX)
    two.write_bytes(b"y\n")
    first = readers([str(one)], Reading())
    begun = joined(polled(first))

    second = readers([str(two)], Reading(), closed(first))
    other = joined(drained(second))
    third = readers([str(one), str(two)], Reading(), closed(second))
    rest = joined(drained(third))

    assert len(begun) == CHUNK_BYTES_MAX
    assert other == b"y\n"
    assert rest == b"x\n" * (CHUNK_BYTES_MAX // 2)
    closed(third)


def test_the_wish_to_stop_ends_every_reader(tmp_path):
    """Readers end at the next poll after somebody asked to stop, and their places are right."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x\n" * CHUNK_BYTES_MAX)
    reading = Reading(follow=True)
    parts = readers([str(path)], reading)
    polled(parts)

    reading.stop.set()

    assert drained(parts) == []
    places = {name: place for state in closed(parts) for name, place in state.items()}
    assert places == {str(path): ("", CHUNK_BYTES_MAX, mark(b"x\n" * 32, TAIL_BYTES))}


def test_readers_are_asked_at_once_while_there_is_data_and_later_when_not(tmp_path):
    """A reader with data is asked again at once; one that waits is not asked in a busy loop."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"1\n")
    parts = readers([str(path)], Reading(follow=True))
    polled(parts)
    (reading_one,) = (part for part in parts if part.snapshot())

    at_once = reading_one.next_awake()
    reading_one._last_data -= timedelta(seconds=1)
    later = reading_one.next_awake()

    assert at_once is None
    assert timedelta(0) < later - datetime.now(UTC) <= timedelta(milliseconds=20)
    closed(parts)


def test_progress_is_counted_in_bytes_on_disk(tmp_path):
    """Progress ends at the size of all files of a directory, compressed as they are."""
    (tmp_path / "a.jsonl").write_bytes(b"1\n" * 100)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"2\n" * 100))
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    reading = Reading()

    read_all(tmp_path, reading)

    progress = reading.progress[str(tmp_path)]
    assert (progress.done, progress.total) == (sum(sizes), sum(sizes))


def test_all_that_is_wrong_with_sources_is_said_at_once(tmp_path):
    """Every source that cannot be read has its sentence, and the good one none."""
    good, empty, fifo = tmp_path / "good.jsonl", tmp_path / "empty.jsonl", tmp_path / "fifo"
    good.write_bytes(b"1\n")
    empty.touch()
    os.mkfifo(fifo)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_bytes(b"1\n")
    too_long, inside_file = tmp_path / ("x" * 300), good / "inner.jsonl"
    empty_packed = tmp_path / "empty.jsonl.gz"
    empty_packed.write_bytes(gzip.compress(b""))
    names = [
        good,
        empty,
        tmp_path / "missing.jsonl",
        tmp_path / "folder",
        fifo,
        too_long,
        inside_file,
        empty_packed,
    ]

    with pytest.raises(ConfigError) as caught:
        check_sources([*map(str, names), str(good), "nul\0"], follow=False)

    assert caught.value.problems == (
        f"source {good} is given twice",
        f"{empty}: the file is empty",
        f"{tmp_path}/missing.jsonl: No such file or directory",
        f"{tmp_path}/folder: no .jsonl or .jsonl.gz file in it",
        f"{fifo}: neither a file nor a directory; redirect it and read -",
        f"{too_long}: File name too long",
        f"{inside_file}: Not a directory",
        f"{empty_packed}: the file is empty",
        "nul\0: embedded null byte",
    )


NOT_READ = "are not read: convert it to JSON lines, an event a line"


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.csv", b"ts,agent,action\n", f"events of a CSV file {NOT_READ}"),
        ("a.CSV.gz", gzip.compress(b"ts,agent\n"), f"events of a CSV file {NOT_READ}"),
        ("a.parquet", b"PAR1", f"events of a Parquet file {NOT_READ}"),
        ("a.xlsx", b"PK", f"events of an Excel file {NOT_READ}"),
        ("a.avro", b"Obj", f"events of an Avro file {NOT_READ}"),
        ("a.json", b'[\n  {"ts": 1},\n', f"events of one array of JSON {NOT_READ}"),
        ("a.jsonl", b' [{"ts": 1}]', f"events of one array of JSON {NOT_READ}"),
        ("a.gz", gzip.compress(b"[]"), f"events of one array of JSON {NOT_READ}"),
        ("a.jsonl.zst", b"x", "a file in .zst is not read: unpack it, or pack it with gzip"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 12 else "",
)
@pytest.mark.parametrize("follow", [False, True])
def test_a_file_of_another_form_is_not_taken_for_json_lines(follow, name, data, sentence, tmp_path):
    """All of it would be rejected, a line at a time; the sentence says what it should be."""
    path = tmp_path / name
    path.write_bytes(data)
    if follow and name.endswith(".gz"):
        sentence = "a compressed file cannot be followed"

    with pytest.raises(ConfigError) as caught:
        check_sources([str(path)], follow=follow)

    assert caught.value.problems == (f"{path}: {sentence}",)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.log", b'{"ts": 1}\n'),
        ("a.json", b'{"ts": 1}\n'),
        ("csv", b"[INFO] begun\n"),
        ("a.jsonl", b"\xff\xfe["),
        ("a.jsonl.gz", b"[not packed"),
        ("a.jsonl.gz", gzip.compress(b'{"ts": 1}\n')[:-9]),
    ],
    ids=["log", "json", "bracket", "bytes", "not packed", "cut"],
)
def test_any_other_file_may_be_json_lines(name, data, tmp_path):
    """What is unknown, or damaged, is read, and rejected where it is none."""
    path = tmp_path / name
    path.write_bytes(data)

    check_sources([str(path), "-"], follow=False)


def test_what_following_allows_and_what_not(tmp_path):
    """Followed files may be empty, and directories too; compressed ones cannot grow."""
    empty, packed = tmp_path / "empty.jsonl", tmp_path / "packed.jsonl.gz"
    empty.touch()
    packed.write_bytes(gzip.compress(b"1\n"))
    (tmp_path / "folder").mkdir()

    check_sources([str(empty), str(tmp_path / "folder")], follow=True)
    with pytest.raises(ConfigError) as caught:
        check_sources([str(packed)], follow=True)

    assert caught.value.problems == (f"{packed}: a compressed file cannot be followed",)


def test_a_source_given_under_two_names_is_given_twice(tmp_path):
    """Links, dots and a file together with its directory would be read twice, and are named."""
    path, link = tmp_path / "a.jsonl", tmp_path / "link.jsonl"
    path.write_bytes(b"1\n")
    link.symlink_to(path)

    with pytest.raises(ConfigError) as caught:
        check_sources([str(path), str(link), f"{tmp_path}/./", "-", "-"], follow=False)

    assert caught.value.problems == (
        f"source {link} is given twice",
        "source - is given twice",
        f"source {link} lies in {tmp_path}/./, which is given too",
    )
