"""The yardsticks of detection: each sees what it is for, from the past only."""

import copy
import doctest
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astray.events import Event
from baselines import counting, midas, pitman_yor
from baselines.counting import BackOff, Frequency, Markov
from baselines.midas import MidasR, chi_squared
from baselines.pitman_yor import PitmanYorFisher, Urn, fisher_bits
from baselines.protocol import SessionAggregates, scored_sessions

MINUTE_US = 60_000_000
START_US = 1_795_312_800_000_000 - 1_795_312_800_000_000 % MINUTE_US

OWN = {"frequency": Frequency, "markov": Markov, "pitman-yor": PitmanYorFisher, "midas": MidasR}


def all_baselines():
    """Return the baselines, those of river if it is there."""
    pytest.importorskip("river", reason="river is in the bench extra")
    from baselines.registry import BASELINES  # noqa: PLC0415 - it needs river

    return BASELINES


def event(at=0, action="read", resource="a", agent="agent", session="s", **fields):
    """Return an event some minutes after the start."""
    resources = (resource,) if resource else ()
    return Event(
        ts_us=START_US + at * MINUTE_US, agent=agent, action=action, session=session,
        resources=resources, **fields,
    )  # fmt: skip


def usual(count=200, agent="agent"):
    """Return a stream of sessions in which an agent reads, lists and writes the same things."""
    steps = [("read", "a"), ("list", "b"), ("write", "a")]
    return [
        event(at, *steps[at % 3], agent=agent, session=f"s{at // 3}", group="group")
        for at in range(count)
    ]


def taught(baseline, events):
    """Show a baseline events in order, as a run does; return it."""
    for one in events:
        baseline.score_one(one)
        baseline.learn_one(one)
    return baseline


small_events = st.builds(
    event,
    at=st.integers(0, 9),
    action=st.sampled_from("rwx"),
    resource=st.sampled_from(["", "a", "b"]),
    agent=st.sampled_from("mn"),
    session=st.sampled_from("st"),
    count=st.integers(1, 3),
    source=st.sampled_from(["", "here"]),
)


@pytest.mark.parametrize("name", OWN)
@given(st.lists(small_events, max_size=12), small_events)
def test_asking_for_a_score_teaches_nothing(name, past, asked):
    """However often an event is scored, what is scored next is as if it had not been."""
    baseline = taught(OWN[name](), past)
    untouched = copy.deepcopy(baseline)

    scores = [baseline.score_one(asked) for _ in range(3)]

    assert len(set(scores)) == 1
    assert math.isfinite(scores[0])
    for one in [*past, asked]:
        assert baseline.score_one(one) == untouched.score_one(one)


def test_every_baseline_follows_the_protocol():
    """All that is registered scores before it learns, gives finite numbers, and repeats itself."""
    for kind in all_baselines().values():
        first, second = kind(), kind()
        for one in usual(40):
            before = first.score_one(one)
            assert math.isfinite(before)
            assert before == second.score_one(one)
            first.learn_one(one)
            second.learn_one(one)


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        pytest.param("frequency", {"action": "delete"}, id="frequency: a new action"),
        pytest.param("frequency", {"resource": "c"}, id="frequency: a new resource"),
        pytest.param("markov", {"action": "write"}, id="markov: a step never taken"),
        pytest.param("pitman-yor", {"action": "delete"}, id="pitman-yor: a new action"),
        pytest.param("pitman-yor", {"resource": "c"}, id="pitman-yor: a new resource"),
        pytest.param("midas", {"count": 50}, id="midas: a burst"),
    ],
)
def test_each_sees_what_it_is_for(name, odd):
    """After a regular stream, what the baseline is made for scores above what is usual."""
    baseline = taught(OWN[name](), usual())
    normal = event(200, session="new", group="group")

    score = baseline.score_one(event(200, session="new", group="group", **odd))

    assert score > baseline.score_one(normal) + 1.0


def test_frequency_knows_what_peers_do():
    """What only peers have done is less odd than what nobody has done."""
    baseline = taught(Frequency(), [*usual(), event(200, "deploy", agent="peer", group="group")])

    seen = baseline.score_one(event(201, "deploy", group="group"))

    assert seen < baseline.score_one(event(201, "destroy", group="group"))


def test_of_several_resources_the_rarest_counts():
    """An event on a known and an unknown resource is as odd as one on the unknown alone."""
    baseline = taught(Frequency(), usual())
    both = Event(ts_us=START_US, agent="agent", action="read", resources=("a", "new"))

    assert baseline.score_one(both) == baseline.score_one(event(action="read", resource="new"))


def test_steps_belong_to_a_session():
    """An action follows the last one of its own session, whatever other sessions do meanwhile."""
    interleaved = [
        event(at, action, session=session)
        for at in range(50)
        for action, session in (("open", f"one{at}"), ("list", f"two{at}"),
                                ("close", f"one{at}"), ("list", f"two{at}"))
    ]  # fmt: skip
    baseline = taught(Markov(), interleaved)

    baseline.learn_one(event(60, "open", session="now"))

    closing, listing = (baseline.score_one(event(60, a, session="now")) for a in ("close", "list"))
    assert closing < 0.5
    assert listing > 5.0


