"""When sessions begin and what each is about."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from astray.lab.simulate.fleet import TASKS_PER_GROUP, ZONES_H, Fleet, Rhythm
from astray.lab.simulate.options import SimulationOptions
from astray.lab.simulate.randomness import cumulative, pick, uniform
from astray.lab.simulate.recording import Floats, Ints

SESSION_EVENTS_MAX: Final = 400
_INCIDENT_FAILURE_SHARE: Final = 0.35
_FOREIGN_SHARE: Final = 0.05  # of ad-hoc sessions: another team's task
_CRON_PERIODS_H: Final = np.array([0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 12.0, 24.0])

# How much is begun in each hour of the local day.
_HOURS: Final = cumulative(
    np.array(
        [
            [0, 0, 0, 0, 0, 0, 0.2, 1, 4, 7, 8, 7, 3, 5, 8, 8, 6, 4, 1.5, 0.5, 0.2, 0.1, 0, 0],
            [1.0] * 24,
            [7, 7, 6, 6, 6, 7, 7, 8, 9, 10, 10, 10, 9, 10, 10, 10, 10, 9, 9, 8, 8, 8, 7, 7],
        ]
    )
)
# How much is begun on each day of the week, Monday first; each row averages to one.
_WEEKDAYS: Final = np.array(
    [
        [1.38, 1.42, 1.4, 1.4, 1.25, 0.1, 0.05],
        [1.0] * 7,
        [1.05, 1.05, 1.05, 1.05, 1.05, 0.9, 0.85],
    ]
)
_HOLIDAY_FACTORS: Final = np.array([0.04, 1.0, 0.85])


@dataclass(frozen=True, slots=True)
class Plan:
    """The sessions to come, in order of their begin; one entry each."""

    fleet: Fleet
    start_ms: int  # of the recording
    agent: Ints
    day: Floats  # since that start
    task: Ints
    length: Ints
    ad_hoc: Ints
    failure_share: Floats


def plan_sessions(options: SimulationOptions, fleet: Fleet, rng: Generator) -> Plan:
    """Draw the sessions of the whole span."""
    agent, day = _begins(options, fleet, rng)
    alive = (day >= fleet.traits["birth_day"][agent]) & (day >= 0) & (day < options.days)
    order = np.argsort(day[alive], kind="stable")
    agent, day = agent[alive][order], day[alive][order]
    ad_hoc = (rng.random(len(day)) < options.ad_hoc_share).astype(np.int64)
    task = _choose_tasks(fleet, agent, day, ad_hoc, rng)
    return Plan(
        fleet=fleet,
        start_ms=options.start_ms,
        agent=agent,
        day=day,
        task=task,
        length=_lengths(options, fleet, agent, task, rng),
        ad_hoc=ad_hoc,
        failure_share=_failure_shares(fleet, agent, day),
    )


def _begins(options: SimulationOptions, fleet: Fleet, rng: Generator) -> tuple[Ints, Floats]:
    rhythm, rate = fleet.traits["rhythm"], fleet.traits["sessions_per_day"]
    days = np.arange(int(np.ceil(options.days)))
    factors = _WEEKDAYS[rhythm][:, (options.first_weekday + days) % 7]
    if fleet.holiday >= 0:
        factors[:, fleet.holiday] = np.minimum(factors[:, fleet.holiday], _HOLIDAY_FACTORS[rhythm])
    free = rhythm != Rhythm.CRON
    counts = rng.poisson(rate[:, None] * factors * free[:, None])
    agent, day = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), len(days))
    hour = pick(_HOURS[rhythm[agent]], rng.random(len(agent))) + rng.random(len(agent))
    zone_h = np.asarray(ZONES_H)[fleet.traits["group"][agent] % len(ZONES_H)]
    at_office = rhythm[agent] == Rhythm.OFFICE
    cron_agent, cron_day = _cron_begins(options, fleet, rng)
    # Everybody works at least once.
    birth_day = fleet.traits["birth_day"]
    once_day = birth_day + rng.random(len(birth_day)) * (options.days - birth_day)
    return (
        np.concatenate([agent, cron_agent, np.arange(len(birth_day))]),
        np.concatenate([day + (hour - zone_h * at_office) / 24, cron_day, once_day]),
    )


def _cron_begins(options: SimulationOptions, fleet: Fleet, rng: Generator) -> tuple[Ints, Floats]:
    agents = np.flatnonzero(fleet.traits["rhythm"] == Rhythm.CRON)
    wanted_h = 24 / fleet.traits["sessions_per_day"][agents]
    nearest = np.abs(np.log(wanted_h[:, None] / _CRON_PERIODS_H)).argmin(axis=1)
    period_day = _CRON_PERIODS_H[nearest] / 24
    # Jobs are set to round minutes.
    offset_day = np.floor(rng.random(len(agents)) * period_day * 288) / 288
    runs = np.ceil(options.days / period_day).astype(np.int64)
    which = np.repeat(np.arange(len(agents)), runs)
    run = np.arange(len(which)) - np.repeat(np.cumsum(runs) - runs, runs)
    jitter_day = rng.lognormal(0.5, 0.8, len(which)) / 86_400
    return agents[which], offset_day[which] + run * period_day[which] + jitter_day


def _choose_tasks(fleet: Fleet, agent: Ints, day: Floats, ad_hoc: Ints, rng: Generator) -> Ints:
    traits = fleet.traits
    era = (day >= traits["change_day"][agent]).astype(np.int64)
    # The same job runs at the same time of the day.
    slot = uniform(agent, np.floor(day % 1 * 48).astype(np.int64))
    draws = np.where(traits["rhythm"][agent] == Rhythm.CRON, slot, rng.random(len(agent)))
    usual = pick(cumulative(traits["preferences"])[agent, era], draws)
    task = traits["tasks"][agent, era, usual]
    anything = rng.integers(0, len(fleet.tasks.group), len(agent))
    own_group = traits["group"][agent] * TASKS_PER_GROUP + anything % TASKS_PER_GROUP
    odd = np.where(rng.random(len(agent)) < _FOREIGN_SHARE, anything, own_group)
    return np.where(ad_hoc == 1, odd, task)


def _lengths(
    options: SimulationOptions, fleet: Fleet, agent: Ints, task: Ints, rng: Generator
) -> Ints:
    spread = np.where(fleet.traits["rhythm"][agent] == Rhythm.CRON, 0.25, 0.75)
    mean = options.events_per_session * fleet.tasks.length_factor[task]
    draws = mean * np.exp(rng.normal(0.0, spread) - spread**2 / 2)
    # A few sessions are far longer than any bell curve allows.
    draws *= np.where(rng.random(len(task)) < 0.01, rng.pareto(1.5, len(task)) + 1, 1.0)
    return np.clip(np.rint(draws), 1, SESSION_EVENTS_MAX).astype(np.int64)


def _failure_shares(fleet: Fleet, agent: Ints, day: Floats) -> Floats:
    shares = fleet.traits["failure_share"][agent].copy()
    for group, start_day, end_day in fleet.incidents:
        hit = (fleet.traits["group"][agent] == group) & (day >= start_day) & (day < end_day)
        shares[hit] = _INCIDENT_FAILURE_SHARE
    return shares
