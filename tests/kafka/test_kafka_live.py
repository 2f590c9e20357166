"""`astray run` over Kafka as people run it: asked to stop, killed, and without its broker."""

import itertools
import random
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from kafka_broker import nodes
from kafka_topics import Site

from astray.testing import Receiver
from running import (
    SECRET,
    WAIT_S,
    WHSEC,
    alerts,
    astray,
    attacked_fleet,
    decisions,
    quick_config,
    rows,
    started,
    stopped,
    until,
)

_SINK = """
[sink.kafka]
brokers = {brokers}
alerts = "{alerts}"
decisions = "{decisions}"
rejects = "{rejects}"
"""
_BAD_EVERY = 400


@dataclass
class Scene:
    """A recording, a receiver, and what a run over a file decides."""

    values: list[bytes]
    receiver: Receiver
    expected: dict[str, dict]

    @property
    def bad(self) -> list[bytes]:
        """Return the messages that are no events."""
        return [value for value in self.values if not value.startswith(b"{")]


@dataclass
class Place:
    """A folder with a configuration, and topics of its own."""

    folder: Path
    site: Site
    url: str
    copies: int = 1
    topics: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        names = ("alerts", "decisions", "rejects")
        self.source = self.site.topic(copies=self.copies)
        self.topics = {name: self.site.topic(copies=self.copies) for name in names}
        sink = _SINK.format(brokers=self.site.address.split(","), **self.topics)
        (self.folder / "astray.toml").write_text(quick_config(self.url) + sink)

    @property
    def store(self) -> Path:
        """Where the cases are."""
        return self.folder / "cases.db"

    def run(self) -> subprocess.Popen:
        """Start a run over the topic."""
        return started(
            "run", "--source", self.site.url(self.source), "--config", "astray.toml",
            "--store", "sqlite:///cases.db", "--recovery", "recovery",
            cwd=self.folder, ASTRAY_WEBHOOK_SECRET=WHSEC,
        )  # fmt: skip

    def bodies(self, topic: str, count: int) -> list[bytes]:
        """Return the values in one of its topics, of which so many are expected."""
        return [message.value() for message in self.site.all_of(self.topics[topic], count)]


