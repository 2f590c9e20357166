"""The bench's own run gives the scores of a replay, and its experiments change one thing each."""

import dataclasses

import numpy as np
import pytest

from astray.baseline.fusion import FAMILIES, FAMILY_OF
from astray.baseline.layout import AGE_CLASSES, STATISTICS
from astray.config import load_config
from astray.events import Event
from astray.lab.labels import read_labels
from astray.lab.replay import replay
from astray.lab.simulate import SimulationOptions, simulate, write
from core import feed, new_shard, small_config
from detection.core import run
from detection.experiments import (
    FUSIONS,
    reranked,
    ungated,
    unranked,
    without_family,
    without_peers,
)
from detection.lines import read_bytes, read_events
from detection.recordings import Recording, contaminated, fleets, real
from running import lines
from strategies import NOW_US

CONFIG = load_config()
HOUR_US = 3_600_000_000


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Make a small recording with attacks."""
    folder = tmp_path_factory.mktemp("bench")
    options = SimulationOptions(
        agents=12, agents_per_group=4, days=8, seed=4,
        attacks={"enumeration": 5, "exfiltration": 5, "mimicry": 5},
    )  # fmt: skip
    made = Recording("small", folder, options)
    assert made.placed()
    return made


@pytest.fixture(scope="module")
def plain(recording):
    """Run it as it is."""
    wanted = {label.first_bad_event for label in recording.labels().values()} - {""}
    return run(recording.events, CONFIG, wanted)


def n_of(done):
    """Return the n of all sessions."""
    return {(one.agent, one.session): one.n for one in done.sessions}


def test_the_bench_scores_what_a_replay_scores(recording, plain):
    """Sessions, steps, decisions and times are those of the dataflow, to the bit."""
    labels = read_labels(recording.label_file)

    through_flow = replay(recording.events, CONFIG, labels)

    assert [one.as_json() for one in plain.sessions] == [
        one.as_json() for one in through_flow.sessions
    ]
    assert [one.steps for one in plain.sessions] == [one.steps for one in through_flow.sessions]
    assert {d.id for d in plain.decisions} == {d.id for d in through_flow.decisions}
    assert plain.event_us == through_flow.event_us


def test_the_bench_knows_what_is_sensitive_as_a_replay_does(recording, plain):
    """With tags, too, it scores what a replay scores; and they make a difference."""
    tagged = load_config(overrides={"sensitive": {"actions": ["*read*", "*list*", "*get*"]}})

    done, through_flow = run(recording.events, tagged), replay(recording.events, tagged)

    assert n_of(done) == n_of(through_flow) != n_of(plain)


def test_every_session_has_its_statistics_and_the_age_of_its_agent(recording, plain):
    """Statistics are those at the end, and an agent's first sessions are of the youngest class."""
    statistics, ages = plain.statistics(), plain.ages()

    assert set(statistics) == set(ages) == set(recording.labels())
    assert all(len(values) == len(STATISTICS) for values in statistics.values())
    assert set(ages.values()) == set(range(AGE_CLASSES))
    first = {}
    for one in plain.sessions:
        first.setdefault(one.agent, ages[one.agent, one.session])
    assert set(first.values()) == {0}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_that_is_off_says_nothing(recording, plain, family):
    """Its statistics are 0, all others are what they were, and scores change."""
    done = run(recording.events, CONFIG, (), without_family(family))

    off = FAMILIES.index(family) == FAMILY_OF
    statistics = plain.statistics()
    for key, values in done.statistics().items():
        assert not values[off].any()
        assert np.array_equal(values[~off], statistics[key][~off])
    assert n_of(done) != n_of(plain)


def test_without_peers_nobody_is_like_another(recording, plain):
    """An agent alone in its group is never more like its group than like itself."""
    done = run(recording.events, CONFIG, (), without_peers())

    place = STATISTICS.index("impersonation_action")
    alone, among_peers = (
        np.mean([values[place] for values in some.statistics().values()]) for some in (done, plain)
    )
    assert alone < 0.7 * among_peers


