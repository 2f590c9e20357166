"""Small streams of whole sessions, hour by hour, and how they are ranked."""

import dataclasses

from astray.events import Event
from core import Core, decoded, small_config
from strategies import NOW_US

HOUR_US = 3_600_000_000
SECOND_US = 1_000_000
START_US = NOW_US - NOW_US % HOUR_US - 1000 * HOUR_US
CONFIG = small_config()


def session(agent, hour, count=4, *, size=1000, action="read", resource="a", at_s=0, **fields):
    """Return the events of a session that begins in an hour of the stream, and ends."""
    usual = Event(
        ts_us=START_US + hour * HOUR_US + at_s * SECOND_US, agent=agent, action=action,
        resources=(resource,), session=f"{agent}-{hour}-{at_s}", group="group",
        bytes=size, source="here", outcome="success", **fields,
    )  # fmt: skip
    events = [
        dataclasses.replace(usual, ts_us=usual.ts_us + place * SECOND_US) for place in range(count)
    ]
    return [*events[:-1], dataclasses.replace(events[-1], session_end=True)]


def id_of(agent):
    """Return the id under which an agent is reported."""
    return int(decoded(session(agent, 0, 1)).rows["agent"][0])


def ranked(*streams):
    """Rank several streams as one; return the largest n of each session by agent and beginning."""
    events = sorted((event for stream in streams for event in stream), key=lambda e: e.ts_us)
    # Time has to go on for the last hour to be ruled on.
    later = session("clock", (events[-1].ts_us - START_US) // HOUR_US + 2, 1)
    core, found = Core(CONFIG), {}
    for ruling in core.feed([*events, *later], batch=500):
        for rows in ruling.scored:
            for row in rows:
                key = (int(row["agent"]), int(row["start_us"]))
                found[key] = max(float(row["n"]), found.get(key, 1.0))
    return found
