"""Makes the golden state of this version: what a small fleet has taught a shard and a decider.

    PYTHONPATH=tests python tests/golden/making.py

Run it before the schema version is raised, and keep what it writes for ever: every later
version that says that it reads this one has to go on from it.
"""

import gzip
import random
from pathlib import Path

from astray.blob import SCHEMA_VERSION
from astray.config import Config
from astray.events import Event
from core import Core, small_config

GOLDEN = Path(__file__).parent
AGENTS, DAYS = 10, 40

_HOUR_US = 3_600_000_000
START_US = 490_000 * _HOUR_US
_ENDED = 5


def golden_config() -> Config:
    """Return the configuration of the golden state."""
    return small_config(reference={"rehearsals": 4})


def usual(agent: int, day: int, *, ends: bool = True) -> list[Event]:
    """Return the session of an agent on a day: the last of several events ends it, if at all."""
    generator = random.Random(100 * agent + day)
    count = generator.randint(3, _ENDED)
    return [
        Event(
            ts_us=START_US + (24 * day + agent) * _HOUR_US + step * 1_000_000,
            agent=f"agent-{agent}",
            group=f"group-{agent % 2}",
            session=f"{agent}-{day}",
            action=f"do-{generator.randint(0, 3)}",
            resources=(f"things/{agent}/{generator.randint(0, 5)}",),
            source=f"here-{agent}",
            target_agent="helper" if step == 1 else "",
            bytes=int(1000 * generator.lognormvariate(0, 0.3)),
            outcome="success",
            session_end=ends and step == count - 1,
        )
        for step in range(count)
    ]


def history() -> list[Event]:
    """Return what the golden state has seen: the last session of each agent is still open."""
    events = [
        event for day in range(DAYS) for agent in range(AGENTS) for event in usual(agent, day)
    ]
    return [*events, *(e for agent in range(AGENTS) for e in usual(agent, DAYS, ends=False))]


def main() -> None:
    """Write the golden state."""
    core = Core(golden_config())
    core.feed(history(), batch=100)
    for name, state in (("shard", core.shards[0].dump()), ("decider", core.decider.dump())):
        packed = gzip.compress(state, mtime=0)
        (GOLDEN / f"{SCHEMA_VERSION}-{name}.gz").write_bytes(packed)


if __name__ == "__main__":
    main()
