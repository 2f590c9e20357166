"""MIDAS-R: bursts against their own history, in bounded memory, the same wherever it runs."""

import doctest
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.config import load_config
from astray.detectors import midas as module
from astray.detectors.midas import MidasR
from astray.detectors.models import check_detectors, features_for, model_of, origin_of
from astray.detectors.panel import Panel
from astray.errors import ConfigError
from baselines.midas import chi_squared
from made import HOUR_US, START_US, ended_rows

TABLE = {"name": "bursts", "model": "midas-r", "warmup": 1}


def session(agent, hour, group=1):
    """Return a session as it is seen."""
    return {"agent": float(agent), "group": float(group), "hour": float(hour)}


def taught(sessions, **options):
    """Return a model that has learnt sessions."""
    model = MidasR(**options)
    for each in sessions:
        model.learn_one(each)
    return model


def excess(model, of):
    """Return the excess that a score is of."""
    return math.expm1(model.score_one(of) * math.log1p(1e9))


def configured(**changes):
    """Return a configuration with the detector."""
    return load_config(overrides={"detector": [{**TABLE, **changes}]})


def test_its_excess_is_that_of_the_paper():
    """Ten hours with a session each and one with six: as an exact count says."""
    hours = [*range(10), 10, 10, 10, 10, 10]
    model = taught(session(1, hour) for hour in hours)

    recent = sum(0.5 ** (10 - hour) for hour in hours) + 1.0

    assert excess(model, session(1, 10)) == pytest.approx(chi_squared(recent, 16.0, 11))


def test_a_burst_fades():
    """Hour by hour it is less of one."""
    model = taught([*(session(1, hour) for hour in range(40)), *[session(1, 40)] * 50])

    scores = [excess(model, session(1, hour)) for hour in (40, 41, 42, 44)]

    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 1000.0 > scores[-1]


def test_less_than_usual_is_no_excess():
    """Who falls silent is not what this is about."""
    model = taught(session(1, hour) for hour in range(40) for _ in range(9))

    assert model.score_one(session(1, 60)) == 0.0


def test_agents_together_are_a_burst_of_their_group():
    """None of them has done anything twice."""
    usual = [session(hour, hour) for hour in range(100)]
    model = taught([*usual, *(session(agent, 100) for agent in range(1000, 1100))])

    assert excess(model, session(5000, 100)) > 50 * excess(model, session(5000, 100, group=2))


def test_what_comes_late_rewinds_nothing():
    """It counts in the hour that there is."""
    events = [session(1, hour) for hour in (0, 9)]
    late, in_time = taught([*events, session(1, 3)]), taught([*events, session(1, 9)])

    assert late.score_one(session(1, 9)) == in_time.score_one(session(1, 9))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50)), max_size=60), st.integers(0, 5))
def test_scoring_changes_nothing(sessions, agent):
    """Its state is the same before and after, and a state goes on as if nothing had happened."""
    model = taught(session(*each) for each in sessions)
    before = pickle.dumps(model)

    score = model.score_one(session(agent, 51))

    assert pickle.dumps(model) == before
    assert pickle.loads(before).score_one(session(agent, 51)) == score  # noqa: S301 - its own
    assert 0.0 <= score <= 1.0


def test_memory_does_not_grow():
    """Ten thousand agents take what one does."""
    few, many = taught([session(1, 1)]), taught(session(agent, 1) for agent in range(10_000))

    assert len(pickle.dumps(few)) == len(pickle.dumps(many)) < 110_000


def test_other_seeds_place_otherwise():
    """What shares a cell by one seed does not by another."""
    one, other = (taught([session(1, 1)], seed=seed, buckets=64) for seed in (1, 2))

    assert not np.array_equal(one._total, other._total)


@pytest.mark.parametrize(
    "options", [{"rows": 0}, {"buckets": 1}, {"decay": 1.0}, {"decay": -0.5}], ids=str
)
def test_options_have_bounds(options):
    """A mistake is a sentence of the configuration."""
    with pytest.raises(ConfigError, match="must be"):
        check_detectors(configured(options=options))


def test_it_is_a_detector_like_any_other():
    """By its name, judged and kept: a panel that was restored says the same, whatever version."""
    config = configured()
    check_detectors(config)
    panels = [Panel(config.detector, 6.0), Panel(config.detector, 6.0)]
    rows = ended_rows([0.0] * 30, group=9 << 20, tenant=3)
    rows["session"] = rows["agent"] = np.arange(30) << 20
    for hour in range(20):
        rows["start_us"] = rows["ts_us"] = START_US + hour * HOUR_US
        some = rows[: 30 if hour == 19 else 2]
        panels[0].note(some, np.ones(len(some)))
        panels[0].turn(START_US + (hour + 1) * HOUR_US)

    panels[1].load(*panels[0].dump())
    found = [panel.detect(rows[-2:], keep=False).tolist() for panel in panels]
    rows["group"] = 10 << 20
    calm = panels[0].detect(rows[-2:], keep=False).tolist()

    assert found[0] == found[1]
    assert found[0] > calm
    assert origin_of(config.detector[0]) == "midas-r"
    assert isinstance(model_of(config.detector[0]), MidasR)


@pytest.mark.parametrize(
    "features", [[], ["agent", "group", "hour", "bytes"]], ids=["its own", "more"]
)
def test_without_features_it_looks_at_what_it_needs(features):
    """Whose a session is and when, as if they had been named; others may be named beside them."""
    (detector,) = configured(features=features).detector

    check_detectors(configured(features=features))

    assert features_for(detector) == tuple(features or ("agent", "group", "hour"))


def test_features_that_it_cannot_do_without_are_told():
    """A sentence of the check names the first that is not there."""
    with pytest.raises(ConfigError) as caught:
        check_detectors(configured(features=["bytes", "agent", "group"]))

    assert caught.value.problems == (
        "detector.0.features: MidasR asks for hour, which is none of them",
    )


def test_the_examples_are_true():
    """What docstrings show is what is returned."""
    failed, tried = doctest.testmod(module)

    assert failed == 0
    assert tried > 0
