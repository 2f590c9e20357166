"""Silence over a real broker: a topic that gives nothing, an agent that stops, and both back."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import orjson
import pytest
from kafka_topics import Site

from astray.events import Event, encode_event
from running import alerts, decisions, rows, started, stopped, until

_HOUR_US = 3_600_000_000
_START_US = 1_767_571_200_000_000
"""2026-01-05T00:00:00Z, a Monday."""

_KNOWN, _SILENT, _LATER = 24 * 18, 24 * 21, 24 * 21 + 12
"""Hours: until then both agents work, then one is silent, then it is heard again."""

_CONFIG = """
[default_policy]
alert = { score = 120.0 }
suspend = { score = 120.0 }

[blindness]
silent_after_s = 2.0

[recovery]
interval_s = 0.2
"""


def hourly(agent: str, hours: Iterable[int]) -> list[bytes]:
    """Return an event of an agent every hour, as messages."""
    return [
        encode_event(
            Event(_START_US + hour * _HOUR_US, agent, f"{agent}.read", event_id=f"{agent}-{hour}")
        )
        for hour in hours
    ]


class Place:
    """A topic of two partitions, an agent in each, and a folder for what a run leaves."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.folder, self.site = folder, site
        self.topic = site.topic(partitions=2)
        (folder / "astray.toml").write_text(_CONFIG)

    def put(self, steady: range, job: range) -> None:
        """Let the two agents work."""
        self.site.put(self.topic, hourly("steady", steady), partition=0)
        self.site.put(self.topic, hourly("job", job), partition=1)

    def run(self) -> subprocess.Popen:
        """Start a run over the topic."""
        return started(
            "run", "--source", self.site.url(self.topic), "--config", "astray.toml",
            "--store", "sqlite:///cases.db", "--recovery", "recovery", cwd=self.folder,
        )  # fmt: skip

    def silences(self) -> set[tuple[str, str, str]]:
        """Return the kind and name of what has fallen silent, with how that has ended."""
        return set(rows(self.folder / "cases.db", "SELECT kind, name, ended FROM silences"))

    def told(self) -> list[tuple[int, str]]:
        """Return what alerts say: of a beginning (1) or an end (3), and of what."""
        found = map(orjson.loads, alerts(self.folder / "cases.db"))
        return sorted((one["activity_id"], one["unmapped"]["name"]) for one in found)


@pytest.fixture
def place(broker, tmp_path):
    """Return a place with three weeks of a fleet of which one agent has stopped after 18 days."""
    place = Place(tmp_path, broker)
    place.put(range(_SILENT), range(_KNOWN))
    return place


def silent(place: Place, *, back: bool) -> set[tuple[str, str, str]]:
    """Return the silences that there are to be: of the agent, its action and the topic."""
    ended = "back" if back else ""
    names = (("agent", "job"), ("action", "job.read"), ("source", f"kafka:{place.topic}"))
    return {(kind, name, ended) for kind, name in names}


@pytest.mark.slow
@pytest.mark.parametrize("restarts", [False, True], ids=["one run", "a restart in between"])
def test_a_topic_and_an_agent_that_fall_silent_have_cases_until_they_are_back(place, *, restarts):
    """Each has one case, opened once and closed once, also by a run that did not open it."""
    process = place.run()
    try:
        until(lambda: place.silences() == silent(place, back=False), "the silences")
        if restarts:
            stopped(process)
            process = place.run()
        for hour in range(_SILENT, _LATER):  # as they come: what is known of an hour is known later
            place.put(range(hour, hour + 1), range(hour, hour + 1))

        until(lambda: silent(place, back=True) <= place.silences(), "their ends")
        stopped(process)
    finally:
        process.kill()
        process.communicate()

    begun_again = place.silences() - silent(place, back=True)
    names = ["job", "job.read", f"kafka:{place.topic}"]
    assert begun_again <= {("source", f"kafka:{place.topic}", "")}
    told = [one for one in place.told() if one[1] != f"kafka:{place.topic}"]
    assert told == [(1, "job"), (1, "job.read"), (3, "job"), (3, "job.read")]
    assert {(1, names[2]), (3, names[2])} <= set(place.told())
    assert decisions(place.folder / "cases.db") == {}


@pytest.mark.slow
def test_a_broker_that_is_away_is_a_source_that_gives_nothing(own_broker, tmp_path):
    """Its case opens while nobody answers, and is closed by the first message after that."""
    place = Place(tmp_path, own_broker)
    place.put(range(24), range(24))
    process = place.run()
    try:
        source = ("source", f"kafka:{place.topic}")
        until(lambda: rows(tmp_path / "cases.db", "SELECT * FROM meta"), "the case store")
        own_broker.node.kill()
        until(lambda: (*source, "") in place.silences(), "the silence")
        own_broker.node.start()
        place.put(range(24, 30), range(24, 30))

        until(lambda: (*source, "back") in place.silences(), "its end")
        stopped(process)
    finally:
        process.kill()
        process.communicate()
