"""A small fleet that does the same every day, and something new once a week."""

import dataclasses

from astray.events import Event
from core import Core
from made import DAY_US
from made import START_US as NOW_US

AGENTS, DAYS = 12, 60
START_US = NOW_US - DAYS * DAY_US


def fleet(*, days=DAYS, last=()):
    """Return a working day of each agent for so many days, and on the last one what is `last`.

    Everybody reads and writes, and tries something else once a week.
    """
    events = []
    for day in range(days):
        for number in range(AGENTS):
            at_us = START_US + day * DAY_US + number * 60_000_000
            one = Event(ts_us=at_us, agent=f"bot-{number}", group="bots", action="read",
                        resources=("db/a",), session=f"s{number}-{day}")  # fmt: skip
            acts = [("read", "db/a"), ("write", "db/b")]
            tries = (5 * day + number) % 7 == 0 and day < days - 1
            acts += [(f"try-{day}", "db/a")] if tries else []
            acts += [act for agent, act in last if day == days - 1 and agent == number]
            events += [
                dataclasses.replace(
                    one, ts_us=at_us + 1_000_000 * place, action=action, resources=(resource,),
                    session_end=place == len(acts) - 1, event_id=f"e{number}-{day}-{place}",
                )
                for place, (action, resource) in enumerate(acts)
            ]  # fmt: skip
    return sorted(events, key=lambda event: event.ts_us)


def watched(config, events):
    """Return a core that has seen the events, and all that it ranked, and all it decided."""
    core, seen = Core(config), []
    core.decider.audit = seen.append
    rulings = core.feed(events, 100)
    return core, seen, [decision for ruling in rulings for decision in ruling.decisions]
