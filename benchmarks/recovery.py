"""Twenty SIGKILLs and five broker stops during one run from Kafka: what becomes of decisions.

    python benchmarks/recovery.py [--save] [--kills N] [--stops N] [--days N] [--processes N ...]

The yardstick is an undisturbed run over the same topic, in the same run of this program: with
one process on SQLite, and with two on PostgreSQL. Nothing may be lost, decided twice or sent
under two ids; shards must have counted every event once. Two processes have a supervisor,
which brings the other back; when it gives up, it is started again, as a service manager would.
"""

import argparse
import itertools
import os
import random
import signal
import sqlite3
import tempfile
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import orjson

from astray.baseline.settings import shard_settings
from astray.baseline.shard import Shard
from astray.config import load_config
from astray.decide.limits import lowest_limits
from astray.flow.snapshots import read_kept
from astray.testing import Receiver, make_secret
from harness import made_stream, report
from installation import Run, broker, fill, fresh_postgres, of_tests, topic_of

_AGENTS, _ATTACKS = 2000, "all=40"
_PARTITIONS = 4
_STARTS_MAX = 100
_STOPPED_S = 3.0
_LATE_S = 1.0
_PATIENCE_S = 300.0
_GOAL = "20 kills and 5 broker stops over 2 million events: as undisturbed, one id a suspension"
_SECRET = make_secret("benchmark")
_WHSEC = f"whsec_{b64encode(_SECRET.key).decode()}"
_CONFIG = """
[default_policy]
mode = "enforce"
alert = {{ score = 25.0 }}
suspend = {{ score = 30.0 }}

[recovery]
interval_s = 0.3

[delivery]
delays_s = [0.2]

[[webhook]]
url = "{url}"
secret = "env:SECRET"
"""


class Site:
    """A folder with a configuration, a case store and a state of its own."""

    def __init__(self, folder: Path, source: str, receiver: Receiver, processes: int) -> None:
        folder.mkdir()
        self._folder, self._processes = folder, processes
        self._receiver = receiver
        receiver.deliveries.clear()
        self._store = fresh_postgres() if processes > 1 else "sqlite:///cases.db"
        (folder / "astray.toml").write_text(_CONFIG.format(url=receiver.url))
        self._options = ["--source", source, "--config", "astray.toml"]
        self._options += ["--store", "env:STORE", "--recovery", "state"]
        self._runs: list[Run] = []

    @property
    def starts(self) -> int:
        """Return how often a run has been started."""
        return len(self._runs)

    def start(self) -> Run:
        """Start a run, or start it again."""
        given = {"SECRET": _WHSEC, "STORE": self._store}
        run = Run(self._folder, self._options, self._processes, **given)
        self._runs.append(run)
        return run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs:
            run.end()

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        if self._processes > 1:
            found: list[tuple[Any, ...]] = of_tests("store", "databases").asked(self._store, query)
            return found
        path = f"file:{self._folder / 'cases.db'}?mode=ro"
        connection = sqlite3.connect(path, uri=True, timeout=60)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def decided(self) -> int:
        """Return the number of decisions; 0 while there is no store."""
        try:
            return int(self._rows("SELECT COUNT(*) FROM decisions")[0][0])
        except Exception as error:
            if "decisions" in str(error) or "unable to open" in str(error):
                return 0
            raise

    def results(self) -> dict[str, Any]:
        """Return what a run has come to."""
        bodies = dict(self._rows("SELECT decision_id, body FROM decisions"))
        sent = [
            orjson.loads(d.body)["data"]["alert_id"] for d in self._receiver.deliveries.values()
        ]
        suspended = {case for (case,) in self._rows("SELECT case_id FROM suspensions")}
        return {
            "decisions": {key: orjson.loads(body) for key, body in bodies.items()},
            "counted": self._counted(),
            "suspended": suspended,
            "sent": Counter(sent),
        }

    def _counted(self) -> int:
        """Return how many events the shards have learnt from."""
        config = load_config(self._folder / "astray.toml")
        settings = shard_settings(config, lowest_limits(config))
        kept = read_kept(self._folder / "state")
        shards = [one.value() for one in kept.snapshots(kept.epoch) if one.key.startswith("shard")]
        return sum(int(Shard.load(state, settings, []).memory.counters[0]) for state in shards)


def _undisturbed(site: Site, events: int) -> dict[str, Any]:
    run = site.start()
    if not run.until(lambda: run.metric("astray_events_total") >= events, _PATIENCE_S):
        raise SystemExit("the undisturbed run has not come to the end")
    _settle(site, 0)
    run.stop()
    return site.results()


