"""From planned sessions to events: programs walked, pauses, sizes, outcomes, identities."""

from typing import Final

import numpy as np
from numpy.random import Generator

from astray.lab.simulate.catalog import FIRST_NAMES, LAST_NAMES
from astray.lab.simulate.fleet import ACTION_BYTES, ACTIONS, Fleet
from astray.lab.simulate.options import SimulationOptions
from astray.lab.simulate.randomness import below, mixed, pick, uniform, zipf_rank
from astray.lab.simulate.recording import (
    ABSENT,
    DENIED,
    EVENT,
    FAILURE,
    REFUSAL_BYTES_MAX,
    SUCCESS,
    Bools,
    Ints,
    Recording,
    Session,
    Vocabulary,
    in_time_order,
)
from astray.lab.simulate.resources import draw_callees, draw_resources
from astray.lab.simulate.rhythm import Plan

_RETRY_SHARE: Final = 0.6  # of failed calls
_GAP_MAX_S: Final = 900.0  # well under the half hour that ends a session
_HABIT_SHARPNESS: Final = 3.0
_ROLLED_OUT_SHARE: Final = 0.8
_DAY_MS: Final = 86_400_000
_USERS_PER_GROUP: Final = 64
_SOURCES_PER_AGENT: Final = 256


def play(options: SimulationOptions, plan: Plan, rng: Generator) -> Recording:
    """Record a planned span without attacks."""
    starts = np.cumsum(plan.length) - plan.length
    session = np.repeat(np.arange(len(plan.length)), plan.length)
    failed = rng.random(len(session)) < plan.failure_share[session]
    state, repeated = _walk(plan, starts, failed, rng)
    # A repeated call is the same call: of its first try all but time, size and outcome stay.
    tried = np.maximum.accumulate(np.where(repeated, 0, np.arange(len(session))))
    action = _choose_actions(plan, session, state, rng)[tried]
    returns = np.cumsum((state == 0) & (np.roll(state, 1) != 0))
    rounds = returns - returns[starts][session]
    resource, resources = draw_resources(plan, session, action, rounds, rng)
    callee = draw_callees(plan, session, action, rng)
    source, sources = _draw_sources(plan, rng)
    principal, principals = _draw_principals(plan, rng)
    columns = np.zeros(len(session), EVENT)
    columns["ts_ms"] = _draw_times(plan, starts, session, failed, rng)
    columns["session"] = session
    columns["action"] = action
    columns["resource"] = resource[tried]
    columns["outcome"] = outcome = _draw_outcomes(plan, session, failed, rng)
    columns["source"] = source[session]
    columns["principal"] = principal[session]
    columns["target"] = callee[tried]
    size = _draw_bytes(plan, session, action, rng)
    columns["bytes"] = np.where(outcome == SUCCESS, size, np.minimum(size, REFUSAL_BYTES_MAX))
    return Recording(
        columns=in_time_order(columns),
        sessions=_describe(options, plan),
        agents=plan.fleet.agents,
        actions=Vocabulary(known.name for known in ACTIONS),
        resources=resources,
        sources=sources,
        principals=principals,
        targets=Vocabulary(agent.name for agent in plan.fleet.agents),
    )


def _walk(plan: Plan, starts: Ints, failed: Bools, rng: Generator) -> tuple[Ints, Bools]:
    """Find the program state of every event, and whether it repeats a failed call.

    All sessions take their n-th step at once.
    """
    states, repeats = np.empty(len(failed), np.int64), np.zeros(len(failed), np.bool_)
    # Longest first, so that the sessions still running are always a prefix.
    order = np.argsort(-plan.length, kind="stable")
    length, start, task = plan.length[order], starts[order], plan.task[order]
    state, repeat = np.zeros(len(order), np.int64), np.zeros(len(order), np.bool_)
    running = np.searchsorted(-length, -np.arange(length[0]), side="left")
    for step, count in enumerate(running.tolist()):
        at = start[:count] + step
        states[at], repeats[at] = state[:count], repeat[:count]
        repeat[:count] = failed[at] & (rng.random(count) < _RETRY_SHARE)
        moved = pick(plan.fleet.tasks.moves[task[:count], state[:count]], rng.random(count))
        state[:count] = np.where(repeat[:count], state[:count], moved)
    return states, repeats


def _choose_actions(plan: Plan, session: Ints, state: Ints, rng: Generator) -> Ints:
    agent, task, day = plan.agent[session], plan.task[session], plan.day[session]
    # Most agents have made up their mind which of two tools they use in a state.
    lean = uniform(agent, task, state)
    sharp = lean**_HABIT_SHARPNESS / (lean**_HABIT_SHARPNESS + (1 - lean) ** _HABIT_SHARPNESS)
    habit = (rng.random(len(session)) < sharp).astype(np.int64)
    action = plan.fleet.tasks.actions[task, state, habit]
    strays = np.flatnonzero(rng.random(len(session)) < plan.fleet.traits["stray_share"][agent])
    reach = plan.fleet.tasks.reach[task[strays]]
    action[strays] = reach[np.arange(len(strays)), rng.integers(0, reach.shape[1], len(strays))]
    switched = rng.random(len(session)) < _ROLLED_OUT_SHARE
    for group, from_day, old, new in plan.fleet.roll_outs:
        has_it = (plan.fleet.traits["group"][agent] == group) & (day >= from_day)
        action[has_it & switched & (action == old)] = new
    return action


