"""astray as a detector of river's: the core itself, pure in scoring, equal in batches."""

import copy
import doctest
import itertools
import math
import pickle
import random
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import checks, compose, evaluate, metrics, preprocessing

import astray
from astray.baseline import observe
from astray.baseline.buffers import RECORD
from astray.errors import ConfigError, StateError
from astray.events.decoding import rows_of
from astray.lab import detector as module
from astray.lab import standing
from astray.lab.detector import Detector
from astray.lab.items import BEGIN_US, FEATURES_MAX, Items
from made import START_US

START_S = START_US // 1_000_000
AWAKE = {"sessions": {"idle_s": 1e6}}


def samples(count, odd_share=0.05, calm=0, seed=1):
    """Return samples of six features like those of card payments, and which of them are odd."""
    draws = random.Random(seed)
    found = []
    for place in range(count):
        odd = place >= calm and draws.random() < odd_share
        x = {f"v{number}": draws.gauss(0.0, 1.0) for number in range(5)}
        x["amount"] = math.exp(draws.gauss(3.0, 1.0))
        if odd:
            for name in ("v1", "v3"):
                x[name] += draws.choice((-6.0, 6.0))
        found.append((x, odd))
    return found


class _Data:
    def __init__(self, *data):
        self.data = data

    def __iter__(self):
        yield from self.data


def _checks():
    return {check.__name__: check for check in checks.yield_checks(Detector())}


@pytest.mark.parametrize("name", sorted(_checks()))
def test_it_keeps_river_conventions(name):
    """All of river's own checks of an anomaly detector, on samples that need no download."""
    check = _checks()[name]

    if hasattr(check, "func"):
        check.func(Detector(), dataset=_Data(*samples(150)))
    else:
        check(Detector())


def test_odd_samples_are_found_before_they_are_learnt():
    """As river evaluates, with its metric; features need no scale, and no configuration."""
    data = samples(1500, calm=300)

    metric = evaluate.progressive_val_score(data, Detector(), metrics.ROCAUC(n_thresholds=50))

    assert metric.get() > 0.95


def test_it_stands_in_a_pipeline():
    """Behind a scaler it gives what it gives alone, as only order and spread count."""
    model = compose.Pipeline(preprocessing.StandardScaler(), Detector())
    data = samples(400, calm=200)
    scores = {True: [], False: []}

    for x, odd in data:
        scores[odd].append(model.score_one(x))
        model.learn_one(x)

    assert np.mean(scores[True]) > np.mean(scores[False]) + 0.1
    assert model["Detector"].clone().score_one({"v1": 1.0}) == 0.0


FIELDS = {
    "agent": st.sampled_from(["ann", "ben", "cid"]),
    "action": st.sampled_from(["read", "write", "drop"]),
    "session": st.sampled_from(["s", "t"]),
    "resource": st.sampled_from(["x", "y", "z", ""]),
    "source": st.sampled_from(["10.0.0.1", ""]),
    "group": st.sampled_from(["", "g"]),
    "tenant": st.sampled_from(["", "acme"]),
    "bytes": st.integers(0, 10**6),
    "outcome": st.sampled_from(["success", "denied"]),
    "session_end": st.sampled_from([False, False, True]),
}


@st.composite
def event_streams(draw, most=40, gap_s=2000):
    """Draw events of a few agents in their order, some of them without a field or two."""
    ts, found = START_S, []
    for _ in range(draw(st.integers(1, most))):
        ts += draw(st.integers(0, gap_s))
        event = draw(st.fixed_dictionaries({"ts": st.just(ts)}, optional=FIELDS))
        found.append(event if {"agent", "action"} & event.keys() else event | {"agent": "ann"})
    return found


@settings(max_examples=40)
@given(event_streams())
def test_a_score_is_that_of_the_core_when_the_event_has_come(stream):
    """The session's record is the very one that the shard has of it after the event."""
    detector = Detector(AWAKE)
    for x in stream:
        (event,) = detector._items.events_of(x)
        rows, resources = rows_of([event])
        window_us = detector._shard.window_us
        if window_us:
            looked = detector._onlooker.standing(detector._shard, rows, resources)[0]
        detector.learn_one(x)
        open_ = [row for some in detector._shard.open_sessions() for row in some.rows]
        same = [row for row in open_ if row["session"] == looked["session"]] if window_us else []
        if window_us != detector._shard.window_us or event.session_end:
            continue

        (record,) = same
        for name in set(RECORD.names) - {"row", "number", "ts_us", "tags", "group"}:
            assert np.array_equal(record[name], looked[name]), name


def test_there_is_room_for_as_much_evidence():
    """One event of a look can leave as much as one of the stream."""
    assert standing.EVIDENCE_MAX > observe._EVIDENCE_MARGIN


def _pickled(detector):
    return pickle.loads(pickle.dumps(detector))  # noqa: S301 - it was made a moment ago


