"""From a line in a followed file to the verified webhook, and what a dead receiver costs.

    python benchmarks/latency.py [--save]

The store is on disk. The yardsticks, in the same run: the same requests posted alone; and, for
the rate at which a backlog is scored, the run whose receiver answers. A backlog is a source that
gives more than can be taken: what is counted at its end says whether something was lost.
"""

import base64
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import orjson

from astray.events import Event, encode_event
from astray.flow.kernels import compile_kernels
from astray.respond import Receiver, secret_from
from astray.respond.webhook import sign
from harness import made_stream, report
from installation import Run, free_port

_SUSPENSIONS = 200
_BENIGN_BETWEEN = 20
_EVERY_S = 0.05
_AGENTS, _DAYS = 10_000, 0.25
_FORBIDDEN_EVERY = 5_000
_TURNS = 3
_SHARE_OF_MAXIMUM = 0.2
_LOAD = "--load"
_LOAD_AGENTS, _LOAD_EVERY_S = 2_000, 0.02
_SECRET = "ASTRAY_WEBHOOK_SECRET"  # noqa: S105 - a variable's name
_EVENTS = "astray_events_total"
_GOAL = (
    "event to acknowledged suspension at 20 % of the maximum rate: p99 under 500 ms; a dead "
    "receiver changes the rate of scoring by no more than noise; nothing lost of a backlog"
)
_POLICY = """
[default_policy.limits]
forbidden_actions = ["vault.dump"]
"""


class _Arrivals:
    """When the receiver got what, by session."""

    def __init__(self) -> None:
        self.at_s: dict[str, float] = {}
        self.bodies: list[bytes] = []

    def __call__(self, _: str, body: bytes) -> int:
        self.at_s.setdefault(orjson.loads(body)["data"]["session"]["id"], time.perf_counter())
        self.bodies.append(body)
        return 204


def _event(number: int, action: str) -> bytes:
    event = Event(
        ts_us=int(time.time() * 1e6),
        agent=f"agent-{number % 50}",
        action=action,
        session=f"s{number}",
        event_id=f"e{number}-{action}",
    )
    return encode_event(event) + b"\n"


def _fed(events: Path, arrivals: _Arrivals) -> list[float]:
    """Append events, a forbidden one among benign ones at a time; return seconds to arrival."""
    written_s: dict[str, float] = {}
    first = len(arrivals.bodies)
    with events.open("ab", buffering=0) as file:
        for session in range(first, first + _SUSPENSIONS):
            file.write(b"".join(_event(session, f"read-{n}") for n in range(_BENIGN_BETWEEN)))
            time.sleep(_EVERY_S)
            written_s[f"s{session}"] = time.perf_counter()
            file.write(_event(session, "vault.dump"))
    _wait(lambda: all(session in arrivals.at_s for session in written_s))
    return [arrivals.at_s[session] - at_s for session, at_s in written_s.items()]


def _with_forbidden(stream: Path) -> Path:
    """Return a recording's copy in which somebody does what is forbidden now and then."""
    lines = stream.read_bytes().splitlines(keepends=True)
    for place in range(len(lines) - 1, 0, -_FORBIDDEN_EVERY):
        ts = orjson.loads(lines[place])["ts"]
        lines[place] += b'{"ts":%.3f,"agent":"thief-%d","action":"vault.dump"}\n' % (ts, place)
    copy = stream.with_name("backlog.jsonl")
    copy.write_bytes(b"".join(lines))
    return copy


