"""Dormancy: an identity that was silent for much longer than ever of late wakes."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astray.baseline.layout import DORMANCY
from astray.baseline.rehearsal import FIRST_ROW, KINDS
from astray.baseline.shard import Shard
from astray.events import Event
from core import SOURCE, Core, feed, new_shard, small_config
from made import DAY_US, HOUR_US
from made import START_US as NOW_US

CONFIG = small_config()
FIRST_US = NOW_US - 400 * DAY_US


def session_at(ts_us, agent="bot", **other):
    """Return a session of one event."""
    return Event(
        ts_us=ts_us, agent=agent, group="bots", action="read", session=f"s{ts_us}",
        session_end=True, **other,
    )  # fmt: skip


def sessions_after(*pauses_days, agent="bot"):
    """Return a session, and one after each of these pauses."""
    days = itertools.accumulate(pauses_days, initial=0)
    return [session_at(FIRST_US + round(day * DAY_US), agent) for day in days]


def dormancy_of(events, config=CONFIG):
    """Return the dormancy of each session that ended, in order."""
    rows = [row for some in feed(new_shard(config), events) for row in some.rows]
    return [float(row["statistic"][DORMANCY]) for row in rows if row["row"] == -1]


@pytest.mark.parametrize(
    ("pauses", "bits"),
    [
        ([1] * 9 + [32], 3.0),
        ([1] * 9 + [4], 0.0),
        ([1] * 9 + [8], 1.0),
        ([8] * 9 + [32], 1.0),
        ([8] * 9 + [15], 0.0),
        ([30] * 9, 0.0),
        ([1] * 2 + [8] + [1] * 6 + [32], np.log2(32 / 8) - 1 + 6 / 21),
        ([8] * 5 + [1] * 200 + [32], 3.0),
        ([1] * 3 + [64], 0.0),
    ],
    ids=[
        "a month, where days were usual",
        "twice as long as is short for anybody",
        "four times as long",
        "four times as long as usual for it",
        "hardly twice as long as usual for it",
        "once a month",
        "what was long fades",
        "what was long long ago has faded",
        "nobody knows a new agent",
    ],
)
def test_a_silence_is_compared_with_the_longest_of_late(pauses, bits):
    """Bits are those by which a silence is more than twice as long as the longest; then it is."""
    *before, last = dormancy_of(sessions_after(*pauses))

    assert last == pytest.approx(bits, abs=0.02)
    assert not any(before[5:])


@pytest.mark.parametrize("half_life_days", [0.5, 5.0, 1e4])
def test_however_much_time_has_passed_it_is_what_it_was_when_the_silence_began(half_life_days):
    """Weights that are scaled down meanwhile are those of silences, too."""
    config = small_config(baseline={"half_life_days": half_life_days})

    *_, last = dormancy_of(sessions_after(*[8] * 9, 64), config)

    assert last == pytest.approx(2.0, abs=0.1)


@settings(max_examples=25)
@given(st.lists(st.floats(0.01, 300), min_size=2, max_size=2).map(sorted))
def test_the_longer_the_odder(silences):
    """A longer silence never has fewer bits; with an ordinary one there are none."""
    shorter, longer = (dormancy_of(sessions_after(*[1] * 9, days))[-1] for days in silences)

    assert 0.0 <= shorter <= longer
    assert longer > 0.0 or silences[1] < 4.1


def test_what_is_usual_for_peers_is_no_dormancy():
    """Who has worked for a day only sleeps over the holidays as all its peers do."""
    peers = [
        event for n in range(6) for event in sessions_after(*[12] * 20, agent=f"peer-{n}")
    ]  # fmt: skip
    young = [
        session_at(FIRST_US + 230 * DAY_US + hour * HOUR_US, "young") for hour in range(8)
    ] + [session_at(FIRST_US + 242 * DAY_US, "young")]  # fmt: skip

    alone = dormancy_of(young)
    among = dormancy_of(sorted([*peers, *young], key=lambda event: event.ts_us))

    assert alone[-1] > 1.0
    assert not any(among)


def test_a_suspicious_wake_is_learnt_but_a_little():
    """The next silence of the same length is odd again, if not quite as odd."""
    shard = new_shard(small_config(learning={"suspicious_bits": 1e-9}))
    fleet = [
        event for n in range(8) for event in sessions_after(*[1] * 200, agent=f"peer-{n}")
    ]  # fmt: skip
    own = sessions_after(*[1] * 40, 64, 1, 1, 64)
    events = sorted([*fleet, *own], key=lambda event: event.ts_us)

    rows = [row for some in feed(shard, events) for row in some.rows if row["row"] == -1]

    first, second = [v for row in rows if (v := float(row["statistic"][DORMANCY])) > 0]
    assert first == pytest.approx(4.0, abs=0.02)
    assert 0.5 < second < first - 0.5


def fleet_of(days, asleep=range(0)):
    """Return a fleet in which each agent works every weekday; the first one sleeps for a while."""
    return sorted(
        (
            session_at(FIRST_US + day * DAY_US + number * HOUR_US, f"bot-{number}", bytes=day % 7)
            for day in range(days)
            for number in range(10)
            if day % 7 < 5 and not (number == 0 and day in asleep)
        ),
        key=lambda event: event.ts_us,
    )


@pytest.mark.parametrize("rehearsals", [0, 2])
def test_who_wakes_after_months_stands_out(rehearsals):
    """Of a fleet that does the same every day one agent has not been heard of for ten weeks."""
    core, seen = Core(small_config(reference={"rehearsals": rehearsals})), []
    core.decider.audit = seen.append

    core.feed(fleet_of(190, asleep=range(110, 185)), 50)

    last = {
        int(row["agent"]): float(score)
        for ranked in seen
        for row, score in zip(ranked.rows, ranked.scores, strict=True)
        if row["row"] == -1 and row["start_us"] // DAY_US == (FIRST_US + 185 * DAY_US) // DAY_US
    }
    woken = {
        int(row["agent"]) for ranked in seen for row in ranked.rows if row["statistic"][DORMANCY]
    }
    (agent,) = woken
    score = last.pop(agent)
    assert score > max(last.values()) + 20.0


def test_a_fleet_that_never_sleeps_has_no_dormancy():
    """Nights and weekends are no silence."""
    rows = [row for some in feed(new_shard(CONFIG), fleet_of(120)) for row in some.rows]

    real = [row for row in rows if row["row"] >= FIRST_ROW + 1]
    assert len(real) > 800
    assert not any(row["statistic"][DORMANCY] for row in real)


def test_thefts_of_dormant_credentials_are_rehearsed():
    """Some of the stolen credentials were used by nobody for long, and no other attack knows."""
    rows = [row for some in feed(new_shard(CONFIG), fleet_of(190)) for row in some.rows]

    attacks = np.array([row for row in rows if row["row"] <= FIRST_ROW])
    kinds = FIRST_ROW - attacks["row"]
    asleep = attacks["statistic"][:, DORMANCY] > 0
    stolen = kinds == KINDS.index("stolen_credential")
    assert not asleep[~stolen].any()
    assert 0.1 < asleep[stolen].mean() < 0.4


def test_an_attack_on_a_session_after_a_silence_is_after_that_silence():
    """What is rehearsed on a session that woke is as dormant as it was, or more."""
    events = fleet_of(190, asleep=range(110, 185))
    config = small_config(reference={"rehearsals": 4})
    rows = [row for some in feed(new_shard(config), events) for row in some.rows]

    (number,) = {
        int(row["number"]) for row in rows if row["row"] == -1 and row["statistic"][DORMANCY]
    }
    of_session = [row for row in rows if row["number"] == number]

    real = max(float(row["statistic"][DORMANCY]) for row in of_session if row["row"] == -1)
    attacks = [float(row["statistic"][DORMANCY]) for row in of_session if row["row"] <= FIRST_ROW]
    assert len(attacks) >= 3
    assert min(attacks) == real > 3.0


@pytest.mark.parametrize("batch", [1, 13])
def test_silences_are_kept_with_the_state(batch):
    """A state that was written and read knows what is long for whom."""
    events = fleet_of(60, asleep=range(20, 55))
    whole, resumed = new_shard(CONFIG), new_shard(CONFIG)
    feed(whole, events)

    feed(resumed, events[:200], batch)
    resumed = Shard.load(resumed.dump(), resumed.settings, [SOURCE])
    feed(resumed, events[200:], batch)

    assert resumed.dump() == whole.dump()
    assert (whole.memory.agents["silence"] > 0).any()
    assert (whole.memory.groups["child_silence"] > 0).any()
