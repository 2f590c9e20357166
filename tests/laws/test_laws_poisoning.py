"""Whoever makes an act look usual, a little more of it in each session, is told of before it.

In a fleet that returns to what it knows: where every session meets something new, one thing
more is no evidence. How far such fleets are from this is in the quality benchmark.
"""

import dataclasses
import random

import pytest

from shapes import HOUR_US, START_US, id_of, ranked, session

AGENTS, HOURS = 12, 200
FIRST_HOUR, EVERY_HOURS, SESSIONS, PARTS = 120, 8, 9, 4
ALERT = 1000.0
"""1 in so many: score 60, from which on an analyst is told."""

CAUGHT_MIN = 0.75

OWN = (["read", "list", "write"], list("abcdefgh"))
OTHERS = (["pay", "export", "approve"], list("stuvwxyz"))


def team(name, does, seed):
    """Return ordinary sessions of a team, an hour each: what it does, and on what."""
    generator = random.Random(seed)
    actions, resources = does
    return [
        dataclasses.replace(
            event,
            group=name,
            action=generator.choice(actions),
            resources=(generator.choice(resources),),
            bytes=int(1000 * generator.lognormvariate(0.0, 0.5)),
        )
        for hour in range(HOURS)
        for number in range(AGENTS)
        for event in session(f"{name}-{number}", hour, generator.randint(2, 8), at_s=60 * number)
    ]


def campaign(own, generator, actions):
    """Return an agent's hours that an attacker enters, and what comes in each: the act is last.

    Every session shows a further part of the act, or again one from before.
    """
    parts = [(generator.choice(actions), generator.choice(OTHERS[1])) for _ in range(PARTS)]
    hours = [FIRST_HOUR + generator.randrange(EVERY_HOURS) + EVERY_HOURS * turn
             for turn in range(SESSIONS)]  # fmt: skip
    entered = {}
    for turn, hour in enumerate(hours):
        shown = -(-(turn + 1) * PARTS // (SESSIONS - 1))
        which = {shown - 1, generator.randrange(shown)} if hour != hours[-1] else range(PARTS)
        host = next(event for event in own if event.ts_us >= START_US + hour * HOUR_US)
        entered[host.ts_us] = [
            dataclasses.replace(
                host, ts_us=host.ts_us + 1000 * (place + 1), action=parts[part][0],
                resources=(parts[part][1],), session_end=False,
            )
            for place, part in enumerate(sorted(which))
        ]  # fmt: skip
    return entered


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_patient_poisoner_is_told_of_before_the_final_act(seed):
    """Three campaigns in four at least, and nobody who is harmless.

    Half of them come with the other team's tools, half with the victim's on what is the others'.
    """
    generator = random.Random(seed)
    usual = [*team("group", OWN, 1), *team("other", OTHERS, 2)]
    campaigns = {}
    for number in range(AGENTS):
        name = f"group-{number}"
        own = [event for event in usual if event.agent == name]
        campaigns[name] = campaign(own, generator, (OTHERS if number % 2 else OWN)[0])
    acts = [event for one in campaigns.values() for some in one.values() for event in some]

    found = ranked(usual, acts)

    by_session = {(id_of(name), ts_us) for name, one in campaigns.items() for ts_us in one}
    caught = [
        max(found[id_of(name), ts_us] for ts_us in sorted(one)[:-1]) >= ALERT
        for name, one in campaigns.items()
    ]
    assert sum(caught) >= CAUGHT_MIN * AGENTS
    assert not [key for key, n in found.items() if key not in by_session and n >= ALERT]
