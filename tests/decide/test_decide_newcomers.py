"""Newcomers that come at once are ranked as one, after the fact, and nobody is told of each."""

import numpy as np
import pytest

from astray.config import load_config
from astray.decide import newcomers as module
from astray.decide.decider import Decider
from astray.decide.newcomers import DAYS_MAX, WAITING_MAX, WAVES_MAX, Newcomers
from astray.events import Event
from made import DAY_US, HOUR_US, SETTLED, START_US, ended_rows, records_of, row_of

FIRST_US = START_US - START_US % DAY_US
WEEK = 7 * 24
YOUNG = 0


def config(**flood):
    """Return a configuration in which 32 newcomers at once are a wave."""
    return load_config(overrides={"events": {"shards": 1}, "flood": {"agents_min": 32, **flood}})


class Fleet:
    """Agents that come, hour by hour; `waves` has the hour, sessions and n of what was told."""

    def __init__(self, newcomers=None, **flood):
        self.newcomers = newcomers or Newcomers(config(**flood))
        self.hour = 0
        self.sessions = 0
        self.waves = []

    def come(self, agents, age=YOUNG, each=1, began=0):
        """Let sessions of so many agents end in this hour; they began some hours before."""
        count = agents * each
        rows = ended_rows([0.0] * count, age=age)
        rows["session"] = np.arange(self.sessions + 1, self.sessions + count + 1)
        rows["agent"] = np.repeat(rows["session"][::each], each)
        rows["ts_us"] = rows["start_us"] = FIRST_US + (self.hour - began) * HOUR_US + 60_000_000
        self.sessions += count
        self.newcomers.note(rows)

    def wait(self, hours=1, agents=0, age=SETTLED):
        """Let hours pass, in each of which some come."""
        for _ in range(hours):
            self.come(agents, age)
            self.hour += 1
            self.waves += [
                (self.hour, len(wave.sessions), wave.n)
                for wave in self.newcomers.turn(FIRST_US + self.hour * HOUR_US)
            ]


def grown(**flood):
    """Return a fleet of a week: ten settled agents with a session an hour."""
    fleet = Fleet(**flood)
    fleet.wait(WEEK, agents=10)
    return fleet


def test_a_wave_is_ranked_as_one():
    """Never have so many come: 1 in all sessions before; the next time, one wave weighs as four."""
    fleet = grown()

    for _ in range(2):
        fleet.come(100)
        fleet.wait(2 * 24, agents=10)

    first, second = fleet.waves
    assert first == (WEEK + 2, 100, 10 * (WEEK + 2) + 1)
    assert second == (WEEK + 50, 100, (10 * (WEEK + 50) + 4 + 1) / (4 + 1))


def test_a_wave_hides_no_other_of_its_day():
    """Usual is what other days have seen: on the eighth there was one of seven."""
    fleet = Fleet()
    fleet.wait(6 * 24, agents=10)

    for hours in (24, 4, 4, 4):
        fleet.come(100)
        fleet.wait(hours, agents=10)

    assert [sessions for _, sessions, _ in fleet.waves] == [100] * 4


def test_it_is_known_when_the_short_sessions_have_ended():
    """Who began in the last minute is part of it; who is still there an hour later is not."""
    fleet = grown()

    fleet.come(20)
    fleet.wait()
    assert fleet.waves == []
    fleet.come(20, began=1)
    fleet.wait()
    fleet.come(20, began=2)
    fleet.wait(3)

    assert [(hour, sessions) for hour, sessions, _ in fleet.waves] == [(WEEK + 2, 40)]


