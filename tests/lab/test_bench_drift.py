"""Changes for good in simulated fleets: sessions settle without a person, and a review is asked."""

import numpy as np
import pytest

from astray.config import load_config
from astray.lab.simulate import SimulationOptions, simulate
from detection.drift import DAY_MS, change_roles, course_of, roll_out, settled_agents

_OPTIONS = SimulationOptions(
    agents=40,
    agents_per_group=10,
    days=32.0,
    seed=3,
    late_share=0.0,
    role_change_share=0.0,
    roll_out_share=0.0,
)
_FROM_MS = _OPTIONS.start_ms + 16 * DAY_MS


@pytest.fixture(scope="module")
def fleet():
    """Simulate a fleet in which nothing changes."""
    return simulate(_OPTIONS)


@pytest.fixture(scope="module")
def roles(fleet):
    """Return who takes over whose work: two of the busy ones, of other groups."""
    busy = settled_agents(fleet, _FROM_MS, 120)
    of = {group: [n for n in busy if fleet.agents[n].group == group] for group in
          {agent.group for agent in fleet.agents}}  # fmt: skip
    first, second, third, *_ = (agents for _, agents in sorted(of.items()) if len(agents) > 2)
    return {first[0]: second[0], second[1]: third[0]}


@pytest.fixture(scope="module")
def changed(fleet, roles):
    """Return what becomes of the fleet when two agents change their roles."""
    return course_of(change_roles(fleet, roles, _FROM_MS), load_config())


def test_a_role_that_changes_is_odd_at_first_and_then_it_is_the_agents_own(changed, roles):
    """The first sessions would all alert; after a while they are like all others."""
    for agent in roles:
        own = changed.n[changed.of([agent], _FROM_MS)]
        before = changed.n[changed.of([agent]) & (changed.end_ms < _FROM_MS)]

        assert np.median(own[:10]) > 300
        assert np.median(before) < 4
        assert changed.settled_after(agent, _FROM_MS, 40.0) < 100
        assert np.median(own[-20:]) < 30


def test_a_role_that_changes_is_reviewed_within_a_few_sessions(changed, roles):
    """Once or twice, and the rest of the fleet is left alone."""
    for agent in roles:
        asked = changed.reviewed(agent, _FROM_MS)

        assert 5 <= asked[0] <= 15
        assert len(asked) <= 2
    names = {changed.recording.agents[agent].name for agent in roles}
    assert {review.agent for review in changed.reviews} == names
    assert all(abs(r.since_us // 1000 - _FROM_MS) < 5 * DAY_MS for r in changed.reviews[:2])


@pytest.mark.slow
def test_a_tool_that_is_rolled_out_settles_within_days(fleet):
    """A few alerts on the first days, none after them, and no agent has to be reviewed."""
    busy = settled_agents(fleet, _FROM_MS, 100)
    group = fleet.agents[busy[0]].group
    half = [number for number in busy if fleet.agents[number].group == group][::2]
    names = {fleet.agents[number].name for number in half}

    course = course_of(roll_out(fleet, half, _FROM_MS), load_config())

    alerted = [at for agent, at in course.cases if agent in names and at >= _FROM_MS]
    first = course.of(half, _FROM_MS) & (course.end_ms < _FROM_MS + DAY_MS)
    later = course.of(half, _FROM_MS + 5 * DAY_MS)
    assert 0 < len(alerted) < 6 * len(half)
    assert np.median(course.n[first]) > 1.5 * np.median(course.n[later])
    assert np.mean(course.n[later] >= 100.0) < 0.03
    assert [at for at in alerted if at > _FROM_MS + 6 * DAY_MS] == []
    assert len(course.reviews) <= 1


def test_who_takes_over_leaves_nobody_behind(fleet, roles):
    """The heir has the other's sessions from that day on, and none of its own; nobody else changes."""
    heir, other = next(iter(roles.items()))

    recording = change_roles(fleet, {heir: other}, _FROM_MS)

    def sessions(of, agent, *, late):
        begins = {}
        for row in of.columns:
            begins.setdefault(int(row["session"]), int(row["ts_ms"]))
        named = [(of.sessions[n].agent, at) for n, at in begins.items()]
        return sum(who == agent and (at >= _FROM_MS) is late for who, at in named)

    assert sessions(recording, heir, late=True) == sessions(fleet, other, late=True) > 0
    assert sessions(recording, heir, late=False) == sessions(fleet, heir, late=False) > 0
    assert sessions(recording, other, late=True) == 0
