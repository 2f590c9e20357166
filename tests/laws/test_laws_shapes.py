"""Shapes that detectors are known to get wrong, as plain examples on a small fleet.

The laws hold for any stream; these hold the behaviour that people care about: what must be
seen, what must not be, and how far a baseline lets itself be moved.
"""

import dataclasses
import math
import random

import numpy as np
import pytest

from astray.baseline.layout import BYTES, STATISTICS, TOTALS
from astray.events import Event
from core import Core, feed, new_shard, reported
from shapes import CONFIG, HOUR_US, SECOND_US, START_US, id_of, ranked, session

DAY_HOURS = 24

ODD = 100.0
"""1 in so many: what 1 % of normal sessions reach."""


def peers(hours, agents=8, seed=1):
    """Return ordinary sessions of some agents: a few events, of a few kinds, of varying size."""
    generator = random.Random(seed)
    return [
        dataclasses.replace(
            event,
            action=generator.choice(["read", "list", "write"]),
            resources=(generator.choice("abcdef"),),
            bytes=int(1000 * generator.lognormvariate(0.0, 0.5)),
        )
        for hour in range(hours)
        for number in range(agents)
        for event in session(f"peer-{number}", hour, generator.randint(2, 8), at_s=60 * number)
    ]


def n_of(found, events):
    """Return the n of the session of these events."""
    return found[id_of(events[0].agent), events[0].ts_us]


def odd_share(found, agent):
    """Return the share of an agent's sessions, after its first thirty, that look odd."""
    each = [n for (id_, _), n in sorted(found.items()) if id_ == id_of(agent)][30:]
    assert len(each) > 30
    return sum(n >= ODD for n in each) / len(each)


def test_a_regular_agent_that_bursts_is_caught():
    """An agent that is the same every hour does it a hundred times as often: the oddest session."""
    regular = [event for hour in range(120) for event in session("regular", hour)]
    burst = session("regular", 120, 400)

    found = ranked(peers(121), regular, burst)

    assert n_of(found, burst) == max(found.values()) >= 4 * ODD
    assert odd_share(found, "regular") <= 0.02


@pytest.mark.parametrize("offset_s", [0, 1790, 3500], ids=["early", "in the middle", "at the end"])
def test_a_noisy_agent_is_not_punished_for_being_seen_in_mid_window(offset_s):
    """Sessions from 1 to 200 events are this agent's normal, wherever a window cuts them."""
    generator = random.Random(4)
    noisy = [
        event
        for hour in range(150)
        for event in session(
            "noisy",
            hour,
            max(1, min(200, int(generator.lognormvariate(2.5, 1.2)))),
            at_s=offset_s,
        )
    ]

    found = ranked(peers(152), noisy[len(noisy) % 7 :])  # the stream begins in mid-session

    assert odd_share(found, "noisy") <= 0.05  # it varies more than anybody


def orchestrated(hour, callees, depth=1, known=20):
    """Return a session of an agent that hands work on to so many others, all of them known to it."""
    events = session("orchestrator", hour, 20, delegation_depth=depth)
    return [
        dataclasses.replace(event, target_agent=f"worker-{(hour * 7 + place) % known}")
        if 0 < place <= callees
        else event
        for place, event in enumerate(events)
    ]


@pytest.mark.parametrize(
    ("callees", "depth"), [(18, 1), (2, 6)], ids=["far more at once", "a longer chain"]
)
def test_an_agent_that_delegates_as_it_never_did_is_caught(callees, depth):
    """It calls agents it knows: not whom it calls is odd, but how many, or for how many."""
    generator = random.Random(6)
    usual = [
        event
        for hour in range(400)
        for event in orchestrated(hour, generator.randint(1, 3), generator.randint(0, 1))
    ]
    odd = orchestrated(400, callees, depth)

    found = ranked(peers(401), usual, odd)

    assert n_of(found, odd) >= ODD
    assert odd_share(found, "orchestrator") <= 0.03


def test_one_agents_size_does_not_alarm_another():
    """Beside a peer that moves a million times as much, nobody's own sessions look odd."""
    giant = [
        event for hour in range(120) for event in session("giant", hour, 60, size=1_000_000_000)
    ]

    beside, alone = ranked(peers(120), giant), ranked(peers(120))

    shares = [
        np.mean([odd_share(found, f"peer-{number}") for number in range(8)])
        for found in (alone, beside)
    ]
    assert max(shares) <= 0.02
    assert odd_share(beside, "giant") <= 0.02


def test_nothing_is_learnt_before_it_is_scored():
    """What is reported of the past is the same whether or not the stream goes on."""
    past = peers(12, agents=3)
    odd = session("peer-0", 12, 3, size=10**9, action="destroy", resource="vault", at_s=5)
    again = session("peer-0", 13, 3, size=10**9, action="destroy", resource="vault", at_s=5)
    largest = STATISTICS.index("novelty_largest")

    through_odd = reported(feed(new_shard(CONFIG), [*past, *odd]))
    with_more = feed(new_shard(CONFIG), [*past, *odd, *again])

    assert reported(with_more)[: len(through_odd)] == through_odd
    first, second = (
        max(
            float(row["statistic"][largest])
            for some in with_more
            for row in some.rows
            if row["start_us"] == events[0].ts_us and row["agent"] == id_of("peer-0")
        )
        for events in (odd, again)
    )
    assert first > 10.0
    assert second <= first


