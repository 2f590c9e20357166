"""Changes for good: how soon they settle, and which of them ask for a review.

    python benchmarks/drift.py [--save]

Fleets of 160 agents over 60 days with incidents, drifting resources and newcomers. On the 40th day
nothing happens; or eight agents take over the work of eight others, of other groups; or half of a
group is given a new tool. With `half_life_days = 7` the roles change again.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from astray.config import load_config
from astray.flow.kernels import compile_kernels
from astray.lab.simulate import Recording, SimulationOptions, simulate
from detection.drift import DAY_MS, Course, change_roles, course_of, roll_out, settled_agents
from harness import report

_SEEDS = (1, 2)
_CHANGE_DAY = 40
_CHANGED = 8
_SCORES = (40.0, 20.0)
_SHORT_DAYS = 7.0
_GOAL = (
    "at most 10 reviews in a million sessions of agents that have not changed; every agent with "
    "another role is reviewed, most within 10 sessions, and no agent with only a new tool"
)


def _fleet(seed: int, roll_out_share: float) -> tuple[Recording, int]:
    options = SimulationOptions(
        days=60.0, seed=seed, role_change_share=0.0, roll_out_share=roll_out_share
    )
    return simulate(options), options.start_ms + _CHANGE_DAY * DAY_MS


def _roles(recording: Recording, seed: int, from_ms: int) -> dict[int, int]:
    """Return who takes over whose work: busy agents, of two groups each."""
    generator = np.random.default_rng(seed)
    left = generator.permutation(settled_agents(recording, from_ms, 200)).tolist()
    roles: dict[int, int] = {}
    while len(roles) < _CHANGED:
        agent = left.pop()
        group = recording.agents[agent].group
        other = next(number for number in left if recording.agents[number].group != group)
        left.remove(other)
        roles[agent] = other
    return roles


def _calm(course: Course) -> dict[str, Any]:
    sessions = len(course.n)
    false = len(course.reviews)
    return {
        "sessions": sessions,
        "reviews": false,
        "reviews_per_million": round(1e6 * false / sessions, 1),
        "realised_0.01": round(100.0 * float(np.mean(course.n >= 100.0)), 2),
    }


def _settling(course: Course, agents: Sequence[int], from_ms: int) -> dict[str, Any]:
    reviewed = [course.reviewed(agent, from_ms) for agent in agents]
    settled = {
        f"sessions_until_below_{score:g}": [
            course.settled_after(agent, from_ms, score) for agent in agents
        ]
        for score in _SCORES
    }
    names = {course.recording.agents[agent].name for agent in agents}
    alerts = [(at - from_ms) / DAY_MS for who, at in course.cases if who in names and at >= from_ms]
    return {
        "agents": len(agents),
        "reviewed": sum(map(bool, reviewed)),
        "sessions_until_review": [asked[0] for asked in reviewed if asked],
        "further_reviews": sum(len(asked) - 1 for asked in reviewed if asked),
        **settled,
        "cases": len(alerts),
        "day_of_the_last_of_nine_in_ten_cases": round(float(np.quantile(alerts or [0.0], 0.9)), 1),
    }


def _seed(seed: int) -> dict[str, Any]:
    config = load_config()
    short = load_config(overrides={"baseline": {"half_life_days": _SHORT_DAYS}})
    fleet, from_ms = _fleet(seed, 0.2)
    roles = _roles(fleet, seed, from_ms)
    changed = change_roles(fleet, roles, from_ms)
    still, _ = _fleet(seed, 0.0)
    group = still.agents[min(roles)].group
    members = [n for n in settled_agents(still, from_ms, 200) if still.agents[n].group == group]
    tool = course_of(roll_out(still, members[::2], from_ms), config)
    return {
        "nothing": _calm(course_of(fleet, config)),
        "role": _settling(course_of(changed, config), list(roles), from_ms),
        "role, half-life 7 days": _settling(course_of(changed, short), list(roles), from_ms),
        "tool": _settling(tool, members[::2], from_ms),
    }


def main() -> None:
    """Measure fleets of permanent seeds."""
    compile_kernels()
    report("drift", _GOAL, {f"seed {seed}": _seed(seed) for seed in _SEEDS})


if __name__ == "__main__":
    main()
