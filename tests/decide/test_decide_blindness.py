"""What falls silent is told once, in time, and closed when it is over; what rests is not."""

import math
import random

import numpy as np
import pytest

from astray.baseline.activity import Activity
from astray.baseline.rhythms import BLOCK_US, IN_MASS, TOLD
from astray.config import load_config
from astray.decide import blindness as module
from astray.decide.blindness import AT_ONCE_MAX, Blindness, day_off, limit_factor
from astray.decide.silence import Kind, Over
from astray.events import Event
from core import decoded
from made import HOUR_US

MONDAY_US = 1_767_571_200_000_000
"""2026-01-05T00:00:00Z."""

WEEK = 24 * 7


class Fleet:
    """A fleet whose hours one can script; `seen` is all that was told, with the hour."""

    def __init__(self, **blindness):
        self.config = load_config(overrides={"blindness": blindness})
        self.blindness = Blindness(self.config)
        self.activity = Activity()
        self.hour = 0
        self.told = []

    def live(self, hours, *agents, source="source", tenant=""):
        """Let hours pass; an agent is a name and a function of the hour, or does the action."""
        for _ in range(hours):
            self.hour += 1
            window_us = MONDAY_US + self.hour * HOUR_US
            events = [
                Event(ts_us=window_us, agent=name, action=action, tenant=tenant)
                for name, action, shows in agents
                if shows(self.hour)
            ]
            self.show(window_us, events, source)
            self.turn(window_us + HOUR_US)

    def show(self, window_us, events, source="source"):
        """Show events."""
        shown = self.activity.shown(decoded(events, source), np.arange(len(events)), window_us)
        if shown is not None:
            self.blindness.show(window_us, shown)

    def turn(self, window_us):
        """Let windows pass."""
        self.told += [(self.hour, s) for s in self.blindness.turn(window_us)]

    def begun(self, kind=Kind.AGENT):
        """Return who has fallen silent, with the hour."""
        return [(at, s.name) for at, s in self.told if s.kind is kind and s.over is Over.NOT_YET]

    def over(self):
        """Return what was over, with the hour and how."""
        return [(at, s.name, s.over) for at, s in self.told if s.over is not Over.NOT_YET]


def agent(name, shows=lambda _: True, action="read"):
    """Return an agent with one action."""
    return name, action, shows


def office(hour):
    """Return whether it is between nine and five on a weekday."""
    return 9 <= hour % 24 < 17 and hour // 24 % 7 < 5


def until(end, shows=lambda _: True):
    """Return somebody's hours who is stopped for good."""
    return lambda hour: hour < end and shows(hour)


OTHERS = agent("steady")


def test_an_hourly_job_that_stops_is_missed_after_three_hours():
    """It is known for a month: the limit is 2.3 of the signs that were to be expected."""
    fleet, stop = Fleet(), 4 * WEEK
    fleet.live(stop + 30, OTHERS, agent("job", until(stop)))

    assert fleet.begun() == [(stop + 2, "job")]
    (silence,) = [s for _, s in fleet.told]
    assert silence.last_us == MONDAY_US + (stop - 1) * HOUR_US
    assert silence.waited > silence.limit > 2 * silence.usual
    assert silence.pauses == stop - 2


def test_office_hours_weekends_and_a_holiday_are_no_silence():
    """Nor is one weekday off, long after all habits are known."""
    fleet, holiday = Fleet(), 5 * WEEK + 4 * 24
    fleet.live(
        7 * WEEK,
        OTHERS,
        agent("clerk", lambda hour: office(hour) and not 0 <= hour - holiday < 24),
    )

    assert fleet.told == []


def test_an_office_worker_that_stops_is_missed_within_three_working_days():
    """Its nights do not count, so a week is not needed for it."""
    fleet, stop = Fleet(), 6 * WEEK
    fleet.live(7 * WEEK, OTHERS, agent("clerk", until(stop, office)))

    ((hour, name),) = fleet.begun()
    assert name == "clerk"
    assert 9 < hour - stop < 3 * 24