def _state(detector):
    return detector.__getstate__()["state"]


samples_or_events = st.one_of(
    event_streams(most=12),
    st.lists(
        st.dictionaries(st.sampled_from("abcd"), st.floats(-10, 10) | st.sampled_from("xy"), max_size=4),
        max_size=12,
    ),
)  # fmt: skip


@settings(max_examples=30)
@given(samples_or_events, samples_or_events)
def test_scoring_changes_nothing(learnt, scored):
    """Not a byte of the state, whatever is asked, in one go or one by one."""
    detector = Detector()
    detector._learn(learnt)
    before = _state(detector)

    one_by_one = [detector.score_one(x) for x in scored]
    together = detector._scores(scored).tolist()

    assert _state(detector) == before
    assert one_by_one == together == [detector.score_one(x) for x in scored]
    assert all(0.0 <= score <= 1.0 for score in together)


@settings(max_examples=30)
@given(samples_or_events, st.integers(1, 5))
def test_batches_change_nothing(stream, size):
    """What is learnt in batches is what is learnt one by one, to the byte."""
    one, many = Detector(), Detector()

    for x in stream:
        one.learn_one(x)
    for first in range(0, len(stream), size):
        many._learn(stream[first : first + size])

    assert _state(one) == _state(many)


@pytest.mark.parametrize("form", [pd.DataFrame, dict], ids=["data frame", "dict of arrays"])
def test_columns_give_what_rows_give(form):
    """Of a data frame and of a dict of arrays; what is missing in a row is missing."""
    rows = [x for x, _ in samples(120)]
    rows[7] = {**rows[7], "v1": float("nan")}
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    one, many = Detector(), Detector()

    for x in rows[:100]:
        one.learn_one(x)
    many.learn_many(form({name: columns[name][:100] for name in columns}))

    assert _state(one) == _state(many)
    asked = form({name: columns[name][100:] for name in columns})
    assert many.score_many(asked).tolist() == [one.score_one(x) for x in rows[100:]]
    assert many.score_many(form({})).tolist() == []


def test_events_come_in_columns_too():
    """Texts, times and all, as a data frame has them."""
    minutes = pd.date_range("2026-11-22", periods=300, freq="7min", tz="UTC")
    frame = pd.DataFrame({"ts": minutes, "agent": "bot", "action": "read", "session_end": True})
    one, many = Detector(), Detector()

    many.learn_many(frame)
    for ts in minutes:
        one.learn_one({"ts": ts, "agent": "bot", "action": "read", "session_end": True})

    assert _state(one) == _state(many)
    odd = {"ts": minutes[-1], "agent": "bot", "action": "drop"}
    assert one.score_one(odd) > one.score_one({**odd, "action": "read"})


@settings(max_examples=20)
@given(samples_or_events, samples_or_events)
def test_copies_go_on_by_themselves_and_exactly(before, after):
    """A pickle and a deep copy; a clone has learnt nothing."""
    detector = Detector()
    detector._learn(before)
    copies = [_pickled(detector), copy.deepcopy(detector)]

    for x in after:
        detector.learn_one(x)
        for one in copies:
            one.learn_one(x)

    assert [_state(one) for one in copies] == [_state(detector)] * 2
    assert _state(detector.clone()) == _state(Detector())


def test_a_damaged_pickle_is_told():
    """It is astray's state, with its checksum."""
    state = Detector().__getstate__()
    broken = state["state"][:-1] + bytes([state["state"][-1] ^ 1])

    with pytest.raises(StateError, match="the detector state is damaged"):
        Detector().__setstate__({**state, "state": broken})


_values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.text(max_size=3) | st.integers(), max_size=3)
    | st.just(object())
    | st.just(b"bytes")
    | st.sampled_from([np.float32(3.5), np.int64(7), np.str_("read"), {"a": 1}, 1e300])
)


@settings(max_examples=60)
@given(
    st.lists(
        st.dictionaries(st.sampled_from([*FIELDS, "ts", "resources", "count", "x"]), _values, max_size=6),
        max_size=6,
    )
)  # fmt: skip
def test_whatever_is_in_a_dict_is_taken_as_far_as_it_goes(stream):
    """Unknown, missing and unreadable values raise nothing, and a score is a score."""
    detector = Detector()

    for x in stream:
        given_ = dict(x)
        score = detector.score_one(x)
        detector.learn_one(x)

        assert 0.0 <= score <= 1.0
        assert list(x) == list(given_)
        assert all(x[name] is given_[name] for name in x)


def test_many_features_are_one_sample():
    """More than an event holds make several events of one session."""
    detector = Detector()
    x = {f"f{number:02d}": "same" for number in range(70)}

    events = detector._items.events_of(x)
    detector.learn_one(x)

    assert [len(event.resources) for event in events] == [32, 32, 6]
    assert [event.session_end for event in events] == [False, False, True]
    assert sum(len(some.rows) for some in detector._shard.open_sessions()) == 0