@pytest.mark.parametrize("changes", [{}, ungated()], ids=["gated", "ungated"])
def test_without_gating_an_odd_session_teaches_like_any_other(changes):
    """What was odd is known the next time; with gating it takes three times."""
    usual = Event(
        ts_us=NOW_US, agent="a", action="read", resources=("x",), group="g", session_end=True
    )
    odd = dataclasses.replace(usual, action="destroy", resources=("vault",), bytes=10**9)
    events = [
        dataclasses.replace(
            odd if hour >= 200 else usual, ts_us=NOW_US + (hour - 300) * HOUR_US, session=f"{hour}"
        )
        for hour in range(204)
    ]

    records = feed(new_shard(small_config(**changes)), events)

    place = STATISTICS.index("novelty_sum")
    ended = [row for some in records for row in some.rows if row["row"] == -1]
    first, second, third, fourth = (float(row["statistic"][place]) for row in ended[-4:])
    assert first > 0.0
    assert (second == 0.0) is bool(changes)
    assert (third == 0.0) is bool(changes)
    assert fourth == 0.0


def test_ranking_the_norm_again_orders_sessions_as_the_product_does(recording):
    """The bench's own ranking agrees with the product's norm, but for when tables turn."""
    wanted = {label.first_bad_event for label in recording.labels().values()} - {""}
    plain = run(recording.events, load_config(overrides={"reference": {"rehearsals": 0}}), wanted)
    own, again = n_of(plain), reranked(plain, FUSIONS["norm"])

    assert set(own) == set(again)
    pairs = np.array([(own[key], again[key]) for key in own])
    order = np.argsort(np.argsort(pairs, axis=0), axis=0)
    assert np.corrcoef(order.T)[0, 1] > 0.9


def test_other_fusions_lie_in_their_order(plain):
    """The largest is at most the norm, which is at most the sum; averages are below the largest."""
    fused = {name: unranked(plain, fuse) for name, fuse in FUSIONS.items()}

    for key in fused["norm"]:
        largest, norm, total = (fused[name][key] for name in ("largest", "norm", "sum"))
        assert largest - 1e-4 <= norm <= total + 1e-4
        assert fused["averages of families"][key] <= total + 1e-4


def test_recordings_that_are_not_there_are_known_to_be_absent(tmp_path):
    """Only fleets can be made; what others recorded is there or not."""
    assert [one.placed() for one in real(tmp_path)] == [False] * 4


def test_fleets_have_permanent_names_and_seeds(tmp_path):
    """Names tell fleets of different seeds and contaminations apart."""
    made = [*fleets(tmp_path), *(contaminated(tmp_path, each) for each in (0.1, 20.0))]

    assert [one.name for one in made][-3:] == [
        "simulate-15",
        "simulate-contaminated-0.1",
        "simulate-contaminated-20",
    ]
    few, many = (sum(one.options.attacks.values()) for one in made[-2:])
    assert 6 <= few < 20
    assert many > 2000


def test_a_recording_is_read_packed_or_not(tmp_path, recording):
    """The bytes are the same, the last line is ended, and the digest is of the content's files."""
    data = read_bytes(recording.events)
    (tmp_path / "plain.jsonl").write_bytes(data[:-1])

    assert read_bytes(tmp_path / "plain.jsonl") == data
    assert sum(1 for _ in read_events(recording.events)) == data.count(b"\n")
    write(
        simulate(dataclasses.replace(recording.options, seed=5)),
        tmp_path / "small.events.jsonl.gz",
        tmp_path / "small.labels.jsonl.gz",
    )
    assert recording.digest() != Recording("small", tmp_path).digest()


def test_of_a_session_that_was_cut_the_largest_statistics_count(tmp_path):
    """What was new in the first piece is not forgotten because nothing was in the last."""
    path = tmp_path / "events.jsonl"
    actions = ["read"] * 10 + ["destroy"] + ["read"] * 24
    events = [
        Event(ts_us=NOW_US - (900 - at) * 1_000_000, agent="a", action=action, session="s")
        for at, action in enumerate(actions)
    ]
    path.write_bytes(lines(events))

    done = run(path, load_config(overrides={"sessions": {"events_max": 10}}))

    pieces = [row["statistic"] for _, row in done.pieces()]
    assert len(pieces) == 4
    assert np.array_equal(done.statistics()["a", "s"], np.max(pieces, axis=0))
    assert not np.array_equal(done.statistics()["a", "s"], pieces[-1])
