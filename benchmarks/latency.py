"""From a line in a followed file to a verified webhook at the receiver, through a live run.

    python benchmarks/latency.py [--save]

The yardstick, in the same run: the same signed request posted to the same receiver by httpx,
one after the other, with nothing before it.
"""

import base64
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import orjson

from astray.events import Event, encode_event
from astray.respond import Receiver, secret_from
from astray.respond.webhook import sign
from harness import report

_SUSPENSIONS = 200
_BENIGN_BETWEEN = 20
_EVERY_S = 0.05
_SECRET = "ASTRAY_WEBHOOK_SECRET"  # noqa: S105 - a variable's name
_GOAL = "from event to acknowledged suspension in under a second"
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
    with events.open("ab", buffering=0) as file:
        for number in range(_SUSPENSIONS):
            benign = b"".join(_event(number, f"read-{n}") for n in range(_BENIGN_BETWEEN))
            file.write(benign)
            time.sleep(_EVERY_S)
            written_s[f"s{number}"] = time.perf_counter()
            file.write(_event(number, "vault.dump"))
        _wait(lambda: len(arrivals.at_s) >= _SUSPENSIONS)
    return [arrivals.at_s[session] - at_s for session, at_s in written_s.items()]


def _wait(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 120
    while not condition() and time.monotonic() < until_s:
        time.sleep(0.01)


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


def main() -> None:
    """Run astray over a file that grows, and time what arrives."""
    key = "whsec_" + base64.b64encode(os.urandom(32)).decode()
    environment = {**os.environ, _SECRET: key}
    arrivals = _Arrivals()
    with (
        tempfile.TemporaryDirectory() as scratch,
        Receiver([secret_from(f"env:{_SECRET}", environment)], arrivals) as receiver,
    ):
        folder = Path(scratch)
        (folder / "astray.toml").write_text(_POLICY)
        events = folder / "events.jsonl"
        events.write_bytes(_event(10_000, "vault.dump"))
        command = [sys.executable, "-c", "from astray.cli.main import app; app()", "run"]
        options = ["--source", "events.jsonl", "--follow", "--config", "astray.toml"]
        options += ["--webhook", receiver.url, "--recovery", "state"]
        process = subprocess.Popen(
            command + options, cwd=folder, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait(lambda: bool(arrivals.at_s))  # it has started
            arrivals.at_s.clear()
            through = _fed(events, arrivals)
        finally:
            process.terminate()
            process.wait()
        direct = _direct(receiver.url, arrivals.bodies[:_SUSPENSIONS], environment)
    results = {"suspensions": _SUSPENSIONS, "event_to_receiver": _percentiles_ms(through)}
    ratio = float(np.median(through) / np.median(direct))
    results |= {"post_alone": _percentiles_ms(direct), "ratio_of_medians": round(ratio, 1)}
    report("latency", _GOAL, results)


if __name__ == "__main__":
    main()
