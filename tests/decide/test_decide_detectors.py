"""Detectors in decisions: their share in the evidence, and everything in a dump."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astray import blob
from astray.config import load_config
from astray.config_detectors import Detector
from astray.decide.decider import Decider
from astray.decide.evidence import evidence_of
from astray.detectors.telling import names_of
from astray.errors import StateError
from astray.events import Event
from made import HOUR_US, START_US, records_of, row_of
from offered import offering

ECHO = {"name": "echo", "model": "echo", "warmup": 1}


@pytest.fixture(autouse=True)
def offered(tmp_path):
    """Have some detectors offered, as if their package were installed."""
    with offering(tmp_path):
        yield


def config_of(*tables, shards=1):
    """Return a configuration with low limits and these detectors."""
    return load_config(
        overrides={
            "events": {"shards": shards},
            "default_policy": {"alert": {"score": 3.0}, "suspend": {"score": 90.0}},
            "detector": list(tables),
        }
    )


def window(hour, sizes, *, ended, first=0):
    """Return sessions that moved so many bytes; all else about them is the same."""
    sessions = []
    for number, size in enumerate(sizes, first):
        event = Event(
            ts_us=START_US + hour * HOUR_US, agent=f"bot-{number}", action="read", session="s"
        )
        row = row_of(event, ended=ended)
        row["total"][1] = size
        sessions.append((event, row))
    return records_of(0, START_US + hour * HOUR_US, *sessions)


def fed(decider, hours=6):
    """Have a decider see some hours of calm sessions."""
    draws = np.random.default_rng(1)
    for hour in range(hours):
        sizes = draws.integers(100, 200, 30).tolist()
        decider.decide([window(hour, sizes, ended=True, first=30 * hour)])
    return decider


def test_what_a_detector_finds_is_decided_and_told():
    """A session that is odd to it alone: rare among those that it has an opinion of.

    The oddest of these is its equal, as it would have been were the newcomer not there.
    """
    decider = fed(Decider(config_of(ECHO)))

    ruling = decider.decide([window(6, [10**9], ended=False, first=999)])

    (decision,) = ruling.decisions
    (reason,) = decision.evidence
    # A hundred and eighty are past; the first thirty ended before it had learnt anything.
    assert decision.n == pytest.approx(151 / 2)
    assert (reason.channel, reason.level, reason.share) == ("echo", "fleet", 1.0)
    assert reason.sentence == (
        "bot-999: the detector echo over the fleet's sessions finds the mix of its totals unusual; "
        "1 in 151 sessions is as unusual"
    )


def test_without_it_nothing_would_be():
    """The same sessions are all alike to the core."""
    decider = fed(Decider(config_of()))

    assert decider.decide([window(6, [10**9], ended=False, first=999)]).decisions == []


def test_shares_of_detectors_add_up_with_those_of_the_core():
    """Nine parts of the squares to one, sixteen to the other."""
    detectors = (Detector(name="hst", model="river.anomaly.HalfSpaceTrees", per="group"),)
    event = Event(ts_us=START_US, agent="bot", action="read", event_id="e1")
    bits = np.zeros(len(names_of(detectors)), np.float32)
    bits[names_of(detectors).index("denials")], bits[-1] = 6.0, 8.0

    found = evidence_of(row_of(event), bits, (), event, None, detectors)

    assert [(reason.channel, reason.share) for reason in found] == [
        ("hst", pytest.approx(0.64)),
        ("denials", pytest.approx(0.36)),
    ]
    assert found[0].sentence == (
        "bot: half-space trees over its group's sessions find the mix of its totals unusual; "
        "1 in 256 sessions is as unusual"
    )
    assert found[0].event_ids == ("e1",)


def _story(sizes, cut, config):
    """Return what is ruled after a cut, live and from a dump made there."""
    live = Decider(config)
    hours = [window(hour, some, ended=True, first=hour * 50) for hour, some in enumerate(sizes)]
    asked = [window(hour, [10**6], ended=False, first=7777) for hour in range(len(sizes))]
    for hour in range(cut):
        live.decide([hours[hour], asked[hour]])
    restored = Decider.load(live.dump(), config)
    told = []
    for decider in (live, restored):
        rulings = [decider.decide([hours[h], asked[h]]) for h in range(cut, len(sizes))]
        scored = [row for ruling in rulings for some in ruling.scored for row in some.tolist()]
        told.append((scored, [d for ruling in rulings for d in ruling.decisions]))
    return told


@settings(max_examples=20)
@given(
    st.lists(st.lists(st.integers(0, 10**6), min_size=3, max_size=9), min_size=2, max_size=6),
    st.integers(0, 6),
)
def test_a_restored_decider_rules_as_if_it_had_never_stopped(sizes, cut):
    """With half-space trees, wherever it is cut."""
    hst = {"name": "hst", "model": "river.anomaly.HalfSpaceTrees", "warmup": 1}
    hst["options"] = {"n_trees": 3, "height": 3, "window_size": 5}

    live, restored = _story(sizes, min(cut, len(sizes)), config_of(hst))

    assert live == restored


def test_asking_how_sessions_stand_changes_nothing():
    """N is that of a ruling, and the state is what it was."""
    config = config_of(ECHO)
    decider = fed(Decider(config))
    odd = window(6, [10**9], ended=False, first=999)
    decider.decide([window(6, [], ended=True)])
    before = decider.dump()

    n, counted = decider.standing(odd.rows)

    assert decider.dump() == before
    assert n.tolist() == decider.decide([odd]).scored[0]["n"].tolist()
    assert counted.tolist() == [151 / 2]


def test_nobody_is_rare_to_a_tenant_without_a_past():
    """1 in 1."""
    n, counted = Decider(config_of()).standing(window(0, [1, 2], ended=False).rows)

    assert n.tolist() == counted.tolist() == [1.0, 1.0]


def test_a_dump_without_detectors_goes_on_with_some_and_back():
    """They begin anew, and what they have learnt is left behind when they go."""
    plain = fed(Decider(config_of()))

    with_one = fed(Decider.load(plain.dump(), config_of(ECHO)))
    back = Decider.load(with_one.dump(), config_of())

    assert b"detectors" not in plain.dump()
    assert with_one.panel.columns[0].startswith("echo:")
    assert b"detectors" not in back.dump()
    assert back.reference_sessions() == with_one.reference_sessions()


def test_a_model_that_is_damaged_is_told():
    """The run says which detector's state it is, instead of beginning it anew in silence."""
    meta, arrays = blob.unpack(fed(Decider(config_of(ECHO))).dump(), "decider")
    arrays["detectors:model0"][-5:] = 0

    with pytest.raises(StateError, match="detector echo: what it had learnt is damaged"):
        Decider.load(blob.pack("decider", meta, arrays), config_of(ECHO))