@pytest.mark.parametrize(
    ("come", "why"),
    [
        ({"agents": 31}, "there are too few"),
        ({"agents": 100, "age": SETTLED}, "everybody knows them"),
        ({"agents": 8, "each": 50}, "it is a few agents with many sessions"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_not_everything_is_a_wave(come, why):
    """Newcomers are many agents that are new."""
    fleet = grown()

    fleet.come(**come)
    fleet.wait(3)

    assert fleet.waves == [], why


def test_what_comes_every_day_is_no_wave():
    """Where agents are made for each job newcomers are usual, and so are a few times as many."""
    fleet = Fleet()

    for _ in range(10):
        fleet.come(100)
        fleet.wait(24, agents=10)
    assert fleet.waves == []
    fleet.come(399)
    fleet.wait(24)
    assert fleet.waves == []
    fleet.come(500)
    fleet.wait(24)

    assert [sessions for _, sessions, _ in fleet.waves] == [500]


def test_a_fleet_that_begins_is_no_wave():
    """On its first days everybody is new."""
    fleet = Fleet()

    fleet.wait(48, agents=200, age=YOUNG)
    fleet.wait(4)

    assert fleet.waves == []


def test_n_goes_no_further_than_a_reference():
    """Nobody promises 1 in more than what is kept of the past."""
    newcomers = Newcomers(load_config(overrides={"reference": {"sessions_max": 1000}}))
    fleet = Fleet(newcomers)
    fleet.wait(WEEK, agents=10)

    fleet.come(100)
    fleet.wait(2)

    assert [n for _, _, n in fleet.waves] == [1001.0]


def test_without_floods_there_are_no_waves():
    """Nothing is kept either."""
    fleet = grown(agents_min=0)

    fleet.come(100)
    fleet.wait(3)

    assert fleet.waves == []
    assert fleet.newcomers.size_bytes == 0


def test_tenants_are_apart():
    """Another tenant's newcomers are no part of a wave, and what is forgotten begins anew."""
    fleet = grown()
    rows = ended_rows([0.0] * 31, age=YOUNG, start_us=FIRST_US + WEEK * HOUR_US)
    rows["agent"] = rows["session"]
    fleet.newcomers.note(rows)
    rows["tenant"] = 7

    fleet.newcomers.note(rows)
    fleet.newcomers.forget(7)
    fleet.wait(3)

    assert fleet.waves == []


def test_a_dump_goes_on_as_if_nothing_had_happened():
    """Those that wait, the waves and the days are in it; the same state is the same bytes."""
    fleet = grown()
    fleet.come(100)
    fleet.wait(30, agents=10)
    fleet.come(50)
    meta, arrays = fleet.newcomers.dump()
    other = Fleet(Newcomers(config()))

    other.newcomers.load(meta, arrays)
    other.hour, other.sessions, other.waves = fleet.hour, fleet.sessions, [*fleet.waves]
    for each in (fleet, other):
        each.come(60, began=5)  # too late for the wave of their hour, before and after
        each.wait(4, agents=10)

    assert len(fleet.waves) == 2
    assert other.waves == fleet.waves
    assert repr(other.newcomers.dump()) == repr(fleet.newcomers.dump())


def test_a_dump_of_another_form_is_nothing():
    """Older ones have none."""
    newcomers = Newcomers(config())

    newcomers.load({}, {})

    assert newcomers.dump()[0]["tenants"] == []


def test_memory_has_a_ceiling(monkeypatch):
    """Of those that wait the same ones stay in whatever order they came; old waves and days go."""
    for name, value in (("WAITING_MAX", 64), ("WAVES_MAX", 8), ("DAYS_MAX", 16)):
        monkeypatch.setattr(module, name, value)
    kept = []
    for order in (1, -1):
        newcomers = Newcomers(config())
        rows = ended_rows([0.0] * 1000, age=YOUNG, start_us=FIRST_US)
        rows["agent"] = rows["session"]
        for part in np.array_split(rows[::order], 13):
            newcomers.note(part)
            assert newcomers.size_bytes < 3 * 64 * 40
        kept.append(newcomers.dump()[1]["waiting0"])
        assert newcomers.lost == 1000 - 64
        newcomers.forget(int(rows["tenant"][0]))
        assert newcomers.lost == 1000 - 64
    assert len(kept[0]) == 64
    assert kept[0].tolist() == kept[1].tolist()

    fleet = Fleet()
    for day in range(60):
        fleet.come(40 if day % 4 == 3 else 0)
        fleet.wait(24, agents=1)

    (_, sessions, waves, days, first_day) = fleet.newcomers.dump()[0]["tenants"][0]
    assert len(fleet.waves) > 8 >= len(waves)
    assert len(days) <= 17
    assert first_day == days[-1][0] - 16
    assert sessions < fleet.sessions
    assert (WAITING_MAX, WAVES_MAX, DAYS_MAX) == (1 << 15, 1024, 64)


def test_a_decider_ranks_them_again_and_decides_nothing():
    """Their sessions come once more, with a score, as ended ones that were not alone."""
    low = {"alert": {"score": 3.0}, "suspend": {"score": 8.0}, "mode": "enforce"}
    decider = Decider(
        load_config(overrides={"events": {"shards": 1}, "default_policy": low, "flood": {}})
    )
    found, decisions = [], []
    for hour in range(80):
        agents = [(f"old-{n}", SETTLED) for n in range(3)]
        agents += [(f"new-{hour}-{n}", YOUNG) for n in range(40 if hour == 76 else 0)]
        sessions = [
            (event, row_of(event, ended=True, age=age))
            for name, age in agents
            for event in [Event(FIRST_US + hour * HOUR_US, name, "read", f"{name}-{hour}")]
        ]
        window_us = FIRST_US + hour * HOUR_US
        ruling = decider.decide([records_of(0, window_us, *sessions)])
        decisions += ruling.decisions
        found += ruling.again
        scored, lines = ruling.every
        assert sum(map(len, scored)) == len(lines)

    (again,) = found
    assert len(again) == 40
    assert set(again["together"].tolist()) == {40}
    assert set(again["n"].tolist()) == {3 * 78 + 1.0}
    assert again["score"].tolist() == pytest.approx([20 * np.log10(235)] * 40)
    assert not again["live"].any()
    assert decisions == []
