"""How a run ends: the exit code tells whether another start may end better, and a stop is heeded."""

import gzip
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from astray.cli.common import reporting
from astray.config import load_config
from astray.errors import AstrayError, ConfigError, Passing, SourceError, StoreError
from astray.flow.supervisor import Supervisor
from running import COMMAND, WAIT_S, astray, complaints, invoked, started, until

LINE = b'{"ts":1,"agent":"a","action":"b"}\n'
HEALTH = load_config().health


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(ConfigError(["a"]), 2, id="a configuration"),
        pytest.param(ConfigError([Passing("a"), Passing("b")]), 1, id="what may mend"),
        pytest.param(ConfigError([Passing("a"), "b"]), 2, id="what may mend, and what does not"),
        pytest.param(StoreError("a"), 1, id="what broke"),
        pytest.param(SourceError("a", lasting=True), 2, id="what breaks again"),
    ],
)
def test_the_exit_code_says_whether_trying_again_is_of_use(error: AstrayError, code, capsys):
    """2: somebody has to change something; 1: it broke, and may not the next time."""

    @reporting
    def command():
        raise error

    with pytest.raises(typer.Exit) as ended:
        command()

    assert ended.value.exit_code == code
    assert capsys.readouterr().err.splitlines()[0] == "astray: a"


def test_a_full_disk_under_standard_output_is_said_in_a_sentence():
    """What is printed and cannot be kept ends a command with 1, and without a trace."""
    with Path("/dev/full").open("wb") as full:
        command = [*COMMAND, "config", "show"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)

    told = b"astray: what there is to say cannot be written: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, told)


def test_a_source_that_breaks_off_ends_a_run_with_1(tmp_path):
    """What was read before is dealt with; the sentence names where it ended."""
    data = gzip.compress(LINE * 1000)
    (tmp_path / "events.jsonl.gz").write_bytes(data[:-12])

    result = astray("run", "--source", "events.jsonl.gz", cwd=tmp_path)

    (said,) = complaints(result, 1)
    assert said.startswith("astray: events.jsonl.gz: cannot be read beyond byte ")


def test_a_file_that_is_another_than_before_ends_a_run_with_2(tmp_path):
    """It will be another at the next start, too."""
    events = tmp_path / "events.jsonl"
    events.write_bytes(LINE)
    run = ("run", "--source", "events.jsonl", "--recovery", "state")
    assert invoked(*run, cwd=tmp_path).returncode == 0
    events.write_bytes(LINE.replace(b"a", b"x"))

    result = invoked(*run, cwd=tmp_path)

    (said,) = complaints(result)
    assert "not the file that was read under this name before" in said


@pytest.fixture
def nobody():
    """Return the address of a broker that never answers: it takes connections and is silent."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.slow
def test_brokers_that_do_not_answer_may_answer_the_next_time(nobody, tmp_path):
    """A machine that starts before its brokers is started again."""
    result = astray("run", "--source", f"kafka://{nobody}/t", cwd=tmp_path)

    (said,) = complaints(result, 1)
    assert said.startswith(f"astray: kafka {nobody}: no broker answers")


def takes_stops(process: subprocess.Popen) -> bool:
    """Return whether a process has a handler of its own for SIGTERM."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_stop_before_the_sources_are_open_is_heeded(number, nobody, tmp_path):
    """While it still looks for its brokers it is asked to stop, and does so: nothing went wrong."""
    process = started("run", "--source", f"kafka://{nobody}/t", "--recovery", "state", cwd=tmp_path)
    until(lambda: takes_stops(process), "a handler")
    begun_s = time.monotonic()

    process.send_signal(number)
    out, err = process.communicate(timeout=WAIT_S)

    assert (process.returncode, out) == (0, b"")
    assert err.decode().splitlines() == ["asked to stop before anything was begun"]
    assert time.monotonic() - begun_s < 8.0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "number", "code", "said"),
    [
        ("run", signal.SIGTERM, 0, "asked to stop before anything was begun\n"),
        ("run", signal.SIGINT, 0, "asked to stop before anything was begun\n"),
        ("replay", signal.SIGTERM, -signal.SIGTERM, ""),
    ],
)
def test_a_run_heeds_a_stop_while_it_is_still_being_loaded(command, number, code, said):
    """Its libraries take seconds; a command that is to come to an end has not come to it."""
    program = (
        "import sys, time, astray.cli\n"
        "assert not {'numpy', 'numba', 'bytewax', 'sqlalchemy'} & set(sys.modules)\n"
        "print('loading', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()

    process.send_signal(number)
    _, err = process.communicate(timeout=WAIT_S)

    assert (process.returncode, err.decode()) == (code, said)


_ALONE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def _may_be_first() -> bool:
    """Return whether a process may be made the first of a world of its own."""
    try:
        return not subprocess.run([*_ALONE, "true"], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not _may_be_first(), reason="unshare is not there, or not allowed")
def test_process_1_heeds_a_stop_while_it_is_still_being_loaded():
    """No signal ends process 1 that it does not take; it takes this one before anything else."""
    program = (
        "import os, signal, time, astray.cli\n"
        "assert os.getpid() == 1\n"
        "print('loaded', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([*_ALONE, sys.executable, "-c", program], stdout=subprocess.PIPE)
    process.stdout.readline()
    (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    os.kill(int(first), signal.SIGTERM)
    process.communicate(timeout=WAIT_S)

    assert process.returncode == 128 + signal.SIGTERM


def supervised(folder: Path, *codes: int) -> tuple[int, list[str], int]:
    """Run two processes of which the first ends with these codes, one after the other.

    Return the exit code of it all, what was said, and how often the first was started.
    """
    starts = folder / "starts"
    program = (
        "import pathlib, sys\n"
        "if sys.argv[sys.argv.index('--process') + 1] != '0':\n"
        "    sys.exit(0)\n"
        f"starts = pathlib.Path({str(starts)!r})\n"
        "with starts.open('a') as file:\n"
        "    file.write('.')\n"
        f"codes = {codes!r}\n"
        "sys.exit(codes[starts.stat().st_size - 1])\n"
    )
    said: list[str] = []
    code = Supervisor([sys.executable, "-c", program], 2, HEALTH, said.append).run()
    return code, said, starts.stat().st_size


def test_processes_that_broke_are_brought_back(tmp_path):
    """Exit code 1 may be 0 the next time."""
    code, said, starts = supervised(tmp_path, 1, 0)

    assert (code, starts) == (0, 2)
    assert len(said) == 1
    assert "exit code 1" in said[0]


def test_processes_that_were_refused_are_not_brought_back(tmp_path):
    """Exit code 2 would be 2 again."""
    assert supervised(tmp_path, 2, 0) == (2, [], 1)
