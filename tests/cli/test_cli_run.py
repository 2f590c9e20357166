"""`astray run` as people run it: a process that is asked to stop, killed, and started again."""

import itertools
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from astray.events import Event
from astray.flow.keys import shard_key, tenant_key
from astray.testing import Receiver
from running import (
    SECRET,
    WAIT_S,
    WHSEC,
    Writer,
    alerts,
    astray,
    attacked_fleet,
    decisions,
    lines,
    quick_config,
    rows,
    started,
    states,
    until,
)
from strategies import NOW_US

SHARDS = {shard_key(number) for number in range(4)}
DECIDERS = {tenant_key(number) for number in range(4)}


class Site:
    """A folder with a configuration, events, and what a run keeps of them."""

    def __init__(self, folder: Path, url: str) -> None:
        folder.mkdir(exist_ok=True)
        self.events = folder / "events.jsonl"
        self.store, self.recovery = folder / "cases.db", folder / "recovery"
        self.alerts = folder / "alerts.jsonl"
        self.config = folder / "astray.toml"
        self.config.write_text(quick_config(url))

    def arguments(self, *more: str) -> list[str]:
        """Return the command line of a run; the same in every folder, as decisions hash it."""
        options = {
            "source": self.events.name,
            "config": self.config.name,
            "store": f"sqlite:///{self.store.name}",
            "recovery": self.recovery.name,
            "alerts": self.alerts.name,
        }
        given = [part for name, value in options.items() for part in (f"--{name}", value)]
        return ["run", *given, *more]

    def run(self) -> subprocess.CompletedProcess:
        """Run to the end of the events."""
        folder, key = self.events.parent, WHSEC
        result = astray(*self.arguments(), cwd=folder, ASTRAY_WEBHOOK_SECRET=key)
        assert result.returncode == 0, result.stderr.decode()
        return result

    def follow(self) -> subprocess.Popen:
        """Start a run that follows the events."""
        folder, key = self.events.parent, WHSEC
        return started(*self.arguments("--follow"), cwd=folder, ASTRAY_WEBHOOK_SECRET=key)

    def pending(self) -> int:
        """Return how many webhooks have yet to be delivered."""
        query = "SELECT count(*) FROM deliveries WHERE state != 'delivered'"
        return sum(count for (count,) in rows(self.store, query))

    def suspended(self) -> set[str]:
        """Return the cases that are to be suspended."""
        return {case for (case,) in rows(self.store, "SELECT case_id FROM suspensions")}


def arrived(receiver: Receiver) -> dict[str, str]:
    """Return the case of every webhook that has arrived, by webhook-id."""
    return {
        webhook_id: orjson.loads(received.body)["data"]["alert_id"]
        for webhook_id, received in receiver.deliveries.items()
    }


@dataclass
class Scene:
    """A recording, a receiver, and what a run leaves that nothing has disturbed."""

    data: bytes
    receiver: Receiver
    expected: Site


def undisturbed(folder: Path, data: bytes, receiver: Receiver) -> Scene:
    """Run over all of the data at once; the receiver then forgets what has arrived."""
    site = Site(folder, receiver.url)
    site.events.write_bytes(data)
    site.run()
    assert sorted(arrived(receiver).values()) == sorted(site.suspended())
    assert len(site.suspended()) > 8
    receiver.deliveries.clear()
    return Scene(data, receiver, site)


@pytest.fixture(scope="module")
def undisturbed_scene(tmp_path_factory):
    """Make the scene once."""
    folder = tmp_path_factory.mktemp("scene")
    with Receiver([SECRET]) as receiver:
        yield undisturbed(folder / "expected", attacked_fleet(folder), receiver)


@pytest.fixture
def scene(undisturbed_scene):
    """Hand out the scene, with a receiver that nothing has arrived at."""
    undisturbed_scene.receiver.deliveries.clear()
    return undisturbed_scene


