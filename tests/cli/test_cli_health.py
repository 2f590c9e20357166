"""Health and metrics of `astray run`, asked over HTTP while it runs, stops and is stuck."""

import contextlib
import re
import signal
import socket
import sqlite3
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

import orjson
import pytest
from prometheus_client import parser

from astray.events import Event
from astray.testing import Answer, Receiver
from running import SECRET, WAIT_S, WHSEC, complaints, decisions, invoked, lines, started, until
from strategies import NOW_US

_CONFIG = """
[default_policy]
mode = "enforce"
never_suspend = ["vip"]

[default_policy.limits]
events_per_session = 5

[recovery]
interval_s = 0.2

[delivery]
delays_s = [0.2]
flush_s = 10.0

[health]
listen = "127.0.0.1:0"
stuck_after_s = {stuck_after_s}

[[webhook]]
name = "idp"
url = "{url}"
secret = "env:ASTRAY_WEBHOOK_SECRET"
"""
_DAY_US = 86_400_000_000


def told(url: str, path: str) -> tuple[int, bytes]:
    """Return what a server answers."""
    try:
        with urllib.request.urlopen(f"{url}{path}", timeout=WAIT_S) as answer:  # noqa: S310 - ours
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def beyond_their_limit(first: int, sessions: int, agent: str = "") -> bytes:
    """Return sessions that each do six things where five are allowed."""
    return lines(
        Event(
            ts_us=NOW_US - _DAY_US + (first + number) * 1_000_000 + step * 1000,
            agent=agent or f"agent-{first + number}",
            action="read",
            session=f"s{first + number}",
            session_end=step == 5,
        )
        for number in range(sessions)
        for step in range(6)
    )


class Site:
    """A run that follows a file, and what it tells."""

    def __init__(self, folder: Path, receiver: Receiver, stuck_after_s: float = 60.0) -> None:
        self.folder, self.events = folder, folder / "events.jsonl"
        self.store = folder / "astray.db"
        config = _CONFIG.format(url=receiver.url, stuck_after_s=stuck_after_s)
        (folder / "astray.toml").write_text(config)
        self.events.touch()
        self.process = started(
            "run", "--source", "events.jsonl", "--follow", "--recovery", "state",
            "--config", "astray.toml", cwd=folder, ASTRAY_WEBHOOK_SECRET=WHSEC,
        )  # fmt: skip
        said = self.process.stderr.readline().decode()
        self.url = re.fullmatch(r"health and metrics are served at (http://[\d.:]+)/\n", said)[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=WAIT_S)

    def write(self, data: bytes) -> None:
        """Append to the events."""
        with self.events.open("ab") as file:
            file.write(data)

    def is_up(self, path: str) -> bool:
        """Return whether a probe says yes."""
        return told(self.url, path)[0] == 200

    def complaints(self, path: str) -> dict[str, str]:
        """Return what a probe complains of."""
        checks = orjson.loads(told(self.url, path)[1])["checks"]
        return {check: said for check, said in checks.items() if said != "ok"}

    def values(self) -> dict[tuple, float]:
        """Return every metric's value by its name and its labels' values."""
        status, page = told(self.url, "/metrics")
        assert status == 200
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in parser.text_string_to_metric_families(page.decode())
            for sample in family.samples
        }

    def shows(self, **expected: float) -> bool:
        """Return whether metrics without labels have these values."""
        values = self.values()
        return all(values[f"astray_{name}",] == value for name, value in expected.items())


@pytest.fixture
def receiver():
    """Make a receiver of suspensions."""
    with Receiver([SECRET]) as receiver:
        yield receiver


def test_metrics_are_those_of_what_the_run_has_done(receiver, tmp_path):
    """After a stream that is known, every number that follows from it is right."""
    data = beyond_their_limit(0, 1, "vip") + beyond_their_limit(1, 3)
    with Site(tmp_path, receiver) as site:
        until(lambda: site.is_up("/readyz"), "a run that is ready")
        site.write(data + b'junk\n{"ts": "never", "agent": "a", "action": "b"}\n{"half')
        until(lambda: site.shows(sessions_total=4), "four ended sessions")
        receiver.wait_for(3, WAIT_S)
        until(lambda: site.values()["astray_deliveries", "delivered"] == 3, "deliveries")
        values = site.values()

    expected = {
        ("astray_events_total",): 24,
        ("astray_rejects_total", "not_json"): 1,
        ("astray_rejects_total", "bad_time"): 1,
        ("astray_rejects_total", "oversized"): 0,
        ("astray_source_lag_bytes", "events.jsonl"): 0,
        ("astray_agents",): 4,
        ("astray_sessions_opened_total",): 4,
        ("astray_sessions_total",): 4,
        ("astray_session_score_count",): 4,
        ("astray_session_score_bucket", "20.0"): 4,
        ("astray_sessions_reaching_total", "60"): 0,
        ("astray_sessions_reaching_nominal_ratio", "80"): 1e-4,
        ("astray_decisions_total", "suspend"): 3,
        ("astray_decisions_total", "alert"): 0,
        ("astray_decisions_total", "withheld"): 1,
        ("astray_withheld_total", "never_suspend"): 1,
        ("astray_withheld_total", "breaker"): 0,
        ("astray_cases", "withheld"): 1,
        ("astray_cases", "suspend"): 3,
        ("astray_suspensions", "delivered"): 3,
        ("astray_deliveries", "delivered"): 3,
        ("astray_deliveries", "pending"): 0,
        ("astray_outbox_deliveries",): 0,
        ("astray_outbox_oldest_seconds",): 0,
        ("astray_webhook_breaker_open", "idp"): 0,
        ("astray_webhook_disabled", "idp"): 0,
        ("astray_ready",): 1,
        ("astray_store_up",): 1,
        ("astray_agents_evicted_total",): 0,
        ("astray_sessions_quarantined_total",): 0,
    }
    assert {key: values[key] for key in expected} == pytest.approx(expected)
    latest_s = values["astray_last_event_timestamp_seconds",]
    assert latest_s == pytest.approx((NOW_US - _DAY_US) / 1e6 + 3.005, rel=0, abs=0.001)
    assert values["astray_loop_idle_seconds",] < 10
    assert values["astray_snapshot_seconds_count",] > 0


