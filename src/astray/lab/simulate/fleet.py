"""Who is in the fleet: groups, their tasks, and agents with habits of their own."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.random import Generator

from astray.lab.simulate.catalog import COMMON, DOMAINS, FAMILIES, JOBS, ROLL_OUTS, TEAMS, Action
from astray.lab.simulate.options import SimulationOptions
from astray.lab.simulate.randomness import cumulative
from astray.lab.simulate.recording import Agent, Bools, Columns, Floats, Ints

ACTIONS: Final = tuple(
    dict.fromkeys([*COMMON, *(a for table in DOMAINS.values() for a in table), *ROLL_OUTS.values()])
)
ACTION_FAMILY: Final = np.array([list(FAMILIES).index(action.family) for action in ACTIONS])
ACTION_BYTES: Final = np.array([float(action.size_bytes) for action in ACTIONS])
ACTION_BUNDLE: Final = np.array([action.bundle for action in ACTIONS])

_DAILY_TOOLS: Final = len(ACTIONS) - len(ROLL_OUTS)  # the tools of a roll-out stand last

TASKS_PER_GROUP: Final = 8
STATES: Final = 8  # of a task's program
_HOLIDAY_WEEKDAYS_MIN: Final = 8  # a shorter test phase has no holiday
PREFERRED: Final = 5  # tasks an agent does in one era of its life
ZONES_H: Final = (0, 1, 8, -5, 0, 1, 5, -8)


class Rhythm(IntEnum):
    """When an agent works."""

    OFFICE = 0  # weekdays, working hours
    CRON = 1  # at exact times
    ALWAYS_ON = 2  # round the clock, a little more by day


_RHYTHM_SHARES: Final = (0.5, 0.25, 0.25)
# Relative to the mean of the fleet; weighted by the shares above they average to one.
_RHYTHM_RATES: Final = (0.66, 1.0, 1.68)
_KINDS: Final = (
    ("ai_agent", "ai_agent", "bot"),
    ("script", "service_account", "api_key"),
    ("service_account", "ai_agent", "api_key"),
)

# An era is a stretch of life with one job: before and after the day of a role change.
TRAITS: Final = np.dtype(
    [
        ("group", np.int64),
        ("rhythm", np.int64),
        ("sessions_per_day", np.float64),
        ("birth_day", np.float64),
        ("change_day", np.float64),
        ("tasks", np.int64, (2, PREFERRED)),
        ("preferences", np.float64, (2, PREFERRED)),
        ("gap_log_s", np.float64),
        ("gap_spread", np.float64),
        ("failure_share", np.float64),
        ("denied_share", np.float64),
        ("drift_per_day", np.float64),
        ("stray_share", np.float64),
        ("size_factor", np.float64),
        ("source_style", np.int64),
        ("pod_days", np.float64),
        ("users", np.int64),
    ]
)


@dataclass(frozen=True, slots=True)
class Tasks:
    """Programs: in each state one of two actions (a matter of habit), then on to the next."""

    group: Ints  # of each task
    actions: Ints  # task, state, habit
    reach: Ints  # task, tool: everything that its agents might pick up
    moves: Floats  # task, state, next state: distribution function
    length_factor: Floats


class RollOut(NamedTuple):
    """From `day` on, `group` does `new` in most places where it did `old`."""

    group: int
    day: float
    old: int
    new: int


class Incident(NamedTuple):
    """A time in which most calls of `group` fail."""

    group: int
    start_day: float
    end_day: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything about a simulated company that does not change from session to session."""

    agents: list[Agent]
    groups: list[str]
    traits: Columns
    tasks: Tasks
    roll_outs: list[RollOut]
    incidents: list[Incident]
    holiday: int  # a day almost without office work, -1 if there is none


