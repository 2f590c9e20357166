"""Attacks put into recordings that exist already."""

import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.errors import ConfigError
from astray.lab.simulate import (
    ATTACKS,
    SimulationOptions,
    inject,
    parse_attacks,
    simulate,
    write,
)
from astray.lab.simulate.native import Reader, epoch_ms

EVERY = parse_attacks("all=2")


def minimal(agents: int = 3, events: int = 120) -> bytes:
    """Record only what an event must have: agents that repeat three actions, in two busy days."""
    return b"".join(
        orjson.dumps(
            {"ts": 1_767_571_200 + turn * 1_440, "agent": f"a{agent}", "action": f"do-{turn % 3}"}
        )
        + b"\n"
        for turn in range(events)
        for agent in range(agents)
    )


def injected(
    folder: Path,
    content: bytes,
    labels: bytes | None = None,
    attacks: dict[str, int] = EVERY,
    seed: int = 1,
) -> tuple[list[bytes], list[dict[str, Any]]]:
    """Inject into `content`; return the lines of the new events and the new labels."""
    events, truth = folder / "events.jsonl", folder / "labels.jsonl"
    events.write_bytes(content)
    if labels is not None:
        truth.write_bytes(labels)
    out = folder / "out.jsonl", folder / "out-labels.jsonl"
    path = None if labels is None else truth
    inject(events, path, attacks, seed, out_events=out[0], out_labels=out[1])
    return out[0].read_bytes().splitlines(keepends=True), [
        orjson.loads(line) for line in out[1].read_bytes().splitlines()
    ]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Record a calm fleet; return the contents of both files."""
    folder = tmp_path_factory.mktemp("recorded")
    options = SimulationOptions(agents=12, agents_per_group=4, days=4.0)
    write(simulate(options), folder / "events", folder / "labels")
    return (folder / "events").read_bytes(), (folder / "labels").read_bytes()


def without_added(lines: list[bytes]) -> list[bytes]:
    """Leave out the events that were injected."""
    return [line for line in lines if b'"event_id":"x' not in line]


def test_every_recorded_line_is_copied(tmp_path: Path, recorded: tuple[bytes, bytes]) -> None:
    """Without the added lines the new file is the old one, byte for byte and in order."""
    lines, _ = injected(tmp_path, *recorded)

    assert b"".join(without_added(lines)) == recorded[0]
    assert len(lines) > len(without_added(lines))


def test_the_new_recording_is_in_time_order(tmp_path: Path, recorded: tuple[bytes, bytes]) -> None:
    """Added events stand where their time puts them."""
    times = [orjson.loads(line)["ts"] for line in injected(tmp_path, *recorded)[0]]

    assert times == sorted(times)


def test_labels_of_attacked_sessions_replace_the_given_ones(
    tmp_path: Path, recorded: tuple[bytes, bytes]
) -> None:
    """Every session keeps its one label, unless it was attacked: in the test phase only."""
    lines, labels = injected(tmp_path, *recorded)
    before = {label["session"]: label for label in map(orjson.loads, recorded[1].splitlines())}
    sessions: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        event = orjson.loads(line)
        sessions[event["session"]].append(event["event_id"])

    assert Counter(label["session"] for label in labels) == Counter(set(sessions))
    assert Counter(label["attack"] for label in labels)["mimicry"] == 2
    for label in labels:
        if label["attack"] is None:
            assert label == before[label["session"]]
        else:
            assert label["phase"] == "test"
            assert label["first_bad_event"] in sessions[label["session"]]


@pytest.mark.parametrize("named", [True, False], ids=["of tenants", "of whatever tenant"])
def test_agents_of_two_tenants_that_have_one_name_stay_two(tmp_path: Path, *, named: bool) -> None:
    """New labels name the tenant of every session, also where those before named none."""
    write(
        simulate(SimulationOptions(agents=8, agents_per_group=4, days=4.0, tenants=2)),
        tmp_path / "e",
        tmp_path / "l",
    )
    events = [orjson.loads(line) for line in (tmp_path / "e").read_bytes().splitlines()]
    truth = [orjson.loads(line) for line in (tmp_path / "l").read_bytes().splitlines()]
    for one in (*events, *truth):
        one["agent"] = f"agent-{int(one['agent'][-3:]) % 4}"
    if not named:
        for one in truth:
            del one["tenant"]

    lines, labels = injected(tmp_path, *(b"\n".join(map(orjson.dumps, x)) for x in (events, truth)))

    written = [orjson.loads(line) for line in lines]
    owners = {(one["tenant"], one["agent"], one["session"]): one.get("group") for one in events}
    assert {(one["tenant"], one["agent"], one["session"]) for one in written} == {
        (one["tenant"], one["agent"], one["session"]) for one in labels
    }
    assert {(tenant, agent): group for (tenant, agent, _), group in owners.items()} == {
        (one["tenant"], one["agent"]): one.get("group") for one in written
    }


def test_sessions_are_entered_in_the_last_two_thirds_without_labels(
    tmp_path: Path, recorded: tuple[bytes, bytes]
) -> None:
    """Without labels the time tells the phase, and sessions not attacked get label 0."""
    lines, labels = injected(tmp_path, recorded[0])
    times = [orjson.loads(line)["ts"] for line in without_added(lines)]
    third = times[0] + (times[-1] - times[0]) / 3
    added = [orjson.loads(line) for line in lines if b'"event_id":"x' in line]

    assert min(event["ts"] for event in added) >= third
    assert {label["attack"] for label in labels} == {None, *ATTACKS}
    assert all(label["label"] == (label["attack"] is not None) for label in labels)


def test_injection_follows_from_its_seed(tmp_path: Path, recorded: tuple[bytes, bytes]) -> None:
    """Equal seeds give equal files, other seeds others."""
    first = injected(tmp_path, *recorded, seed=7)

    assert injected(tmp_path, *recorded, seed=7) == first
    assert injected(tmp_path, *recorded, seed=8) != first


def test_events_with_nothing_but_the_required_fields_are_enough(tmp_path: Path) -> None:
    """Attacks on a bare recording come as sessions of their own and add no other field."""
    lines, labels = injected(tmp_path, minimal())
    added = [orjson.loads(line) for line in lines if b'"event_id":"x' in line]

    assert without_added(lines) == minimal().splitlines(keepends=True)
    assert {label["attack"] for label in labels} == set(ATTACKS)
    assert {event["session"] for event in added} == {label["session"] for label in labels}
    assert {key for event in added for key in event} == {
        *("ts", "agent", "action", "session", "event_id")
    }


def test_lines_that_are_no_events_are_copied_where_they_stand(tmp_path: Path) -> None:
    """Broken lines survive, also a last one without its line end."""
    broken = [b"not json\n", b"\n", b'{"ts":1}\n', b"[1,2]\r\n", b'{"ts":NaN,"agent":"a"}\n']
    content = b"".join(broken) + minimal() + b"\xff\xfe tail"
    lines, _ = injected(tmp_path, content)

    assert b"".join(without_added(lines)) == content + b"\n"


def test_times_that_go_back_stay_as_they_are(tmp_path: Path) -> None:
    """A recording out of order keeps its order; added lines do not come before their time."""
    rows = minimal().splitlines(keepends=True)
    content = b"".join([*rows[90:], *rows[:90]])
    lines, _ = injected(tmp_path, content)

    assert b"".join(without_added(lines)) == content


def test_compressed_files_are_read_and_written(tmp_path: Path) -> None:
    """Names in `.gz` mean gzip on both sides."""
    (tmp_path / "in.gz").write_bytes(gzip.compress(minimal()))
    outputs = tmp_path / "out.gz", tmp_path / "labels.gz"
    inject(tmp_path / "in.gz", None, EVERY, 1, out_events=outputs[0], out_labels=outputs[1])
    lines = gzip.decompress(outputs[0].read_bytes()).splitlines(keepends=True)

    assert without_added(lines) == minimal().splitlines(keepends=True)
    assert gzip.decompress(outputs[1].read_bytes())


@pytest.mark.parametrize(
    ("content", "labels", "attacks", "problem"),
    [
        (b"", None, EVERY, "no normal events"),
        (b"not json\n", None, EVERY, "no normal events"),
        (minimal(), b"{}\n", EVERY, "line 1"),
        (minimal(), None, {"phishing": 1, "mimicry": -1}, "phishing.*mimicry"),
        (minimal(agents=2), None, {"patient_poisoning": 3}, "more campaigns"),
    ],
)
def test_what_cannot_be_injected_is_refused(
    tmp_path: Path, content: bytes, labels: bytes | None, attacks: dict[str, int], problem: str
) -> None:
    """Wrong attacks, unreadable labels and recordings without events raise with the reason."""
    with pytest.raises(ConfigError, match=problem):
        injected(tmp_path, content, labels, attacks)


@pytest.mark.parametrize(
    "value",
    [
        *(1767571200, 1767571200.0, 1767571200_000, 1767571200_000_000, 1767571200_000_000_000),
        *("2026-01-05T00:00:00Z", "2026-01-05T01:00:00+01:00", "2026-01-05T00:00:00"),
    ],
)
def test_times_are_told_by_their_size(value: float | str) -> None:
    """Seconds to nanoseconds and ISO-8601 are all the same moment."""
    assert epoch_ms(value) == 1767571200_000


ODD: list[Any] = [None, True, -1, 0, 1e400, 10**30, "", "a", "success", [], ["r", 1], {}]
FIELDS = ["ts", "agent", "action", "session", "group", "bytes", "resource", "resources", "outcome"]
VALID: dict[str, Any] = {"ts": 1, "agent": "a", "action": "b"}


@given(
    st.binary(max_size=40)
    | st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(ODD)).map(
        lambda odd: json.dumps(VALID | odd).encode()
    )
)
def test_no_line_stops_the_reader(line: bytes) -> None:
    """Whatever a line holds, it is an event or it is not."""
    reader = Reader()
    taken = reader.take(line)

    assert (taken is None) == (not reader.rows)