def test_a_receiver_that_is_down_is_told_and_harms_nobody(receiver, tmp_path):
    """The breaker is open and webhooks wait, but the run is alive and ready: it does its part."""
    receiver.down()
    with Site(tmp_path, receiver) as site:
        site.write(beyond_their_limit(0, 2))
        key = ("astray_webhook_breaker_open", "idp")
        until(lambda: site.values().get(key) == 1, "an open breaker")
        time.sleep(1.1)  # what the store has said is kept for a second
        values = site.values()
        probes = [site.is_up(path) for path in ("/livez", "/readyz")]
        receiver.up()
        until(lambda: site.values()[key] == 0, "a closed breaker")

    assert probes == [True, True]
    assert values["astray_outbox_deliveries",] == values["astray_deliveries", "pending"] == 2
    assert values["astray_outbox_oldest_seconds",] > 1
    assert values["astray_suspensions", "requested"] == 2


def test_a_run_that_stops_is_no_longer_ready(tmp_path):
    """While it delivers what is due, it says so; then it is gone, and so is the port."""
    with (
        Receiver([SECRET], lambda *_: Answer(200, delay_s=2.0)) as slow,
        Site(tmp_path, slow) as site,
    ):
        site.write(beyond_their_limit(0, 1))
        until(lambda: len(decisions(site.store)) == 1, "a decision")

        site.process.send_signal(signal.SIGTERM)
        until(lambda: not site.is_up("/readyz"), "the end of being ready")
        said, alive = site.complaints("/readyz"), site.is_up("/livez")
        _, err = site.process.communicate(timeout=WAIT_S)

    assert (said["running"], alive) == ("stopping", True)
    assert (site.process.returncode, b"Traceback" in err) == (0, False)
    assert len(slow.deliveries) == 1
    with pytest.raises(urllib.error.URLError, match="refused"):
        told(site.url, "/livez")


def test_a_loop_that_is_stuck_is_seen_from_outside(receiver, tmp_path):
    """Somebody holds the case store's lock, so the run cannot go on: it says that it does not."""
    with Site(tmp_path, receiver, stuck_after_s=0.7) as site:
        until(lambda: site.is_up("/readyz"), "a run that is ready")
        assert site.is_up("/livez")
        with contextlib.closing(sqlite3.connect(site.store, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            site.write(beyond_their_limit(0, 1))
            until(lambda: not site.is_up("/livez"), "the stuck loop")
            said = site.complaints("/livez")
        until(lambda: site.is_up("/livez") and site.is_up("/readyz"), "the loop to turn again")

        assert receiver.wait_for(1, WAIT_S)
    assert re.fullmatch(r"has not turned for \d+ s", said["loop"])


@pytest.mark.slow
def test_a_restarted_run_knows_its_agents_at_once(receiver, tmp_path):
    """What was restored is there before the first event, and counters begin at zero."""
    with Site(tmp_path, receiver) as site:
        site.write(beyond_their_limit(0, 3))
        until(lambda: receiver.wait_for(3, 0), "suspensions")
        site.process.terminate()
        site.process.communicate(timeout=WAIT_S)

    with Site(tmp_path, receiver) as site:
        until(lambda: site.is_up("/readyz"), "a run that is ready")
        values = site.values()

    assert values["astray_agents",] == 3
    assert values["astray_events_total",] == values["astray_sessions_opened_total",] == 0
    assert values["astray_suspensions", "delivered"] == 3


def test_health_is_off_unless_it_is_asked_for(tmp_path):
    """Nothing listens, and nothing is said of it."""
    events = tmp_path / "events.jsonl"
    events.write_bytes(beyond_their_limit(0, 1))

    result = invoked("run", "--source", events, "--health", "", cwd=tmp_path)

    assert result.returncode == 0, result.stderr
    assert b"health" not in result.stderr


def test_an_address_that_cannot_be_had_is_said_with_all_else(tmp_path):
    """Before anything starts, in one go with the other problems."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = invoked("run", "--source", "missing.jsonl", "--health", address, cwd=tmp_path)

    assert complaints(result) == [
        "astray: missing.jsonl: No such file or directory",
        f"astray: health.listen: cannot listen on {address}: Address already in use",
    ]
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_none_is_a_sentence(tmp_path):
    """The option is checked as the key is."""
    result = invoked("run", "--source", "missing.jsonl", "--health", "9464", cwd=tmp_path)

    assert complaints(result) == [
        "astray: configuration: health.listen: should be HOST:PORT, such as 127.0.0.1:9464"
    ]