def _wait(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 120
    while not condition() and time.monotonic() < until_s:
        time.sleep(0.01)


def _load(events: Path, per_second: float) -> None:
    """Append everyday events at a rate, until somebody ends this process."""
    started, written = time.monotonic(), 0
    with events.open("ab", buffering=0) as file:
        for turn in itertools.count(1):
            due = int((time.monotonic() - started) * per_second)
            now_s = time.time()
            file.write(b"".join(_everyday(number, now_s) for number in range(written, due)))
            written = due
            time.sleep(max(started + turn * _LOAD_EVERY_S - time.monotonic(), 0.0))


def _everyday(number: int, now_s: float) -> bytes:
    agent, turn = number % _LOAD_AGENTS, number // _LOAD_AGENTS
    return (
        b'{"ts":%.6f,"agent":"load-%d","group":"load-%d","action":"a%d","session":"l%d-%d",'
        b'"resource":"/data/%d/r%d"}\n'
        % (now_s, agent, agent // 50, turn % 7, agent, turn // 40, agent // 50, turn % 11)
    )


@contextmanager
def _loaded(events: Path, per_second: float) -> Iterator[None]:
    """Have a process of its own give a file events at a rate."""
    command = [sys.executable, __file__, _LOAD, str(events), str(per_second)]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _direct(url: str, bodies: list[bytes], environment: dict[str, str]) -> list[float]:
    """Post the same bodies, signed; return the seconds of each request."""
    secret, seconds = secret_from(f"env:{_SECRET}", environment), []
    with httpx.Client() as client:
        for number, body in enumerate(bodies):
            started = time.perf_counter()
            headers = sign([secret], f"msg_{number}", time.time(), body)
            client.post(url, content=body, headers=headers).raise_for_status()
            seconds.append(time.perf_counter() - started)
    return seconds


def _percentiles_ms(seconds: list[float]) -> dict[str, float]:
    at = np.percentile(np.array(seconds) * 1000, [50, 95, 99, 100]).round(1).tolist()
    return dict(zip(("p50_ms", "p95_ms", "p99_ms", "max_ms"), at, strict=True))


@contextmanager
def _running(folder: Path, events: Path, url: str, environment: dict[str, str]) -> Iterator[Run]:
    folder.mkdir()
    (folder / "astray.toml").write_text(_POLICY)
    options = ["--source", events, "--follow", "--config", "astray.toml", "--recovery", "state"]
    run = Run(folder, [*options, "--webhook", url], 1, **environment)
    try:
        yield run
    finally:
        run.stop()


def _backlog(folder: Path, events: Path, url: str, environment: dict[str, str]) -> dict[str, float]:
    """Have a backlog scored; return its rate after the first events, and what was not counted."""
    count = events.read_bytes().count(b"\n")
    with _running(folder, events, url, environment) as run:
        run.until(lambda: run.metric(_EVENTS) > 0, 120)
        began_s, begun = time.monotonic(), run.metric(_EVENTS)
        run.until(lambda: run.metric(_EVENTS) >= count, 300)
        seconds = time.monotonic() - began_s
        counted = run.metric(_EVENTS)
        waiting = run.metric("astray_outbox_deliveries")
    rate = (counted - begun) / seconds
    return {"per_second": round(rate), "lost": int(count - counted), "waiting": int(waiting)}


def _middle(found: list[dict[str, float]]) -> dict[str, float]:
    """Return the turn of the middle rate."""
    return sorted(found, key=lambda one: one["per_second"])[len(found) // 2]


def main() -> None:
    """Run astray over a backlog with a receiver and without, and over a file that grows."""
    if sys.argv[1:2] == [_LOAD]:
        _load(Path(sys.argv[2]), float(sys.argv[3]))
        return
    compile_kernels()
    key = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    environment = {_SECRET: key}
    arrivals = _Arrivals()
    with (
        tempfile.TemporaryDirectory() as scratch,
        Receiver([secret_from(f"env:{_SECRET}", environment)], arrivals) as receiver,
    ):
        folder = Path(scratch)
        stream = _with_forbidden(made_stream(folder, agents=_AGENTS, days=_DAYS))
        nobody = f"http://127.0.0.1:{free_port()}/"
        urls = {"alive": receiver.url, "dead": nobody}
        backlogs: dict[str, list[dict[str, float]]] = {name: [] for name in urls}
        for turn, (name, url) in itertools.product(range(_TURNS), urls.items()):
            place = folder / f"{name}-{turn}"
            backlogs[name].append(_backlog(place, stream, url, environment))
        alive, dead = (_middle(found) for found in backlogs.values())
        events = folder / "events.jsonl"
        events.write_bytes(_event(10_000, "vault.dump"))
        with _running(folder / "live", events, receiver.url, environment):
            _wait(lambda: "s10000" in arrivals.at_s)  # it has started
            quiet = _fed(events, arrivals)
            with _loaded(events, _SHARE_OF_MAXIMUM * alive["per_second"]):
                loaded = _fed(events, arrivals)
        direct = _direct(receiver.url, arrivals.bodies[-_SUSPENSIONS:], environment)
    results = {
        "suspensions": _SUSPENSIONS,
        "event_to_receiver": _percentiles_ms(quiet),
        "event_to_receiver_at_20_percent": _percentiles_ms(loaded),
        "post_alone": _percentiles_ms(direct),
        "ratio_of_medians": round(float(np.median(quiet) / np.median(direct)), 1),
        "backlog": alive,
        "backlog_with_a_dead_receiver": dead,
        "rate_kept_with_a_dead_receiver": round(dead["per_second"] / alive["per_second"], 3),
    }
    report("latency", _GOAL, results)


if __name__ == "__main__":
    main()
