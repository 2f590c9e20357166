"""astray as a process of its own, and what it leaves behind, for tests of the whole."""

import contextlib
import itertools
import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from typer.testing import CliRunner

from astray.cli.main import app
from astray.events import Event, encode_event
from astray.flow.statefiles import is_reference, read_state
from astray.lab.simulate import SimulationOptions, simulate, write
from astray.respond.secret import secret_of

COMMAND = (sys.executable, "-m", "astray")
WHSEC = "whsec_" + b64encode(b"a secret of the tests, long enough").decode()
SECRET = secret_of(WHSEC, "the tests")
WAIT_S = 60.0
"""How long a test waits for what should take a second; long, as machines may be busy."""

_CONFIG = """[default_policy]
alert = {{ score = 25.0 }}
suspend = {{ score = 30.0 }}

[recovery]
interval_s = 0.2

[delivery]
delays_s = [0.2]

[[webhook]]
url = "{url}"
secret = "env:ASTRAY_WEBHOOK_SECRET"
"""


def quick_config(url: str) -> str:
    """Return a configuration that decides much, keeps its state often, and sends to a webhook."""
    return _CONFIG.format(url=url)


def astray(
    *arguments: object, stdin: bytes = b"", cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess:
    """Run a command of astray to its end."""
    command = [*COMMAND, *map(str, arguments)]
    env = environment_with(**environment)
    return subprocess.run(
        command, input=stdin, capture_output=True, cwd=cwd, env=env, timeout=WAIT_S, check=False
    )


def invoked(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess:
    """Run a command of astray in this process, which is quicker; a fault of it is raised."""
    changes = {"ASTRAY_WEBHOOK_SECRET": None, **environment}
    with contextlib.chdir(cwd or Path.cwd()):
        result = CliRunner().invoke(app, list(map(str, arguments)), env=changes)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(
        arguments, result.exit_code, result.stdout_bytes, result.stderr_bytes
    )


def from_here(path: Path) -> str:
    """Return what is said of a relative path that leads nowhere: which one it is as a whole."""
    return f" (looked for at {path}: paths are relative to the working directory)"


class Started(subprocess.Popen):
    """A command that a test has started; a test that fails waits for nobody."""

    def __exit__(self, kind, *more) -> None:
        """Wait for its end, or make one."""
        if kind is not None:
            self.kill()
        super().__exit__(kind, *more)


def started(*arguments: object, cwd: Path | None = None, **environment: str) -> Started:
    """Start a command of astray, with pipes for all it says."""
    return Started(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment_with(**environment),
    )


def stopped(process: subprocess.Popen) -> bytes:
    """Ask a run to stop; return what it said."""
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, err.decode()
    assert b"Traceback" not in err
    return err


def environment_with(**changes: str) -> dict[str, str]:
    """Return this process's environment without a secret, with changes."""
    kept = {key: value for key, value in os.environ.items() if key != "ASTRAY_WEBHOOK_SECRET"}
    return {**kept, **changes}


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition, and fail with what was waited for."""
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, f"waited in vain for {what}"
        time.sleep(0.01)


def complaints(result: subprocess.CompletedProcess, code: int = 2) -> list[str]:
    """Return the sentences of a command that could not be carried out; code 1: it broke."""
    said = result.stderr.decode()
    assert result.returncode == code, said
    assert "Traceback" not in said
    assert result.stdout == b""
    return said.splitlines()


def attacked_fleet(folder: Path, days: float = 4.0) -> bytes:
    """Return the lines of a small fleet with attacks in it."""
    options = SimulationOptions(
        agents=20,
        days=days,
        seed=3,
        attacks={"enumeration": 8, "stolen_credential": 8, "exfiltration": 8},
    )
    events, labels = folder / "fleet.jsonl", folder / "fleet.labels.jsonl"
    write(simulate(options), events, labels)
    return events.read_bytes()


CHANGE_US = 1_767_571_200_000_000 + 55 * 3_600_000_000
"""2026-01-07T07:00:00Z, when an agent of `changing_fleet` begins to do other things."""


def changing_fleet() -> bytes:
    """Return the lines of three days of eight agents, of which bot-0 changes for good."""
    generator, hour_us = random.Random(1), 3_600_000_000
    events = []
    for hour, number, step in itertools.product(range(-55, 20), range(8), range(3)):
        what = generator.randrange(4)
        action = f"new-{what}-{hour}-{step}" if number == 0 and hour >= 0 else f"do-{what}"
        ts_us = CHANGE_US + hour * hour_us + number * 60_000_000 + step * 1_000_000
        session = f"s{hour}"
        events.append(Event(ts_us, f"bot-{number}", action, session, session_end=step == 2))
    return lines(events)


def flooding_fleet() -> bytes:
    """Return the lines of two days of 60 agents, all of which pay the same in the last hour."""
    hour_us, hours = 3_600_000_000, range(-47, 1)
    events = [
        Event(
            CHANGE_US + hour * hour_us + number * 1_000_000,
            f"bot-{number}",
            "pay" if hour == 0 else "read",
            f"s{hour}",
            resources=("IBAN-1",) if hour == 0 else (f"/{number}",),
        )
        for hour, number in itertools.product(hours, range(60))
        if hour == 0 or number < 5
    ]
    return lines(events)


def lines(events: Iterable[Event]) -> bytes:
    """Return events as lines."""
    return b"".join(encode_event(event) + b"\n" for event in events)


def rows(database: Path, query: str) -> list[tuple]:
    """Return what a query finds in a database that others may be writing."""
    if not database.exists():
        return []
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=WAIT_S)
    try:
        return connection.execute(query).fetchall()
    except sqlite3.OperationalError:  # its tables are still to be made
        return []
    finally:
        connection.close()


def decisions(store: Path) -> dict[str, str]:
    """Return the decisions of a case store by their ids."""
    return dict(rows(store, "SELECT decision_id, body FROM decisions"))


def alerts(store: Path) -> list[bytes]:
    """Return the alerts of a case store in their order."""
    return [body for (body,) in rows(store, "SELECT body FROM alerts ORDER BY sequence")]


def states(recovery: Path) -> dict[tuple[str, str], bytes]:
    """Return the last snapshot of every shard and decider in a recovery directory."""
    found = {}
    for part in recovery.glob("part-*.sqlite3"):
        query = "SELECT step_id, state_key, ser_change FROM snaps ORDER BY snap_epoch"
        for step, key, state in rows(part, query):
            if key.startswith(("shard-", "tenants-")):
                kept = pickle.loads(state)  # noqa: S301 - astray wrote it
                found[step, key] = read_state(recovery, kept) if is_reference(kept) else kept
    return found


class Writer:
    """Appends data to a file, piece by piece, cut anywhere, on a thread of its own."""

    def __init__(self, path: Path, data: bytes, pieces: int, every_s: float, seed: int = 0) -> None:
        generator = random.Random(seed)
        cuts = sorted(generator.randrange(len(data)) for _ in range(pieces - 1))
        edges = [0, *cuts, len(data)]
        self._pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
        self._path, self._every_s = path, every_s
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        for piece in self._pieces:
            with self._path.open("ab") as file:
                file.write(piece)
            time.sleep(self._every_s)

    def __enter__(self) -> Self:
        self._path.touch()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Wait until all is written."""
        self._thread.join()
