"""The files of a simulation: their form, their order, their bytes."""

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from astray.lab.simulate import Recording, SimulationOptions, parse_attacks, simulate, write

SMALL: dict[str, Any] = {
    "agents": 12,
    "agents_per_group": 4,
    "days": 4.0,
    "attacks": parse_attacks("all=2"),
}


def written(folder: Path, name: str = "events.jsonl", **options: Any) -> tuple[bytes, bytes]:
    """Simulate and write; return the bytes of both files."""
    events, labels = folder / name, folder / f"labels-{name}"
    write(simulate(SimulationOptions(**{**SMALL, **options})), events, labels)
    return events.read_bytes(), labels.read_bytes()


def lines(content: bytes) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [orjson.loads(line) for line in content.splitlines()]


@pytest.mark.parametrize("name", ["events.jsonl", "events.jsonl.gz"])
def test_equal_options_give_equal_bytes(tmp_path: Path, name: str) -> None:
    """Both files follow from the options alone, compressed or not."""
    first = written(tmp_path, name)
    second = written(tmp_path, name)

    assert first == second


def test_another_seed_gives_another_recording(tmp_path: Path) -> None:
    """The seed reaches the events."""
    assert written(tmp_path, seed=1) != written(tmp_path, seed=2)


def test_a_name_in_gz_is_compressed_and_nothing_else(tmp_path: Path) -> None:
    """The compressed file holds what the plain one holds."""
    plain = written(tmp_path)
    packed = written(tmp_path, "events.jsonl.gz")

    assert tuple(map(gzip.decompress, packed)) == plain


def test_events_stand_in_time_order_with_ids_of_their_own(tmp_path: Path) -> None:
    """Time never goes back and no id is used twice."""
    events = lines(written(tmp_path)[0])
    times = [event["ts"] for event in events]

    assert times == sorted(times)
    assert len({event["event_id"] for event in events}) == len(events)


def test_events_have_the_native_form(tmp_path: Path) -> None:
    """Required fields are non-empty strings; what is absent is left out, never null."""
    allowed = {
        *("ts", "event_id", "agent", "group", "kind", "session", "action", "resource"),
        *("resources", "outcome", "source", "principal", "target_agent", "bytes"),
    }
    events = lines(written(tmp_path)[0])

    assert all(event.keys() <= allowed for event in events)
    assert all(event["agent"] and event["action"] and event["session"] for event in events)
    assert not any(value is None or value == "" for event in events for value in event.values())
    assert {event["outcome"] for event in events} <= {"success", "failure", "denied"}
    assert all(1 < len(event["resources"]) <= 32 for event in events if "resources" in event)
    assert any("resources" in event for event in events)
    assert any("target_agent" in event for event in events)


def test_tenants_and_groups_are_named_where_asked_for(tmp_path: Path) -> None:
    """Events and labels name tenants when there are several; an ungrouped agent has no group."""
    events, labels = map(lines, written(tmp_path, tenants=2, ungrouped_share=0.5, attacks={}))
    names = "agent", "session", "tenant"
    groups = {event["agent"]: event.get("group") for event in events}

    assert {event["tenant"] for event in events} == {"tenant-0", "tenant-1"}
    assert Counter(group is None for group in groups.values()) == {True: 6, False: 6}
    assert {tuple(map(one.get, names)) for one in labels} == {
        tuple(map(one.get, names)) for one in events
    }


def test_attacks_leave_normal_behaviour_as_it_is() -> None:
    """With attacks every normal event is still there; only its time may have moved."""

    def content(recording: Recording) -> Counter[tuple[Any, ...]]:
        names = recording.sessions
        return Counter(
            (names[row["session"]].name, row["action"], row["resource"], row["bytes"])
            for row in recording.columns
        )

    options = {**SMALL, "attacks": {}}
    calm = content(simulate(SimulationOptions(**options)))
    attacked = content(simulate(SimulationOptions(**SMALL)))

    assert calm <= attacked
    assert calm != attacked


@pytest.mark.parametrize("days", [0.01, 1.0])
def test_one_agent_is_enough(tmp_path: Path, days: float) -> None:
    """The smallest fleet works, and can be attacked in every way."""
    events, labels = written(tmp_path, agents=1, days=days, seed=3, attacks=parse_attacks("all=1"))
    attacks = {label["attack"] for label in lines(labels)}

    assert attacks - {None} == set(SMALL["attacks"])
    assert {event["session"] for event in lines(events)} == {
        label["session"] for label in lines(labels)
    }