def check_same(site: Site, scene: Scene) -> None:
    """Check that a disturbed run has come to exactly what the undisturbed one has."""
    expected, receiver = scene.expected, scene.receiver
    assert decisions(site.store) == decisions(expected.store)
    assert states(site.recovery) == states(expected.recovery)
    assert {key for _, key in states(site.recovery)} == {*SHARDS, *DECIDERS}
    assert sorted(arrived(receiver).values()) == sorted(expected.suspended())
    assert site.pending() == 0
    written = site.alerts.read_bytes().splitlines()
    assert written == alerts(site.store)
    assert len(written) == len(set(written))


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGTERM, id="terminate"), pytest.param(signal.SIGINT, id="interrupt")],
)
def test_a_run_that_is_asked_to_stop_delivers_and_goes_on_later(number, scene, tmp_path):
    """A signal ends a run well, with all delivered; the next one repeats and loses nothing."""
    site, receiver = Site(tmp_path, scene.receiver.url), scene.receiver
    middle = scene.data.index(b"\n", len(scene.data) * 2 // 3) + 7  # inside a line
    site.events.write_bytes(scene.data[:middle])
    with site.follow() as process:
        until(lambda: receiver.deliveries, "a suspension")
        process.send_signal(number)
        out, err = process.communicate(timeout=WAIT_S)
    pending, once = site.pending(), set(arrived(receiver).values())
    site.events.write_bytes(scene.data)

    site.run()

    assert process.returncode == 0, err
    assert (pending, b"Traceback" in err) == (0, False)
    assert [orjson.loads(line) for line in out.splitlines()]
    assert 0 < len(once) < len(site.suspended())
    check_same(site, scene)
    assert all(received.repeats == 0 for received in receiver.deliveries.values())


def killed(site: Site, data: bytes, kills: int, generator: random.Random) -> None:
    """Run and kill, each time some moments after the run has decided something new.

    Each run has some more of the data, which grows while it reads; the last of it is for the
    run after this.
    """
    ends = [int(len(data) * (0.5 + 0.3 * (kill + 1) / kills)) for kill in range(kills)]
    for first, end in itertools.pairwise([0, *ends]):
        before = len(decisions(site.store))
        with Writer(site.events, data[first:end], pieces=40, every_s=0.1), site.follow() as process:
            until(
                lambda was=before, at=process: (
                    at.poll() is not None or len(decisions(site.store)) > was
                ),
                "another decision",
            )
            time.sleep(generator.uniform(0.0, 0.6))
            process.kill()
            process.communicate(timeout=WAIT_S)
        assert process.returncode == -signal.SIGKILL
    with site.events.open("ab") as file:
        file.write(data[ends[-1] :])


@pytest.mark.slow
def test_a_run_that_is_killed_twice_comes_to_the_same(scene, tmp_path):
    """Killed at any moment and started again, a run decides, knows and sends the same."""
    site = Site(tmp_path, scene.receiver.url)
    killed(site, scene.data, 2, random.Random(1))
    part = len(decisions(site.store))

    site.run()

    assert 0 < part < len(decisions(scene.expected.store))
    check_same(site, scene)


@pytest.mark.slow
def test_a_run_that_is_killed_twenty_times_comes_to_the_same(tmp_path):
    """Twenty kills over 200,000 events change nothing of what is decided, known and sent."""
    data = attacked_fleet(tmp_path, days=70.0)
    assert data.count(b"\n") > 200_000
    with Receiver([SECRET]) as receiver:
        scene = undisturbed(tmp_path / "expected", data, receiver)
        site = Site(tmp_path / "killed", receiver.url)
        killed(site, data, 20, random.Random(2))

        site.run()

        check_same(site, scene)


_LIMITED = """
[default_policy]
mode = "enforce"

[default_policy.limits]
events_per_session = 5

[recovery]
interval_s = 0.2

[delivery]
delays_s = [0.1]
flush_s = 0.5

[[webhook]]
url = "{url}"
secret = "env:ASTRAY_WEBHOOK_SECRET"
"""


def beyond_their_limit(sessions: int) -> bytes:
    """Return sessions that each do six things where five are allowed."""
    first_us = NOW_US - 86_400_000_000
    return lines(
        Event(
            ts_us=first_us + number * 1_000_000 + step * 1000,
            agent=f"agent-{number}",
            action="read",
            session=f"s{number}",
        )
        for number in range(sessions)
        for step in range(6)
    )


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        pytest.param([], b"", id="all taken"),
        pytest.param(
            [503] * 2,
            b"2 webhooks nobody has taken yet: the next run with this case store goes on\n",
            id="refused for now",
        ),
    ],
)
def test_a_run_says_at_its_end_what_nobody_has_taken(answers, told, tmp_path):
    """A run that ends does not wait for a later try, and does not pass over it in silence."""
    site = Site(tmp_path, "")
    site.events.write_bytes(beyond_their_limit(2))
    with Receiver([SECRET], answers) as receiver:
        site.config.write_text(_LIMITED.format(url=receiver.url).replace("[0.1]", "[60.0]"))
        said = site.run().stderr

    assert said.partition(b"rejects: none\n")[2] == told


@pytest.mark.slow
def test_suspensions_wait_for_a_receiver_that_is_down(tmp_path):
    """Of a hundred suspensions while nobody answers none is lost, over restarts, and none twice."""
    receiver = Receiver([SECRET])
    receiver.up()
    receiver.down()
    site = Site(tmp_path, receiver.url)
    site.config.write_text(_LIMITED.format(url=receiver.url))
    site.events.write_bytes(beyond_their_limit(100))
    site.run()
    waiting = site.pending()

    with receiver, site.follow() as process:
        all_came = receiver.wait_for(100, WAIT_S)
        process.terminate()
        process.communicate(timeout=WAIT_S)
        site.run()

    assert (waiting, all_came, process.returncode) == (100, True, 0)
    assert len(receiver.attempts) == len(receiver.deliveries) == 100
    assert set(arrived(receiver).values()) == site.suspended()
    assert (len(site.suspended()), site.pending()) == (100, 0)
