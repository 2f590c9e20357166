"""Which resource each event touches, and what those resources are called."""

from typing import Final

import numpy as np
from numpy.random import Generator

from astray.lab.simulate.catalog import FAMILIES, WORDS, Scope
from astray.lab.simulate.fleet import ACTION_BUNDLE, ACTION_FAMILY
from astray.lab.simulate.randomness import below, mixed, zipf_rank
from astray.lab.simulate.recording import ABSENT, Floats, Ints, Vocabulary
from astray.lab.simulate.rhythm import Plan

_SCOPE: Final = np.array([family.scope for family in FAMILIES.values()])
_SIZE: Final = np.array([family.size for family in FAMILIES.values()])
_TEMPLATES: Final = [family.template for family in FAMILIES.values()]
_RETURNING_SHARE: Final = 0.25
_BUNDLE_MAX: Final = 5
_RARE_SHARE: Final = 0.35  # of the accesses in an ad-hoc session

# A resource is a key until it is named: family, owner and item in one number.
_ITEM_BITS: Final = 36
_FAMILY_SHIFT: Final = _ITEM_BITS + 16
_ITEM_MASK: Final = (1 << _ITEM_BITS) - 1
_OWNER_MASK: Final = (1 << 16) - 1
_NEW: Final = 1 << 30  # items from here on are ever-new ones


def draw_resources(
    plan: Plan, session: Ints, action: Ints, rounds: Ints, rng: Generator
) -> tuple[Ints, Vocabulary[tuple[str, ...]]]:
    """Choose the resource of every event, as numbers into the returned vocabulary.

    `rounds` counts how often a session has come back to the begin of its program: with each
    round comes the next customer or case.
    """
    family = ACTION_FAMILY[action]
    agent, task, day = plan.agent[session], plan.task[session], plan.day[session]
    owner = _owners(plan, family, agent, task)
    returning = rng.random(len(plan.agent)) < _RETURNING_SHARE
    regular = zipf_rank(_SIZE[family], rng.random(len(session)))
    rare = (rng.random(len(session)) < _RARE_SHARE) & (plan.ad_hoc[session] == 1)
    rank = np.where(rare, rng.integers(0, _SIZE[family]), regular)
    # Everybody has favourites of their own in a shared pool; drift moves them on.
    drift = np.floor(plan.fleet.traits["drift_per_day"][agent] * day).astype(np.int64)
    pooled = (rank + below(_SIZE[family], agent, task, family) + drift) % _SIZE[family]
    # One customer per round: every action of the round is about the same one.
    returned = below(_SIZE[family], session, np.minimum(rounds, 3))
    subject = np.where(returning[session], returned, _NEW + session * 64 + np.minimum(rounds, 63))
    fresh = _NEW + np.arange(len(session))
    scope = _SCOPE[family]
    item = np.select([scope == Scope.SUBJECT, scope == Scope.FRESH], [subject, fresh], pooled)
    keys = (family << _FAMILY_SHIFT) | (owner << _ITEM_BITS) | item
    keys[(scope == Scope.NONE) | (scope == Scope.CALLEE)] = ABSENT
    return _number(plan, keys, day, np.flatnonzero(ACTION_BUNDLE[action]), rng)


def draw_callees(plan: Plan, session: Ints, action: Ints, rng: Generator) -> Ints:
    """Choose the agent that every event calls, or ABSENT: each caller has a few of its own."""
    calls = _SCOPE[ACTION_FAMILY[action]] == Scope.CALLEE
    which = zipf_rank(np.full(len(session), 3), rng.random(len(session)))
    callee = below(len(plan.fleet.agents), plan.agent[session], which)
    return np.where(calls & (callee != plan.agent[session]), callee, ABSENT)


def _owners(plan: Plan, family: Ints, agent: Ints, task: Ints) -> Ints:
    scope = _SCOPE[family]
    group = plan.fleet.tasks.group[task]
    return np.select([scope == Scope.AGENT, scope == Scope.FLEET], [agent, 0], group)


def _number(
    plan: Plan, keys: Ints, day: Floats, bundled: Ints, rng: Generator
) -> tuple[Ints, Vocabulary[tuple[str, ...]]]:
    """Name every distinct key once and number the events by their names."""
    at = np.flatnonzero(keys != ABSENT)
    more_at = np.repeat(bundled, _BUNDLE_MAX - 1)
    item = keys[more_at] & _ITEM_MASK
    nearby = (item + rng.integers(1, 12, len(item))) % _SIZE[keys[more_at] >> _FAMILY_SHIFT]
    together = np.concatenate([keys[at], keys[more_at] - item + nearby])
    distinct, first, number = np.unique(together, return_index=True, return_inverse=True)
    names = _names(plan, distinct, np.concatenate([day[at], day[more_at]])[first])
    resources: Vocabulary[tuple[str, ...]] = Vocabulary()
    numbers = np.array([resources.add((name,)) for name in names], dtype=np.int64)
    result = np.full(len(keys), ABSENT)
    result[at] = numbers[number[: len(at)]]
    others = number[len(at) :].reshape(-1, _BUNDLE_MAX - 1).tolist()
    sizes = rng.integers(1, _BUNDLE_MAX, len(others)).tolist()
    for row, rest, size in zip(bundled.tolist(), others, sizes, strict=True):
        bundle = dict.fromkeys([*resources[result[row]], *(names[other] for other in rest[:size])])
        result[row] = resources.add(tuple(bundle))
    return result, resources


def _names(plan: Plan, keys: Ints, day: Floats) -> list[str]:
    owner = (keys >> _ITEM_BITS) & _OWNER_MASK
    private = _SCOPE[keys >> _FAMILY_SHIFT] == Scope.AGENT
    agent = np.where(private, owner, 0)
    group = np.where(private, plan.fleet.traits["group"][agent], owner % len(plan.fleet.groups))
    code = mixed(keys)
    moment_ms = (plan.start_ms + day * 86_400_000).astype("datetime64[ms]")
    return [
        _TEMPLATES[family].format(
            group=plan.fleet.groups[group_number],
            agent=plan.fleet.agents[agent_number].name,
            folder=WORDS[(owner_number + bits % 5) % len(WORDS)],
            word=WORDS[(bits >> 8) % len(WORDS)],
            number=1_000_000 + (bits >> 16) % 9_000_000,
            hex=f"{bits & 0xFFFFFFFFFF:010x}",
            date=date,
        )
        for family, owner_number, group_number, agent_number, bits, date in zip(
            (keys >> _FAMILY_SHIFT).tolist(),
            owner.tolist(),
            group.tolist(),
            agent.tolist(),
            code.tolist(),
            np.datetime_as_string(moment_ms, unit="D").tolist(),
            strict=True,
        )
    ]
