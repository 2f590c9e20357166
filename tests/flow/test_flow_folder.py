"""Listing a directory of files of events, and how seldom that is done."""

import os
import sys
import time
from pathlib import Path

from astray.flow.folder import Folder
from astray.flow.openfile import Place
from astray.flow.reading import Reading
from astray.flow.sources import FileSource

LONG_AGO = (1_700_000_000, 1_700_000_000)
_listed: list[str] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "os.scandir":
        _listed.append(str(arguments[0]))


sys.addaudithook(_note)


def filled(folder: Path, count: int) -> None:
    """Write so many files into a directory that has not changed for long."""
    for number in range(count):
        (folder / f"{number:04d}.jsonl").write_bytes(b"%d\n" % number)
    os.utime(folder, LONG_AGO)


def test_a_directory_of_many_files_is_not_listed_at_the_end_of_each(tmp_path):
    """Listings take time as files do: as many of one as of the other would be quadratic."""
    filled(tmp_path, 300)
    source = FileSource(str(tmp_path), Reading(), Place())
    read = b""
    while (chunks := source.poll()) is not None:
        read += b"".join(chunk.data for chunk in chunks)
    source.close()
    assert read == b"".join(b"%d\n" % number for number in range(300))
    assert _listed.count(str(tmp_path)) < 30


def test_a_file_that_is_new_is_seen_at_once(tmp_path):
    """A change of the directory is noticed by its time, and just after another one without it."""
    filled(tmp_path, 2)
    folder = Folder(tmp_path)
    assert folder.after("0001.jsonl") is None
    for name in ("0002.jsonl", "0003.jsonl", "0004.jsonl"):  # the clock of files is coarse
        (tmp_path / name).touch()
        assert folder.names()[-1] == name
    (tmp_path / "0004.jsonl").unlink()
    assert folder.first("0004.jsonl") is None
    assert folder.first("0002.jsonl") == "0002.jsonl"
    assert folder.first("0002.json") == "0002.jsonl"


def test_a_file_is_seen_where_a_directory_has_no_time_of_its_changes(tmp_path):
    """Some file systems do not tell that a directory has changed: it is listed now and then."""
    filled(tmp_path, 2)
    folder = Folder(tmp_path)
    folder.names()
    (tmp_path / "0002.jsonl").touch()
    os.utime(tmp_path, LONG_AGO)
    until_s = time.monotonic() + 10.0
    while folder.after("0001.jsonl") is None and time.monotonic() < until_s:
        time.sleep(0.05)
    assert folder.after("0001.jsonl") == "0002.jsonl"