def test_who_comes_and_goes_by_chance_is_not_silent_by_chance():
    """A hundred agents with habits of chance, for two months: not one false silence."""
    chance, fleet = random.Random(1), Fleet()
    shares = [0.05 + 0.9 * chance.random() for _ in range(100)]
    fleet.live(
        8 * WEEK,
        *(agent(f"a{n}", lambda _, p=p: chance.random() < p) for n, p in enumerate(shares)),
    )

    assert fleet.told == []


@pytest.mark.parametrize("hours", [13 * 24, 15 * 24], ids=["young", "known"])
def test_a_rhythm_takes_two_weeks_to_know(hours):
    """Whoever stops before that may have had only that much to do, and is never missed."""
    fleet = Fleet()
    fleet.live(hours + 100, OTHERS, agent("job", until(hours)))

    assert bool(fleet.begun()) is (hours > 14 * 24)


def test_an_action_that_nobody_does_any_more_is_missed():
    """Who did it is about all the same."""
    fleet, stop = Fleet(), 4 * WEEK
    fleet.live(
        stop + 10,
        OTHERS,
        agent("a", action="write"),
        agent("a", until(stop), action="audit.export"),
    )

    assert fleet.begun(Kind.ACTION) == [(stop + 2, "audit.export")]
    assert fleet.begun() == []


def test_an_action_is_its_tenants():
    """Another tenant that goes on with it does not hide that this one has stopped."""
    fleet, stop = Fleet(), 3 * WEEK
    for hour in range(stop + 10):
        fleet.live(1, agent("a"))
        if hour < stop:
            fleet.hour -= 1
            window_us = MONDAY_US + (fleet.hour + 1) * HOUR_US
            fleet.show(window_us, [Event(window_us, "a", "read", tenant="t")])
            fleet.hour += 1
    fleet.live(1, agent("a"))

    assert {(s.kind, s.tenant, s.name) for _, s in fleet.told} == {
        (Kind.AGENT, "t", "a"),
        (Kind.ACTION, "t", "read"),
    }


def test_while_a_source_is_silent_its_agents_are_not():
    """A hole of days in one of two sources is no silence of anybody, during it or after it."""
    fleet = Fleet()
    here, there = agent("here"), [agent(f"there-{n}") for n in range(30)]
    for hour in range(5 * WEEK):
        fleet.live(1, here)
        if not 0 <= hour - 4 * WEEK < 60:
            window_us = MONDAY_US + (fleet.hour + 1) * HOUR_US
            events = [Event(window_us, name, "do") for name, _, _ in there]
            fleet.show(window_us, events, "other source")

    assert fleet.told == []


def test_the_whole_stream_may_have_a_hole():
    """Windows in which nothing came at all are not held against anybody."""
    fleet = Fleet()
    fleet.live(4 * WEEK, OTHERS, agent("job"))
    fleet.hour += 100

    fleet.live(WEEK, OTHERS, agent("job"))

    assert fleet.told == []


def test_who_is_back_closes_the_case_and_may_open_another():
    """One case for one silence, and the next silence is another."""
    fleet, stop = Fleet(), 4 * WEEK
    fleet.live(
        stop + 60,
        OTHERS,
        agent("job", lambda hour: hour < stop or stop + 10 <= hour < stop + 30),
    )

    first, back, second = [s for _, s in fleet.told]
    assert fleet.over() == [(stop + 10, "job", Over.BACK)]
    assert first.case == back.case != second.case
    assert len({first.id, back.id, second.id}) == 3