def told(store: Path) -> dict[str, dict]:
    """Return decisions without the hash of the configuration, which names topics."""
    found = {key: orjson.loads(body) for key, body in decisions(store).items()}
    return {key: {**body, "config": ""} for key, body in found.items()}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Run over a file, once; the receiver then forgets what has arrived."""
    folder = tmp_path_factory.mktemp("scene")
    data = attacked_fleet(folder)
    with Receiver([SECRET]) as receiver:
        (folder / "astray.toml").write_text(quick_config(receiver.url))
        done = astray(
            "run", "--source", "fleet.jsonl", "--config", "astray.toml",
            "--store", "sqlite:///cases.db", cwd=folder, ASTRAY_WEBHOOK_SECRET=WHSEC,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        values = data.splitlines()
        for at in range(len(values) - _BAD_EVERY, 0, -_BAD_EVERY):
            values.insert(at, b"no event %d" % at)
        yield Scene(values, receiver, told(folder / "cases.db"))


@pytest.fixture
def place(scene, broker, tmp_path):
    """Return a place of the shared broker, with a receiver that nothing has arrived at."""
    scene.receiver.deliveries.clear()
    return Place(tmp_path, broker, scene.receiver.url)


def check_all(place: Place, scene: Scene) -> None:
    """Check that everything is where it belongs, each once but for dead letters."""
    assert told(place.store) == scene.expected
    suspended = {case for (case,) in rows(place.store, "SELECT case_id FROM suspensions")}
    arrived = [orjson.loads(d.body)["data"]["alert_id"] for d in scene.receiver.deliveries.values()]
    assert sorted(arrived) == sorted(suspended)
    assert len(suspended) > 8
    recorded = alerts(place.store)
    assert place.bodies("alerts", len(recorded)) == recorded
    published = [
        orjson.loads(body)["id"] for body in place.bodies("decisions", len(scene.expected))
    ]
    assert sorted(published) == sorted(scene.expected)
    assert set(place.bodies("rejects", len(scene.bad))) == set(scene.bad)


def until_all(place: Place, scene: Scene) -> None:
    """Wait until a run has decided all there is to decide, and has seen the last dead letter."""
    until(lambda: decisions(place.store).keys() == scene.expected.keys(), "all decisions")
    until(lambda: set(place.bodies("rejects", len(scene.bad))) == set(scene.bad), "dead letters")


def test_a_topic_gives_the_decisions_of_a_file_and_goes_everywhere(place, scene):
    """The same events decide the same; alerts, decisions and dead letters are in their topics."""
    place.site.put(place.source, scene.values)

    with place.run() as process:
        until_all(place, scene)
        said = stopped(process)

    check_all(place, scene)
    assert len(place.bodies("rejects", len(scene.bad))) == len(scene.bad)
    assert b"rejects: %d not_json" % len(scene.bad) in said


@pytest.mark.slow
def test_a_run_that_is_killed_comes_to_the_same(place, scene):
    """Killed twice in the middle and started again, each thing is decided and published once."""
    generator = random.Random(4)
    edges = [0, len(scene.values) // 3, 2 * len(scene.values) // 3, len(scene.values)]
    for first, end in itertools.pairwise(edges[:-1]):
        before = len(decisions(place.store))
        with place.run() as process:
            place.site.put(place.source, scene.values[first:end])
            until(lambda was=before: len(decisions(place.store)) > was, "another decision")
            time.sleep(generator.uniform(0.0, 0.5))
            process.kill()
            process.communicate(timeout=WAIT_S)
    place.site.put(place.source, scene.values[edges[2] :])

    with place.run() as process:
        until_all(place, scene)
        stopped(process)

    check_all(place, scene)


@pytest.mark.slow
def test_a_broker_that_restarts_under_a_run_costs_nothing(scene, own_broker, tmp_path):
    """Reading, dead letters and alerts all wait for it, and go on."""
    scene.receiver.deliveries.clear()
    place = Place(tmp_path, own_broker, scene.receiver.url)
    half = len(scene.values) // 2
    with place.run() as process:
        own_broker.put(place.source, scene.values[:half])
        until(lambda: decisions(place.store), "a decision")
        own_broker.node.kill()
        time.sleep(4.0)
        own_broker.node.start()
        own_broker.put(place.source, scene.values[half:])
        until_all(place, scene)
        said = stopped(process)

    check_all(place, scene)
    assert b"no broker answers; waiting for one" in said
    assert b"a broker answers again" in said


@pytest.mark.slow
def test_one_of_three_brokers_may_die(scene, tmp_path):
    """With three copies of every topic, a broker that is killed is not missed."""
    scene.receiver.deliveries.clear()
    brokers = nodes(tmp_path / "kafka", 3)
    for node in brokers:
        node.launch()
    for node in brokers:
        node.wait()
    site = Site(",".join(node.address for node in brokers))
    place = Place(tmp_path, site, scene.receiver.url, copies=3)
    half = len(scene.values) // 2
    try:
        with place.run() as process:
            site.put(place.source, scene.values[:half])
            until(lambda: decisions(place.store), "a decision")
            brokers[1].kill()
            writing = threading.Thread(target=site.put, args=(place.source, scene.values[half:]))
            writing.start()
            until_all(place, scene)
            writing.join()
            stopped(process)
        check_all(place, scene)
    finally:
        for node in brokers:
            node.kill()


@pytest.mark.slow
def test_a_run_ends_in_bounded_time_without_its_broker(place, scene, own_broker, tmp_path):
    """Asked to stop while the broker is away, a run ends within seconds."""
    own = Place(tmp_path, own_broker, scene.receiver.url)
    own_broker.put(own.source, scene.values)
    with own.run() as process:
        until_all(own, scene)
        time.sleep(2.0)
        own_broker.node.kill()
        time.sleep(2.0)
        begun_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=WAIT_S)

    assert time.monotonic() - begun_s < 20.0
    assert b"Traceback" not in err