def test_features_whose_spread_is_known_are_bounded():
    """Of others it counts only that they are there."""
    items = Items(60.0)
    for number, _ in itertools.product(range(FEATURES_MAX + 5), range(2)):
        x = {f"f{number}": float(number)}
        items.learn(x, items.events_of(x))

    assert len(items.dump()["spreads"]) == FEATURES_MAX
    (event,) = items.events_of({f"f{FEATURES_MAX + 1}": 3.0})
    assert event.resources == (f"f{FEATURES_MAX + 1}=any",)


def test_numbers_are_told_apart_by_their_spread():
    """In halves of a standard deviation; far away is far away. Their squares are the size."""
    items = Items(60.0)
    for value in (8.0, 12.0) * 50:
        items.learn({"a": value}, items.events_of({"a": value}))

    steps = [items.events_of({"a": value})[0].resources[0] for value in (10.0, 12.0, 7.0, 1e9)]

    assert steps == ["a=0", "a=2", "a=-3", "a=40"]
    assert [items.events_of({"a": value})[0].bytes for value in (10.0, 12.0, 1e9)] == [
        0,
        1000,
        400_000,
    ]
    assert items.events_of({"b": True})[0].resources == ("b=True",)


def test_events_without_a_time_follow_one_another():
    """A step apart, from the last that was learnt; asking does not move the clock."""
    items = Items(30.0)
    x = {"agent": "bot"}

    first, again = items.events_of(x), items.events_of(x)
    items.learn(x, first)
    (second,) = items.events_of(x)

    assert first == again
    assert first[0].ts_us == BEGIN_US + 30_000_000
    assert second.ts_us == BEGIN_US + 60_000_000
    assert (second.agent, second.action) == ("bot", "-")


def test_a_late_event_does_not_turn_the_clock_back():
    """What does not say when it was comes after all that was learnt, not after what came last."""
    items = Items(30.0)
    for hours in (9, 3):
        late = {"agent": "bot", "ts": BEGIN_US + hours * 3_600_000_000}
        items.learn(late, items.events_of(late))

    (after,) = items.events_of({"agent": "bot"})

    assert after.ts_us == BEGIN_US + 9 * 3_600_000_000 + 30_000_000


def test_its_own_detectors_work_too():
    """From the same configuration, kept with everything else; and so do files."""
    tables = [{"name": "lof", "model": "river.anomaly.LocalOutlierFactor", "warmup": 20}]
    detector = Detector({"detector": tables})
    detector._learn([x for x, _ in samples(200)])

    restored = _pickled(detector)

    odd = {"v1": 60.0}
    assert detector._decider.panel.columns == restored._decider.panel.columns
    assert restored.score_one(odd) == detector.score_one(odd)


def test_what_is_sensitive_counts_for_it_too():
    """A new action that its configuration tags is odder than one that it does not."""
    usual = {"agent": "bot", "action": "read", "session_end": True}
    days = [usual if number % 7 else usual | {"action": f"try-{number}"} for number in range(400)]
    norm = {"reference": {"rehearsals": 0}}
    plain = Detector(norm, 3600.0)
    tagging = Detector(norm | {"sensitive": {"actions": ["iam.*"]}}, 3600.0)
    for detector in (plain, tagging):
        for x in days:
            detector.learn_one(x)

    odd, other = usual | {"action": "iam.grant"}, usual | {"action": "try-x"}

    assert tagging.score_one(odd) > plain.score_one(odd) + 0.05
    assert plain.score_one(odd) == plain.score_one(other) == tagging.score_one(other)


def test_a_configuration_that_is_none_is_told_at_once(tmp_path):
    """With all its problems, when the detector is made."""
    file = tmp_path / "astray.toml"
    file.write_text('[[detector]]\nname = "a"\nmodel = "river.anomaly.Nothing"\n')

    with pytest.raises(ConfigError, match=r"detector.0.model: river.anomaly.Nothing"):
        Detector(file)
    with pytest.raises(ConfigError, match=r"baseline\.window_s"):
        Detector({"baseline": {"window_s": -1.0}})


def test_asking_for_astray_is_quick():
    """What is heavy is imported when somebody asks for the detector, and not before."""
    code = (
        "import sys, astray; light = not {'river', 'numba', 'numpy'} & set(sys.modules); "
        "from astray import Detector; print(light, Detector.__name__, 'river' in sys.modules)"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert said.stdout.split() == [b"True", b"Detector", b"True"]
    assert astray.Detector is Detector
    with pytest.raises(AttributeError, match="module 'astray' has no attribute 'Nothing'"):
        astray.Nothing  # noqa: B018 - asking for it is the test


def test_the_example_of_the_detector_is_true():
    """What its docstring shows is what it says."""
    failed, tried = doctest.testmod(module)

    assert failed == 0
    assert tried > 0