def test_one_more_of_a_kind_than_may_be_told_alone_have_one_case():
    """Half of the fleet at once is one alarm, closed when half of that half is back."""
    fleet, stop, many = Fleet(), 3 * WEEK, AT_ONCE_MAX + 1

    def shows(number):
        return lambda hour: hour < stop or (hour >= stop + 20 and number < many - 5)

    fleet.live(
        stop + 40, OTHERS, *(agent(f"job-{n:02d}", shows(n), f"do-{n}") for n in range(many))
    )

    agents = [(at - stop, s) for at, s in fleet.told if s.kind is Kind.AGENTS]
    assert [(at, s.count, s.over) for at, s in agents] == [(2, many, ""), (20, many, "back")]
    assert agents[0][1].examples == tuple(f"job-{n:02d}" for n in range(5))
    assert {s.kind for _, s in fleet.told} == {Kind.AGENTS, Kind.ACTIONS}
    assert np.count_nonzero(fleet.blindness._table["state"] == TOLD) == 10  # agents and actions


def test_as_many_as_may_be_told_alone_are():
    """Twenty cases at a time are still cases."""
    fleet, stop = Fleet(actions=False), 3 * WEEK
    fleet.live(stop + 10, OTHERS, *(agent(f"job-{n}", until(stop)) for n in range(AT_ONCE_MAX)))

    assert len(fleet.begun()) == AT_ONCE_MAX
    assert len(fleet.told) == AT_ONCE_MAX


def test_who_fell_silent_with_the_others_is_of_their_case_though_noticed_later():
    """Who is about less often is missed later, for the same reason."""
    fleet, stop = Fleet(actions=False), 3 * WEEK
    jobs = [agent(f"job-{n}", until(stop)) for n in range(AT_ONCE_MAX + 1)]
    slow = agent("slow", until(stop, lambda hour: hour % 4 == 3))
    later = agent("later", until(stop + 20))

    fleet.live(stop + 100, OTHERS, later, slow, *jobs)

    assert [s.kind for _, s in fleet.told] == [Kind.AGENTS, Kind.AGENT]
    assert fleet.begun() == [(stop + 22, "later")]
    assert np.count_nonzero(fleet.blindness._table["state"] == IN_MASS) == AT_ONCE_MAX + 2