def test_probabilities_of_all_known_items_and_a_new_one_add_up():
    """Back-off leaves exactly as much for something new as it takes from what is known."""
    counts = BackOff()
    for item in "aabbbc":
        counts.learn(["narrow", "wide"], item)

    total = sum(2.0 ** -counts.bits(["narrow", "wide"], item) for item in "abcd")

    assert total == pytest.approx(1.0)


def mid_p_by_definition(items, asked):
    """Return the mid-p-value from the process's predictive probabilities, one by one."""
    counts = {item: items.count(item) for item in items}
    once, twice = (sum(n == size for n in counts.values()) for size in (1, 2))
    discount = once / (once + 2 * twice) if once and twice else 0.5
    masses = {item: n - discount for item, n in counts.items()}
    masses["new"] = 1.0 + discount * len(counts)
    own = masses.get(asked, masses["new"])
    lower = sum(mass for mass in masses.values() if mass < own)
    equal = sum(mass for mass in masses.values() if mass == own)
    return (lower + equal / 2) / (len(items) + 1.0)


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=30), st.sampled_from("abcz"))
def test_mid_p_values_are_those_of_the_process(items, asked):
    """Counting items by their counts gives what going through all of them gives."""
    urn = Urn()
    for item in items:
        urn.learn(item)

    assert urn.mid_p(asked) == pytest.approx(mid_p_by_definition(items, asked))


@pytest.mark.parametrize(
    ("p_values", "combined"),
    [
        pytest.param([0.25], 0.25, id="one stays as it is"),
        pytest.param([1.0, 1.0], 1.0, id="nothing odd"),
        pytest.param([0.1, 0.1], 0.01 * (1 - math.log(0.01)), id="two"),
    ],
)
def test_fisher_worked_out_by_hand(p_values, combined):
    """The combined p-value of two is p(1 - ln p) of their product."""
    assert fisher_bits(p_values) == pytest.approx(-math.log2(combined))


def test_midas_is_calm_about_a_steady_stream():
    """An event every minute for hours never stands out, nor does a new pair of known parts."""
    baseline = taught(MidasR(), [event(at) for at in range(300)])

    assert baseline.score_one(event(300)) < 5.0


def test_midas_sees_a_flood_of_many_agents():
    """No agent does much, all together do: the resource stands out."""
    baseline = taught(MidasR(), [event(at) for at in range(300)])
    flood = [event(300, agent=f"bot-{number}") for number in range(60)]

    scores = [taught_score(baseline, one) for one in flood]

    assert scores[-1] > 100.0 > scores[0]


def taught_score(baseline, one):
    """Score an event, then teach it."""
    score = baseline.score_one(one)
    baseline.learn_one(one)
    return score


def test_a_burst_is_forgotten():
    """Long after a burst one more event is nothing; right after it, it is."""
    assert chi_squared(0.0, 0.0, 5) == 0.0
    bursts = [event(0), *(event(at) for at in [999] * 50)], [event(0) for _ in range(51)]

    lately, long_ago = (taught(MidasR(), events).score_one(event(1000)) for events in bursts)

    assert lately > 10_000.0
    assert long_ago < 20.0


def test_sessions_are_aggregated_in_three_ways():
    """The largest, the mean and the sum of a session's scores, sessions of agents apart."""

    class Scripted:
        """Gives scores in an order of its own."""

        def __init__(self):
            self.scores = [1.0, 5.0, 2.0, 3.0]

        def score_one(self, event):
            return self.scores[0]

        def learn_one(self, event):
            self.scores.pop(0)

    places = [("a", "s"), ("a", "s"), ("b", "s"), ("a", "s")]
    events = [event(agent=agent, session=session) for agent, session in places]

    found = scored_sessions(events, {"scripted": Scripted()})

    assert found == {
        "scripted": {
            ("a", "s"): SessionAggregates(5.0, 3.0, 9.0),
            ("b", "s"): SessionAggregates(2.0, 2.0, 2.0),
        }
    }


@pytest.mark.parametrize("module", [counting, midas, pitman_yor], ids=lambda m: m.__name__)
def test_examples_are_true(module):
    """What the docstrings show is what happens."""
    assert doctest.testmod(module).failed == 0


def test_features_stay_between_0_and_1():
    """Half-space trees cut the unit cube: no event may lie outside."""
    all_baselines()
    from baselines.river_models import Features  # noqa: PLC0415 - it needs river

    features = Features()
    extremes = [
        event(at, action, source=source, bytes=size, outcome="denied")
        for at, (action, source, size) in enumerate(
            itertools.product(["read", "new"], ["", "here"], [0, 2**53])
        )
    ]
    for one in extremes:
        found = features.of(one)
        features.learn(one)

        assert len(found) == 8
        assert all(0.0 <= value <= 1.0 for value in found.values())
