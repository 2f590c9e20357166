"""Replaying a recording: one line per session, the same bytes every time, and its quality."""

import math

import orjson
import pytest

from astray.config import load_config
from astray.errors import ConfigError, SourceError
from astray.events import Event
from astray.lab.labels import Label, read_labels
from astray.lab.replay import enforced, quality, replay
from astray.lab.sessions import SessionScore
from astray.lab.simulate import SimulationOptions, simulate, write
from running import lines
from strategies import NOW_US

MINUTE_US = 60_000_000
START_US = NOW_US - NOW_US % (60 * MINUTE_US) - 600 * 60 * MINUTE_US
CONFIG = load_config()


def replayed(path, events, config=CONFIG):
    """Write events, and replay them."""
    path.write_bytes(lines(events))
    return replay(path, config)


def test_a_session_that_was_cut_is_one_line(tmp_path):
    """A session longer than the maximum is judged in pieces, and is one session with all events."""
    config = load_config(overrides={"sessions": {"events_max": 10}})
    events = [
        Event(ts_us=START_US + at * 1_000_000, agent=agent, action="read", session="s")
        for at in range(25)
        for agent in ("a", "b")
    ]

    result = replayed(tmp_path / "events.jsonl", events, config)

    found = [(one.agent, one.session, one.events) for one in result.sessions]
    assert found == [("a", "s", 25), ("b", "s", 25)]


def test_all_events_of_a_session_are_counted_however_its_pieces_begin(tmp_path):
    """Pieces that begin at the same time, as in a burst under a coarse clock, are each counted."""
    config = load_config(overrides={"sessions": {"events_max": 10}})
    events = [Event(ts_us=START_US, agent="a", action="read", session="s") for _ in range(45)]

    result = replayed(tmp_path / "events.jsonl", events, config)

    assert [(one.session, one.events) for one in result.sessions] == [("s", 45)]