def test_nobody_is_waited_for_for_ever():
    """After two blocks of pauses nothing is known of it any more; its case says so."""
    fleet, stop = Fleet(), 3 * WEEK
    fleet.live(stop + 2 * BLOCK_US // HOUR_US + 5, OTHERS, agent("job", until(stop)))

    assert fleet.over() == [(stop + 2 * BLOCK_US // HOUR_US, "job", Over.FORGOTTEN)]
    names = fleet.blindness._names
    assert {names[key][1] for key in names} == {"steady", "read"}


def test_what_is_remembered_is_bounded_and_the_least_known_goes_first():
    """A flood of names pushes out names of the flood."""
    fleet, stop = Fleet(), 3 * WEEK
    fleet.live(stop, OTHERS, agent("job"))
    table = fleet.blindness._table
    flood = np.repeat(table[:1], module.RHYTHMS_MAX + 10)
    flood["key"] = np.arange(1, len(flood) + 1)
    flood["pauses"], flood["state"] = 0, 0
    for key in flood["key"].tolist():
        fleet.blindness._names.put(key, "", f"flood-{key}")
    fleet.blindness._have(np.concatenate([flood, table]))

    fleet.live(10, OTHERS)

    assert len(fleet.blindness) <= module.RHYTHMS_MAX
    assert len(fleet.blindness._names) == len(fleet.blindness)
    assert fleet.begun() == [(stop + 3, "job")]


@pytest.mark.parametrize(
    ("off", "left"),
    [
        ({"agents": False}, {Kind.ACTION}),
        ({"actions": False}, {Kind.AGENT}),
        ({"agents": False, "actions": False}, set()),
    ],
    ids=["agents", "actions", "both"],
)
def test_each_can_be_switched_off(off, left):
    """What is off is neither learnt nor told."""
    fleet, stop = Fleet(**off), 3 * WEEK
    fleet.live(stop + 10, OTHERS, agent("job", until(stop), action="run"))

    assert {s.kind for _, s in fleet.told} == left
    assert len(fleet.blindness) == 2 * len(left)


@pytest.mark.parametrize("pauses", [20, 100, 1344])
def test_the_limit_has_the_chance_that_it_is_said_to_have(pauses):
    """Of exponential pauses the next is c times the largest of n as seldom as the formula says."""
    generator, chance = np.random.default_rng(3), 0.02
    factor = limit_factor(pauses, chance)

    largest = generator.exponential(size=(20_000, pauses)).max(axis=1)
    beyond = np.exp(-factor * largest).mean()  # the chance of the next one, exactly

    assert math.isclose(beyond, chance, rel_tol=0.1)


def test_only_who_rests_may_have_a_day_off():
    """A day is what a weekday has of it; who is about at all hours has none."""
    share = np.full(48, 0.5, np.float32)
    clerk = share.copy()
    clerk[:8] = 0.0

    assert day_off(share) == 0.0
    assert day_off(clerk) == pytest.approx(8.0)


@pytest.mark.parametrize("hour", [5, 2 * WEEK, 3 * WEEK + 6], ids=["young", "known", "silent"])
def test_a_dump_goes_on_as_the_original_would(hour):
    """Rhythms, names, what has shown itself in this window, and cases that many share."""
    stop = 3 * WEEK
    jobs = [agent(f"job-{n}", until(stop)) for n in range(AT_ONCE_MAX + 1)]
    jobs.append(agent("late", until(stop + 20)))
    whole = Fleet()
    whole.live(hour, OTHERS, *jobs)
    whole.show(MONDAY_US + (hour + 1) * HOUR_US, [Event(MONDAY_US, "half-way", "through")])
    restored = Fleet()
    restored.hour = hour

    restored.blindness.load(*whole.blindness.dump())
    whole.told.clear()
    for fleet in (whole, restored):
        fleet.live(4 * WEEK - hour, OTHERS, *jobs)

    assert restored.told == whole.told != []
    assert str(restored.blindness.dump()) == str(whole.blindness.dump())


def test_what_another_form_has_learnt_begins_anew():
    """A dump without rhythms, or with those of another astray, is no reason to refuse it."""
    fleet = Fleet()
    meta, arrays = fleet.blindness.dump()

    fleet.blindness.load({}, {})
    fleet.blindness.load({**meta, "schema": 99}, arrays)

    assert len(fleet.blindness) == 0


def test_a_silence_is_a_sentence():
    """It says who, since when, and why that is worth a word."""
    fleet, stop = Fleet(), 4 * WEEK
    fleet.live(stop + 20, OTHERS, agent("job", lambda hour: hour < stop or hour > stop + 10))

    silence, back = [s for _, s in fleet.told]
    assert silence.title == "job has fallen silent"
    assert silence.sentence == (
        "job shows no sign of life since 2026-02-01T23:00:00.000Z: 2.9 were to be expected, "
        "and its longest pause of 670 was one of 0.9"
    )
    assert back.title == "job is heard again"
    assert back.sentence == (
        "job is heard again; nothing was heard of it since 2026-02-01T23:00:00.000Z"
    )


def test_who_comes_back_as_it_is_forgotten_keeps_its_name():
    """What is read at a stroke has later hours in it already when an earlier one forgets."""
    fleet = Fleet()
    fleet.live(2, agent("bot"), agent("quarterly", lambda hour: hour == 1))
    last_us = MONDAY_US + HOUR_US
    forgets_us = last_us + 2 * BLOCK_US + HOUR_US
    shown = {forgets_us: "bot", forgets_us + HOUR_US: "quarterly"}
    for window_us, name in shown.items():
        fleet.show(window_us, [Event(ts_us=window_us, agent=name, action="read")])
    fleet.turn(forgets_us + 2 * HOUR_US)
    meta, arrays = fleet.blindness.dump()
    again = Blindness(fleet.config)
    again.load(meta, arrays)

    later_us = forgets_us + 3 * BLOCK_US
    fleet.show(later_us, [Event(ts_us=later_us, agent="bot", action="read")])
    fleet.turn(later_us + HOUR_US)  # forgets it again, by its name

    assert len(again) == len(fleet.blindness) + 1
