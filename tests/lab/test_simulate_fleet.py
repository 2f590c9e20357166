"""What a simulated fleet looks like when nobody attacks it."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from astray.lab.simulate import Recording, SimulationOptions, simulate
from astray.lab.simulate.fleet import ACTIONS, Fleet, Rhythm, build_fleet
from astray.lab.simulate.rhythm import Plan, plan_sessions

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def options() -> SimulationOptions:
    """Describe a fleet large enough to have every oddity."""
    return SimulationOptions(agents=60, agents_per_group=10, days=18.0, seed=5)


@pytest.fixture(scope="module")
def recording(options: SimulationOptions) -> Recording:
    """Record that fleet."""
    return simulate(options)


@pytest.fixture(scope="module")
def planned(options: SimulationOptions) -> tuple[Fleet, Plan]:
    """Plan the sessions of such a fleet."""
    rng = np.random.default_rng(11)
    fleet = build_fleet(options, rng)
    return fleet, plan_sessions(options, fleet, rng)


def test_no_two_actions_have_one_name() -> None:
    """An action is known by its name alone, so the catalog must not use one twice."""
    names = [action.name for action in ACTIONS]

    assert len(set(names)) == len(names)


def test_the_size_is_what_was_asked_for(options: SimulationOptions, recording: Recording) -> None:
    """Sessions per agent-day and events per session come near the means of the options."""
    per_day = len(recording.sessions) / (options.agents * options.days)
    per_session = recording.events / len(recording.sessions)

    assert 0.6 < per_day / options.sessions_per_day < 1.3
    assert 0.7 < per_session / options.events_per_session < 1.5


def test_lengths_have_a_heavy_tail(recording: Recording) -> None:
    """Most sessions are short, a few are many times as long."""
    lengths = np.bincount(recording.columns["session"])

    assert np.median(lengths) < lengths.mean()
    assert lengths.max() > 8 * np.median(lengths)


def test_offices_rest_at_the_weekend_and_cron_does_not(
    options: SimulationOptions, planned: tuple[Fleet, Plan]
) -> None:
    """Office agents work on weekdays; cron jobs run on any day."""
    fleet, plan = planned
    weekend = (options.first_weekday + plan.day.astype(int)) % 7 >= 5
    rhythm = fleet.traits["rhythm"][plan.agent]

    assert weekend[rhythm == Rhythm.OFFICE].mean() < 0.1
    assert weekend[rhythm == Rhythm.CRON].mean() > 0.15


def test_cron_jobs_keep_their_times(planned: tuple[Fleet, Plan]) -> None:
    """The pauses between the runs of one job are one period, give or take seconds."""
    fleet, plan = planned
    jobs = np.flatnonzero(
        (fleet.traits["rhythm"] == Rhythm.CRON) & (fleet.traits["birth_day"] == 0)
    )

    for agent in jobs:
        pauses_s = np.diff(plan.day[plan.agent == agent]) * 86_400
        # One run in the life of each agent comes at any time.
        assert (np.abs(pauses_s - np.median(pauses_s)) < 120).mean() > 0.75


def test_a_holiday_is_calm_at_the_office(planned: tuple[Fleet, Plan]) -> None:
    """On the holiday office agents hardly work."""
    fleet, plan = planned
    office = fleet.traits["rhythm"][plan.agent] == Rhythm.OFFICE
    counts = np.bincount(plan.day[office].astype(int))

    assert fleet.holiday > 0
    assert counts[fleet.holiday] < 0.5 * counts[fleet.holiday - 7]


def test_a_roll_out_is_new_to_its_group_on_its_day(recording: Recording) -> None:
    """Some tool is unknown in the warm-up and then used by most of a group."""
    start_ms = recording.columns["ts_ms"][0]
    tools: dict[str, float] = {}
    for row in recording.columns:
        action = recording.actions[row["action"]]
        tools.setdefault(action, (row["ts_ms"] - start_ms) / DAY_MS)
    rolled_out = {action.name for action in ACTIONS[-8:]} & tools.keys()

    assert rolled_out
    assert all(tools[action] > 8 for action in rolled_out)


def test_little_of_normal_work_is_novel_but_some(recording: Recording) -> None:
    """A few normal test sessions do what their agent did not do in the warm-up."""
    known = Counter(label["known_task"] for label in recording.labels if label["phase"] == "test")

    assert 0.002 < known[0] / known.total() < 0.05
    assert known[None] > 0


def test_only_agents_born_after_the_warm_up_have_unknown_tasks(recording: Recording) -> None:
    """`known_task` is null where there is no warm-up to compare with, and only there."""
    warm = {label["agent"] for label in recording.labels if label["phase"] == "warmup"}

    assert all(
        (label["known_task"] is None) == (label["agent"] not in warm)
        for label in recording.labels
        if label["phase"] == "test"
    )


def test_customers_are_new_in_most_sessions(recording: Recording) -> None:
    """A customer number seen in one session rarely comes back in another."""
    sessions: dict[str, set[int]] = defaultdict(set)
    for row in recording.columns:
        name = recording.resources[row["resource"]][0] if row["resource"] >= 0 else ""
        if name.startswith("crm://customers/"):
            sessions[name].add(row["session"])
    returning = sum(len(used) > 1 for used in sessions.values()) / len(sessions)

    assert 0.0 < returning < 0.5


def test_incidents_fail_in_bursts() -> None:
    """During an incident a group fails many times as often as on an ordinary day."""
    calm = simulate(SimulationOptions(agents=20, days=4.0, incidents_per_week=0.0))
    stormy = simulate(SimulationOptions(agents=20, days=4.0, incidents_per_week=100.0))

    assert (stormy.columns["outcome"] == 1).mean() > 3 * (calm.columns["outcome"] == 1).mean()