def build_fleet(options: SimulationOptions, rng: Generator) -> Fleet:
    """Draw a fleet."""
    count = -(-options.agents // options.agents_per_group)
    domains = [list(DOMAINS)[number % len(DOMAINS)] for number in range(count)]
    groups = [f"{domain}-{_team(n // len(DOMAINS))}" for n, domain in enumerate(domains)]
    tasks = _build_tasks(domains, rng)
    traits = _build_traits(options, tasks, rng)
    return Fleet(
        agents=_name_agents(options, groups, traits, rng),
        groups=groups,
        traits=traits,
        tasks=tasks,
        roll_outs=_plan_roll_outs(options, domains, tasks, rng),
        incidents=_plan_incidents(options, count, rng),
        holiday=_plan_holiday(options, rng),
    )


def _team(number: int) -> str:
    return TEAMS[number] if number < len(TEAMS) else f"team-{number}"


def _build_tasks(domains: list[str], rng: Generator) -> Tasks:
    common = _numbers(COMMON)
    actions, reach = [], []
    for domain in domains:
        own = _numbers(DOMAINS[domain])
        # Mostly tools of the trade, some that everybody has, hardly ever those of others.
        near = [rng.choice(own, 24), rng.choice(common, 7), rng.integers(0, _DAILY_TOOLS, 1)]
        reach += [np.concatenate(near)] * TASKS_PER_GROUP
        for _ in range(TASKS_PER_GROUP):
            few = rng.choice(own, size=(rng.integers(3, 7), 2))
            spice = rng.choice(common, size=(rng.integers(1, 3), 2))
            program = rng.permutation(np.concatenate([few, spice]))
            # Short programs are repeated to fill the table: the loop is the same.
            actions.append(np.resize(program, (STATES, 2)))
    total = len(actions)
    moves = rng.dirichlet(np.full(STATES, 0.3), size=(total, STATES)) * 0.25
    here = np.arange(STATES)
    moves[:, here, (here + 1) % STATES] += 0.55
    moves[:, here, here] += 0.12
    moves[:, here, here - 1] += 0.08
    return Tasks(
        group=np.repeat(np.arange(len(domains)), TASKS_PER_GROUP),
        actions=np.stack(actions),
        reach=np.stack(reach),
        moves=cumulative(moves),
        length_factor=np.exp(rng.normal(0.0, 0.35, total)),
    )


def _numbers(actions: tuple[Action, ...]) -> list[int]:
    return [ACTIONS.index(action) for action in actions]


def _build_traits(options: SimulationOptions, tasks: Tasks, rng: Generator) -> Columns:
    agents = options.agents
    traits = np.zeros(agents, TRAITS)
    traits["group"] = np.arange(agents) // options.agents_per_group
    traits["rhythm"] = rng.choice(3, size=agents, p=_RHYTHM_SHARES)
    rates = options.sessions_per_day * np.asarray(_RHYTHM_RATES)[traits["rhythm"]]
    traits["sessions_per_day"] = rates * rng.lognormal(-0.125, 0.5, agents)
    late = _some(options.late_share, agents, rng)
    births = rng.uniform(0.3, 0.85, agents) * options.days
    traits["birth_day"] = np.where(late, births, 0.0)
    changes = _some(options.role_change_share, agents, rng)
    days = options.days * (options.warmup_share + (1 - options.warmup_share) * rng.random(agents))
    traits["change_day"] = np.where(changes & ~late, days, np.inf)
    traits["gap_log_s"] = rng.normal(1.6, 0.6, agents)
    traits["gap_spread"] = rng.uniform(0.6, 1.2, agents)
    traits["failure_share"] = rng.beta(1.2, 70, agents)
    traits["denied_share"] = rng.beta(1.0, 300, agents)
    drifts = _some(options.drift_share, agents, rng)
    traits["drift_per_day"] = np.where(drifts, rng.uniform(0.1, 0.8, agents), 0.0)
    # A model that chooses its tools goes astray now and then; a script never does.
    chooses = traits["rhythm"] != Rhythm.CRON
    traits["stray_share"] = np.where(chooses, rng.lognormal(-6.5, 1.0, agents), 0.0)
    traits["size_factor"] = rng.lognormal(0.0, 0.4, agents)
    traits["source_style"] = rng.choice(3, size=agents, p=(0.4, 0.35, 0.25))
    traits["pod_days"] = rng.uniform(3.0, 15.0, agents)
    users = rng.integers(1, 9, agents)
    traits["users"] = np.where(traits["rhythm"] == Rhythm.OFFICE, users, 0)
    for agent in traits:
        _give_job(agent, tasks, rng)
    return traits


def _some(share: float, count: int, rng: Generator) -> Bools:
    """Choose exactly this share of `count`, rounded."""
    return rng.permutation(count) < round(share * count)


def _give_job(agent: np.void, tasks: Tasks, rng: Generator) -> None:
    """Choose the tasks of both eras; the second keeps some of the first."""
    own = np.flatnonzero(tasks.group == agent["group"])
    before = rng.choice(own, PREFERRED, replace=False)
    weights = np.sort(rng.dirichlet(np.full(PREFERRED, 0.8)) + 0.03)[::-1]
    weights[rng.integers(2, PREFERRED + 1) :] = 0.0
    agent["tasks"][:] = before
    agent["preferences"][:] = weights / weights.sum()
    # One job change in three leads to another team.
    others = np.flatnonzero(tasks.group != agent["group"])
    pool = others if len(others) and rng.random() < 1 / 3 else np.setdiff1d(own, before)
    agent["tasks"][1, 1:3] = rng.choice(pool, 2, replace=False)
    agent["preferences"][1] = rng.permutation((0.4, 0.3, 0.2, 0.1, 0.0))
    agent["preferences"][1, 3:] *= agent["preferences"][0, 3:] > 0
    agent["preferences"][1] /= agent["preferences"][1].sum()


def _name_agents(
    options: SimulationOptions, groups: list[str], traits: Columns, rng: Generator
) -> list[Agent]:
    jobs = rng.integers(0, len(JOBS), options.agents)
    kinds = rng.integers(0, 3, options.agents)
    grouped = ~_some(options.ungrouped_share, options.agents, rng)
    return [
        Agent(
            name=f"{groups[group]}-{JOBS[job]}-{number:03d}",
            group=groups[group] if has_group else None,
            kind=_KINDS[rhythm][kind],
            tenant=f"tenant-{group % options.tenants}" if options.tenants > 1 else None,
        )
        for number, (group, rhythm, job, kind, has_group) in enumerate(
            zip(traits["group"], traits["rhythm"], jobs, kinds, grouped, strict=True)
        )
    ]


def _plan_roll_outs(
    options: SimulationOptions, domains: list[str], tasks: Tasks, rng: Generator
) -> list[RollOut]:
    chosen = np.flatnonzero(_some(options.roll_out_share, len(domains), rng))
    days = rng.uniform(0.45, 0.85, len(domains)) * options.days
    used = {group: np.bincount(tasks.actions[tasks.group == group].ravel()) for group in chosen}
    return [
        RollOut(
            group=int(group),
            day=float(days[group]),
            # A common tool is not replaced: every group has it.
            old=len(COMMON) + int(used[group][len(COMMON) :].argmax()),
            new=ACTIONS.index(ROLL_OUTS[domains[group]]),
        )
        for group in chosen
    ]


def _plan_incidents(options: SimulationOptions, groups: int, rng: Generator) -> list[Incident]:
    starts = rng.random(rng.poisson(options.incidents_per_week * options.days / 7)) * options.days
    return [
        Incident(int(rng.integers(groups)), start, start + rng.uniform(1.0, 4.0) / 24)
        for start in starts.tolist()
    ]


def _plan_holiday(options: SimulationOptions, rng: Generator) -> int:
    test_days = np.arange(int(options.warmup_share * options.days) + 1, int(options.days))
    weekdays = test_days[(options.first_weekday + test_days) % 7 < 5]
    return int(rng.choice(weekdays)) if len(weekdays) >= _HOLIDAY_WEEKDAYS_MIN else -1