def _settle(site: Site, least: int) -> None:
    """Wait until there are so many decisions, and no more come for a while."""
    end_s, seen, since_s = time.monotonic() + _PATIENCE_S, -1, time.monotonic()
    while time.monotonic() < end_s:
        now = site.decided()
        if now != seen:
            seen, since_s = now, time.monotonic()
        if seen >= least and time.monotonic() - since_s > 5.0:
            return
        time.sleep(0.2)
    raise SystemExit(f"{seen} of {least} decisions")


def _disturbed(
    site: Site, node: Any, expected: int, events: Sequence[str], generator: random.Random
) -> dict[str, Any]:
    """Disturb a run each time it has decided a bit more."""
    came: Counter[str] = Counter()
    run = site.start()
    for number, event in enumerate(events):
        least = expected * (number + 1) // (len(events) + 2)
        run = _alive(site, run, least)
        time.sleep(generator.uniform(0.0, 0.3))
        if event == "kill":
            victims = run.workers
            if victims:
                os.kill(generator.choice(victims), signal.SIGKILL)
                came["kills"] += 1
        else:
            node.kill()
            time.sleep(_STOPPED_S)
            node.start()
            came["broker_stops"] += 1
        came["before_the_end"] += site.decided() < expected
    _alive(site, run, expected)
    _settle(site, expected)
    run = _alive(site, run, expected)
    came["exit_code"] = run.stop()
    return {**site.results(), "came": dict(came)}


def _alive(site: Site, run: Run, least: int) -> Run:
    """Wait until so much is decided; start again what has ended."""
    for _ in itertools.repeat(None, _STARTS_MAX):
        if run.until(lambda: site.decided() >= least, _PATIENCE_S):
            break
        run = site.start()
    return run if run.process.poll() is None else site.start()


def _compared(found: dict[str, Any], wanted: dict[str, Any], starts: int) -> dict[str, Any]:
    return {
        **found["came"],
        "starts": starts,
        "decisions": len(found["decisions"]),
        "decisions_undisturbed": len(wanted["decisions"]),
        "ids_missing": len(wanted["decisions"].keys() - found["decisions"].keys()),
        "ids_more": len(found["decisions"].keys() - wanted["decisions"].keys()),
        "bodies_differ": sum(
            found["decisions"][key] != body
            for key, body in wanted["decisions"].items()
            if key in found["decisions"]
        ),
        "events_counted": found["counted"],
        "events_counted_undisturbed": wanted["counted"],
        "suspensions": len(found["suspended"]),
        "suspensions_sent": len(found["sent"]),
        "sent_under_several_ids": sum(ids > 1 for ids in found["sent"].values()),
    }


def _of_processes(
    processes: int,
    events: Sequence[str],
    folder: Path,
    node: Any,
    lines: Sequence[bytes],
    receiver: Receiver,
) -> dict[str, Any]:
    generator = random.Random(processes)
    events = generator.sample(events, len(events))
    topic = topic_of(node.address, f"events-{processes}", _PARTITIONS)
    fill(node.address, topic, _PARTITIONS, lines)
    source = f"kafka://{node.address}/{topic}"
    with Site(folder / f"calm-{processes}", source, receiver, processes) as calm:
        wanted = _undisturbed(calm, len(lines))
    with Site(folder / f"wild-{processes}", source, receiver, processes) as wild:
        found = _disturbed(wild, node, len(wanted["decisions"]), events, generator)
        return _compared(found, wanted, wild.starts)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--stops", type=int, default=5)
    parser.add_argument("--days", type=float, default=6.0)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    return parser.parse_args()


def main() -> None:
    """Disturb one process, and then two."""
    asked, results = _asked(), dict[str, Any]()
    events = ["kill"] * asked.kills + ["stop"] * asked.stops
    with tempfile.TemporaryDirectory() as scratch, Receiver([_SECRET]) as receiver:
        folder = Path(scratch)
        lines = made_stream(folder, agents=_AGENTS, days=asked.days, attacks=_ATTACKS)
        values = lines.read_bytes().splitlines()
        results["events"] = len(values)
        with broker(folder) as node:
            for processes in asked.processes:
                found = _of_processes(processes, events, folder, node, values, receiver)
                results[f"processes_{processes}"] = found
    report("recovery", _GOAL, results)


if __name__ == "__main__":
    main()