def _draw_times(plan: Plan, starts: Ints, session: Ints, failed: Bools, rng: Generator) -> Ints:
    agent = plan.agent[session]
    noise = rng.standard_normal(len(session)) * plan.fleet.traits["gap_spread"][agent]
    # A failed call takes longer to come back.
    gap_s = np.exp(plan.fleet.traits["gap_log_s"][agent] + noise) * np.where(failed, 1.5, 1.0)
    elapsed_s = np.cumsum(np.minimum(gap_s, _GAP_MAX_S))
    since_begin_s = elapsed_s - elapsed_s[starts][session]
    begin_ms = plan.start_ms + np.floor(plan.day * _DAY_MS).astype(np.int64)
    times_ms: Ints = begin_ms[session] + np.floor(since_begin_s * 1000).astype(np.int64)
    return times_ms


def _draw_outcomes(plan: Plan, session: Ints, failed: Bools, rng: Generator) -> Ints:
    denied = rng.random(len(session)) < plan.fleet.traits["denied_share"][plan.agent[session]]
    return np.select([failed, denied], [FAILURE, DENIED], SUCCESS)


def _draw_bytes(plan: Plan, session: Ints, action: Ints, rng: Generator) -> Ints:
    usual = ACTION_BYTES[action]
    # How much one action's sizes vary is a matter of the action.
    spread = 0.3 + 0.9 * uniform(action)
    factor = plan.fleet.traits["size_factor"][plan.agent[session]]
    sizes = usual * factor * np.exp(rng.standard_normal(len(session)) * spread)
    return np.where(usual > 0, np.rint(sizes), ABSENT).astype(np.int64)


def _draw_sources(plan: Plan, rng: Generator) -> tuple[Ints, Vocabulary[str]]:
    """Place each session: a pod that is replaced, one or two hosts, a workload."""
    traits = plan.fleet.traits[plan.agent]
    life = np.floor(plan.day / traits["pod_days"]).astype(np.int64)
    pod = below(250, plan.agent, life)
    host = (rng.random(len(life)) < 0.1).astype(np.int64)
    style = traits["source_style"]
    slot = np.select([style == 0, style == 1], [pod, host], 0)
    keys, number = np.unique(plan.agent * _SOURCES_PER_AGENT + slot, return_inverse=True)
    pairs = (divmod(key, _SOURCES_PER_AGENT) for key in keys.tolist())
    return number, Vocabulary(_source_name(plan.fleet, *pair) for pair in pairs)


def _source_name(fleet: Fleet, agent: int, slot: int) -> str:
    if fleet.traits["source_style"][agent] == 2:
        name, group = fleet.agents[agent].name, fleet.groups[fleet.traits["group"][agent]]
        return f"spiffe://prod.acme.example/ns/{group}/sa/{name}"
    pod = fleet.traits["source_style"][agent] == 0
    octet = slot if pod else int(below(100, agent)[0]) + slot
    return f"10.{16 + agent // 250}.{agent % 250}.{1 + octet}"


def _draw_principals(plan: Plan, rng: Generator) -> tuple[Ints, Vocabulary[str]]:
    """Name whom each session works for: office agents have a few users of their own."""
    users = plan.fleet.traits["users"][plan.agent]
    rank = zipf_rank(np.maximum(users, 1), rng.random(len(users)))
    user = below(_USERS_PER_GROUP, plan.agent, rank)
    keys = plan.fleet.traits["group"][plan.agent] * _USERS_PER_GROUP + user
    distinct, number = np.unique(keys, return_inverse=True)
    names = Vocabulary(_user_name(int(key)) for key in distinct)
    return np.where(users > 0, number, ABSENT), names


def _user_name(key: int) -> str:
    first = FIRST_NAMES[key % len(FIRST_NAMES)]
    return f"{first}.{LAST_NAMES[key // len(FIRST_NAMES) % len(LAST_NAMES)]}{key}"


def _describe(options: SimulationOptions, plan: Plan) -> list[Session]:
    """Tell what is true of the sessions.

    A task is known if its agent has done it in the warm-up. Nothing can be said of an agent
    without a warm-up, and everything in the warm-up counts as known.
    """
    warm = plan.day < options.warmup_share * options.days
    job = plan.agent * len(plan.fleet.tasks.group) + plan.task
    known = np.where(np.isin(job, job[warm]), 1, 0)
    known[~np.isin(plan.agent, plan.agent[warm])] = ABSENT
    names = mixed(options.seed, np.arange(len(job))).tolist()
    return [
        Session(
            name=f"s{name >> 16:012x}",
            agent=agent,
            phase="warmup" if early else "test",
            known_task=None if known_task == ABSENT else known_task,
        )
        for name, agent, early, known_task in zip(
            names, plan.agent.tolist(), warm.tolist(), known.tolist(), strict=True
        )
    ]