def test_unnamed_sessions_are_named_by_their_start(tmp_path):
    """Without a session in the events, a pause makes two sessions, named by agent and time."""
    pauses = [0, 1, 2, 40, 41]
    events = [Event(ts_us=START_US + at * MINUTE_US, agent="a", action="read") for at in pauses]

    result = replayed(tmp_path / "events.jsonl", events)

    found = [(one.session, one.events) for one in result.sessions]
    assert found == [("a@2026-10-28T02:00:00.000Z", 3), ("a@2026-10-28T02:40:00.000Z", 2)]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Make a small recording with attacks, as events and labels."""
    folder = tmp_path_factory.mktemp("recording")
    options = SimulationOptions(
        agents=12, days=6, seed=4, attacks={"enumeration": 5, "exfiltration": 5}
    )
    write(simulate(options), folder / "events.jsonl.gz", folder / "labels.jsonl")
    return folder


def test_replaying_twice_gives_the_same_bytes(recording):
    """The scores of a recording are the same bytes every time."""
    first, second = (
        b"".join(
            session.as_json() for session in replay(recording / "events.jsonl.gz", CONFIG).sessions
        )
        for _ in range(2)
    )

    assert first == second
    assert first.count(b"\n") > 100


def test_a_replay_knows_every_session_of_its_labels(recording):
    """Sessions, events and agents of the replay are those of the recording."""
    labels = read_labels(recording / "labels.jsonl")

    result = replay(recording / "events.jsonl.gz", CONFIG, labels)

    assert {(None, one.agent, one.session) for one in result.sessions} == set(labels)
    summary = result.summary(labels)
    assert summary["events"] == sum(one.events for one in result.sessions)
    assert (summary["sessions"], summary["agents"]) == (len(labels), 12)
    assert set(result.event_us) == {label.first_bad_event for label in labels.values()} - {""}
    assert summary["quality"]["roc_auc"] > 0.9


def test_every_crossing_is_at_an_event_of_the_session_that_reached_it(recording):
    """A session has a first event for exactly the levels up to its live score."""
    low = load_config(overrides={"default_policy": {"alert": {"score": 20.0}}})

    result = replay(recording / "events.jsonl.gz", low)

    crossed = [one for one in result.sessions if one.crossed["40"]]
    assert crossed
    for one in result.sessions:
        for level in (40, 60, 80):
            assert one.crossed[f"{level}"] is None or one.score >= level
    assert all(n > 1 for one in crossed for _, n in one.steps)


def _session(name: str, n: float, *steps: tuple[int, float]) -> SessionScore:
    return SessionScore(name, "a", 0, score=20 * math.log10(n), n=n, steps=list(steps))


def _label(name: str, *, bad: bool = False, first: str = "", phase: str = "test") -> Label:
    return Label(name, "a", bad, "x" if bad else "", phase, first)


def test_quality_worked_out_by_hand():
    """Twenty benign sessions and three bad ones: above 5 % false ones lie two, one in time."""
    benign = [_session(f"b{at}", float(at + 1)) for at in range(20)]  # n of 1 to 20
    bad = [
        _session("early", 30.0, (100, 5.0), (200, 30.0)),
        _session("late", 25.0, (900, 25.0)),
        _session("missed", 19.0, (100, 19.0)),
    ]
    known = [_label(one.session) for one in benign]
    known += [_label(name, bad=True, first=f"e-{name}") for name in ("early", "late", "missed")]
    labels = {one.key: one for one in (*known, _label("warm", phase="warmup"))}
    event_us = {"e-early": 200, "e-late": 899, "e-missed": 500}
    sessions = [*benign, *bad, _session("warm", 1000.0), _session("unknown", 1000.0)]

    found = quality(sessions, labels, event_us)

    assert (found["sessions"], found["bad"]) == (23, 3)
    # 19 is above 18 benign ones and level with one; the other two are above all twenty.
    assert found["roc_auc"] == pytest.approx((20 + 20 + 18.5) / 60)
    # Down the ranking: two bad ones, a benign one, then a bad one and a benign one together.
    assert found["pr_auc"] == pytest.approx((1 + 1 + 3 / 5) / 3)
    assert found["recall_at"] == pytest.approx({"0.05": 2 / 3, "0.01": 2 / 3, "0.001": 2 / 3})
    assert found["prevented_at"] == pytest.approx({"0.05": 1 / 3, "0.01": 1 / 3, "0.001": 1 / 3})
    assert found["false_rate"] == {
        "0.05": {"nominal": 0.05, "realised": 1 / 20},
        "0.01": {"nominal": 0.01, "realised": 0.0},
        "0.001": {"nominal": 0.001, "realised": 0.0},
    }


def test_quality_without_tested_sessions_is_undefined_and_no_error():
    """Labels of other sessions measure nothing: null in JSON, never NaN."""
    found = orjson.loads(orjson.dumps(quality([_session("s", 2.0)], {}, {})))

    assert (found["sessions"], found["roc_auc"], found["pr_auc"]) == (0, None, None)
    nothing = {"0.05": None, "0.01": None, "0.001": None}
    assert (found["recall_at"], found["prevented_at"]) == (nothing, nothing)
    assert found["false_rate"]["0.01"] == {"nominal": 0.01, "realised": None}


def test_nothing_caught_is_another_thing_than_nothing_to_catch():
    """Where there was something bad and it was missed, the recall is 0."""
    sessions = [_session("benign", 9.0), _session("bad", 2.0)]
    labels = {one.key: one for one in (_label("benign"), _label("bad", bad=True))}

    found = quality(sessions, labels, {})

    assert set(found["recall_at"].values()) == set(found["prevented_at"].values()) == {0.0}


def test_a_session_is_a_line_of_json():
    """A session is written with exactly the fields that are promised, in their order."""
    session = SessionScore("s", "a", 5, 41.5, 119.0, certified=False, events=7)
    session.crossed["40"] = "e3"

    assert session.as_json() == (
        b'{"session":"s","agent":"a","tenant":"","score":41.5,"n":119.0,"certified":false,"events":7,'
        b'"crossed":{"40":"e3","60":null,"80":null}}\n'
    )


def test_a_session_of_a_wave_says_so():
    """Its score is not its own: of how many newcomers it is, comes after all else."""
    session = SessionScore("s", "a", 5, 41.5, 119.0, events=7, together=3)

    assert session.as_json().endswith(b'"80":null},"together":3}\n')


def test_auto_enforces_in_a_replay_and_nothing_else_changes():
    """Nothing is sent in a replay, so what enforces where there is a webhook enforces here."""
    modes = [
        {"name": mode, "match": {"agents": ["x"]}, "mode": mode}
        for mode in ("auto", "observe", "enforce")
    ]
    config = load_config(overrides={"policy": modes})

    assert [policy.mode for policy in enforced(config).policies] == [
        "enforce",
        "observe",
        "enforce",
        "enforce",
    ]


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        pytest.param("events.jsonl", b"", ConfigError, id="empty"),
        pytest.param("events.jsonl.gz", b"plain", SourceError, id="not compressed"),
    ],
)
def test_a_recording_that_cannot_be_replayed_is_an_error_of_ours(name, content, error, tmp_path):
    """A recording that is empty or damaged is named."""
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(error, match=name):
        replay(path, CONFIG)