def test_a_constant_value_does_not_divide_by_zero():
    """An agent that never varies has finite statistics; a byte more is nothing, a million is."""
    constant = [event for hour in range(100) for event in session("constant", hour, 1)]
    hardly, much = session("constant", 100, 1, size=1001), session("constant", 101, 1, size=10**9)

    records = feed(new_shard(CONFIG), [*constant, *hardly, *much])
    found = ranked(peers(102), constant, hardly, much)

    rows = np.concatenate([some.rows for some in records])
    assert np.isfinite(rows["statistic"]).all()
    assert np.isfinite(rows["spread"]).all()
    assert all(math.isfinite(n) and n >= 1.0 for n in found.values())
    assert n_of(found, hardly) < ODD < n_of(found, much)


def test_zeros_alone_do_not_divide_by_zero_either():
    """An agent whose events have no bytes, no outcome and no resource is ranked like others."""
    bare = [
        Event(ts_us=START_US + hour * HOUR_US, agent="bare", action="tick", session_end=True)
        for hour in range(60)
    ]

    found = ranked(bare)

    assert all(math.isfinite(n) and n >= 1.0 for n in found.values())
    assert len(TOTALS) == len(feed(new_shard(CONFIG), bare)[-1].rows["total"][-1:].T)


def test_an_excluded_anomaly_does_not_freeze_the_model():
    """An agent gets another job for good: odd at first, and within three days its normal."""
    before = [event for hour in range(100) for event in session("moved", hour)]
    after = [
        event
        for hour in range(100, 200)
        for event in session("moved", hour, 9, size=50_000, action="deploy", resource="cluster")
    ]

    found = ranked(peers(200), before, after)

    hours = [n_of(found, session("moved", hour)) for hour in range(100, 200)]
    assert hours[0] >= ODD
    assert sum(n >= ODD for n in hours[72:]) <= 1


def test_what_an_odd_session_shows_is_known_after_three_of_them():
    """Odd sessions teach little, but they teach: nothing is new for ever because it was odd once."""
    usual = [event for hour in range(200) for event in session("agent", hour)]
    odd = [
        session("agent", hour, size=10**9, action="destroy", resource="vault")
        for hour in range(200, 204)
    ]

    records = feed(new_shard(CONFIG), [*usual, *(event for events in odd for event in events)])

    place = STATISTICS.index("novelty_sum")
    ended = [row for some in records for row in some.rows if row["row"] == -1]
    news = [float(row["statistic"][place]) for row in ended[-4:]]
    assert min(news[:3]) > 1.0
    assert news[3] == 0.0


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param(
            [1000 * 1.05**hour for hour in range(DAY_HOURS)], id="a little more each time"
        ),
        pytest.param([1500] * DAY_HOURS, id="careful"),
        pytest.param([3000] * DAY_HOURS, id="bold"),
        pytest.param([1_000_000] * DAY_HOURS, id="brazen"),
    ],
)
def test_a_patient_poisoner_moves_a_baseline_by_a_stated_amount_a_day(sizes):
    """With ten days of history at a session an hour, what is expected moves by a seventh in a day.

    At most, whatever an attacker's sessions do all that day, and although nobody looks.
    """
    generator = random.Random(8)
    days = 10
    history = [
        event
        for hour in range(days * DAY_HOURS)
        for event in session("victim", hour, 1, size=int(1000 * generator.lognormvariate(0, 0.3)))
    ]
    drip = [
        event
        for hour, size in enumerate(sizes, start=days * DAY_HOURS)
        for event in session("victim", hour, 1, size=int(size))
    ]

    expected = expected_bytes([*peers(days * DAY_HOURS + 25, agents=4), *history, *drip])

    moved = math.exp(expected[(days + 1) * DAY_HOURS - 1] - expected[days * DAY_HOURS])
    assert 1.01 <= moved <= 8 / 7


def expected_bytes(events):
    """Return, by hour, the logarithm of the bytes that the victim's session was expected to have."""
    found = {}
    for some in feed(new_shard(CONFIG), sorted(events, key=lambda e: e.ts_us), batch=500):
        for row in some.rows[some.rows["agent"] == id_of("victim")]:
            hour = (int(row["start_us"]) - START_US) // HOUR_US
            found[hour] = float(row["expected"][BYTES])
    return found


def _long_sessions(agents, hours, seed=5):
    """Return sessions of about two hours that nobody ends: now and then a pause ends one."""
    generator = random.Random(seed)
    events = []
    for number in range(agents):
        minute = generator.uniform(0, 30)
        while minute < 60 * hours:
            action, resource = generator.choice(["read", "list", "write"]), generator.choice("abc")
            events.append(
                Event(
                    ts_us=START_US + int(minute * 60 * SECOND_US), agent=f"agent-{number}",
                    action=action, resources=(resource,), group="group", source="here",
                    bytes=int(1000 * generator.lognormvariate(0.0, 0.5)), outcome="success",
                )
            )  # fmt: skip
            minute += 6 if generator.random() > 0.05 else 45
    return sorted(events, key=lambda event: event.ts_us)


def test_a_fleet_is_not_ranked_against_the_shortest_of_its_first_sessions():
    """Those that end first are the short ones; the others, still open, are not odd for that."""
    core, beyond = Core(CONFIG), []
    for ruling in core.feed(_long_sessions(300, 5), batch=500):
        for rows in ruling.scored:
            beyond += rows["agent"][rows["live"] & (rows["n"] >= ODD)].tolist()

    (reference,) = core.decider._references.values()
    assert reference.sessions(0) > ODD  # it is not for want of a past
    assert len(set(beyond)) <= 300 / ODD
