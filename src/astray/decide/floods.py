"""Floods: many agents that do the same thing at once, each of which seems to be itself.

    floods.show(window_us, shown)
    reviews = floods.tell(records)    # at once: a count only grows while a window lasts
    reviews = floods.turn(window_us)

No baseline of one agent has such a thing: a worm among agents, a wave of stolen keys, a
roll-out that nobody announced. How many agents do one thing in a window is compared with how
many did such a thing together in a window before, to anything that looks alike: the report
of the day is new every day, and every day everybody reads it. Usual is what there has been on
so many days; until then a flood of yesterday hides none of today.

Limits stay as they are while a window lasts, so whether there is a flood depends on the window
alone. What it is told of as depends on what was first: one thing can be done to many others.
"""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astray.baseline.activity import Shown
from astray.baseline.records import Records
from astray.baseline.swarms import Swarming
from astray.config import Config
from astray.decide.review import Review
from astray.events import ANY_TIME_US, Event, Lines, parse_line

KINS_MAX = 1 << 16
"""Kinds of things whose most is remembered; beyond them those longest not seen are forgotten."""

SWARMS_MAX = 1 << 16
"""Things of one window that are counted; there is no flood of more of them."""

AT_ONCE_MAX = 20
"""So many floods of a tenant open a case in one window; whoever looks at those sees the others."""

TENANTS_MAX = 1000
"""Tenants that are watched."""

DAYS = 3
"""What there has been on so many days is usual."""


class Lost(StrEnum):
    """What is lost of floods for want of room; each has its bound.

    `KINDS`: kinds of things that are forgotten, and what is usual of them. `SWARMS`: things that
    are not counted, each time that a shard tells of one. `AT_ONCE` and `TENANTS`: floods that
    open no case, one an hour of what is done. `NEWCOMERS`: sessions that are ranked in no wave.
    """

    KINDS = "kinds"
    SWARMS = "swarms"
    AT_ONCE = "at_once"
    TENANTS = "tenants"
    NEWCOMERS = "newcomers"


_FORGOTTEN_AT_ONCE = 16
_DAY_US = 86_400_000_000
_BLOCK_US = 28 * _DAY_US
"""Days count in the block of time that they are in, and in the next one."""

_SCHEMA = 1
_KIN_BYTES, _SWARM_BYTES = 800, 500
_NEVER = -1

_DAYS_TYPE = (np.int64, (DAYS, 2))
_KIN = np.dtype(
    [
        ("kin", np.uint64),
        ("last_us", np.int64),
        ("told_us", np.int64),
        ("told", np.int64),
        ("block", np.int64),
        ("now", *_DAYS_TYPE),
        ("before", *_DAYS_TYPE),
    ]
)
_COUNT = np.dtype(
    [
        ("key", np.uint64),
        ("done", np.uint64),
        ("kin", np.uint64),
        ("shard", np.int64),
        ("agents", np.int64),
    ]
)

_Days = tuple[tuple[int, int], ...]
"""The days of a block with the most agents in a window: how many, and which day."""

_NOTHING: _Days = ((0, _NEVER),) * DAYS


class _Kin(NamedTuple):
    """What there has been of things that look alike.

    A flood of `told` agents was told of in the window `told_us`. `now` and `before` are of
    `block` and of the one before it.
    """

    last_us: int = 0
    told_us: int = _NEVER
    told: int = 0
    block: int = _NEVER
    now: _Days = _NOTHING
    before: _Days = _NOTHING

    def at(self, window_us: int) -> "_Kin":
        """Return it as it is in a window."""
        block = window_us // _BLOCK_US
        if block == self.block:
            return self
        before = self.now if block == self.block + 1 else _NOTHING
        return self._replace(block=block, now=_NOTHING, before=before)

    def with_count(self, agents: int, window_us: int) -> "_Kin":
        """Return it with what there was in the window it is of."""
        day = window_us // _DAY_US
        most = max([agents, *(count for count, of in self.now if of == day)])
        others = [one for one in self.now if one[1] != day]
        now = sorted([*others, (most, day)], reverse=True)[:DAYS]
        return self._replace(last_us=window_us, now=tuple(now))

    @property
    def usual(self) -> int:
        """Return how many agents there have been on several days."""
        return sorted(self.now + self.before, reverse=True)[DAYS - 1][0]


_UNKNOWN = _Kin()


class Floods:
    """What is usual for the agents of some tenants together, and what they do in a window.

    `lost` counts what there was no room for since it was made; any thread may look.
    """

    def __init__(self, config: Config) -> None:
        flood = config.flood
        self._agents_min = flood.agents_min
        self._times_usual = flood.times_usual
        self._learn_us = int(flood.learn_days * _DAY_US)
        self.lost = dict.fromkeys(Lost, 0)
        self._window_us = 0
        self._kins: dict[int, _Kin] = {}
        self._first_us: dict[int, int] = {}  # when a tenant was seen first
        self._agents: dict[int, dict[int, int]] = {}  # of a swarm, by shard
        self._is_of: dict[int, tuple[int, int]] = {}  # what is done, and the kin
        self._opened: dict[int, set[int]] = {}  # what is done that has a case, by tenant
        self._unopened: set[int] = set()  # ... and what has none for want of room
        self._waiting: list[tuple[int, int, Swarming]] = []

    def __len__(self) -> int:
        return len(self._kins)

    @property
    def size_bytes(self) -> int:
        """The memory that it takes, about; any thread may ask."""
        return len(self._kins) * _KIN_BYTES + len(self._agents) * _SWARM_BYTES

    def show(self, window_us: int, shown: Shown) -> None:
        """Take note of the tenants whose agents have shown themselves in a window."""
        if self._agents_min:
            for tenant in np.unique(shown.rows["tenant"]).tolist():
                first_us = self._first_us.get(tenant, window_us)
                if tenant in self._first_us or len(self._first_us) < TENANTS_MAX:
                    self._first_us[tenant] = min(first_us, window_us)

    def tell(self, records: Records) -> list[Review]:
        """Take swarms that have grown; return the reviews that are to be asked for.

        What is of a window that not all shards have reached waits for it.
        """
        if records.swarming is None or not self._agents_min:
            return []
        if records.window_us > self._window_us:
            self._waiting.append((records.window_us, records.shard, records.swarming))
            return []
        return self._grown(records.shard, records.swarming)

    def turn(self, window_us: int) -> list[Review]:
        """Enter a window: what was the most before it is known; return the reviews due in it."""
        self._learn()
        self._window_us = window_us
        due = sorted((held for held in self._waiting if held[0] <= window_us), key=_place)
        self._waiting = [held for held in self._waiting if held[0] > window_us]
        return [review for _, shard, swarming in due for review in self._grown(shard, swarming)]

    def _learn(self) -> None:
        """Learn what the window was like, and forget it."""
        most: dict[int, int] = {}
        for key, agents in self._agents.items():
            count = sum(agents.values())
            for of in set(self._is_of[key]):
                most[of] = max(most.get(of, 0), count)
        told = set().union(*self._opened.values())
        for kin, count in most.items():
            known = self._kin(kin).with_count(count, self._window_us)
            if kin in told:
                known = known._replace(told_us=self._window_us, told=count)
            self._kins[kin] = known
        for forgotten in (self._agents, self._is_of, self._opened, self._unopened):
            forgotten.clear()
        if len(self._kins) > KINS_MAX:
            silent = sorted(self._kins, key=lambda kin: (self._kins[kin].last_us, kin))
            gone = silent[: len(silent) - KINS_MAX + KINS_MAX // _FORGOTTEN_AT_ONCE]
            for kin in gone:
                del self._kins[kin]
            self.lost[Lost.KINDS] += len(gone)

    def _kin(self, kin: int) -> _Kin:
        return self._kins.get(kin, _UNKNOWN).at(self._window_us)

    def _grown(self, shard: int, swarming: Swarming) -> list[Review]:
        reviews = []
        for place, row in enumerate(swarming.rows.tolist()):
            tenant, done, key, kin, _, grown = row
            if key not in self._agents and len(self._agents) >= SWARMS_MAX:
                self.lost[Lost.SWARMS] += 1
                continue
            self._is_of[key] = done, kin
            agents = self._agents.setdefault(key, {})
            agents[shard] = max(agents.get(shard, 0), grown)
            count = sum(agents.values())
            if count < self._agents_min:  # nearly all: the least that any limit is
                continue
            limit = self._limit(done, kin)
            if count >= limit and self._opens(tenant, done):
                reviews.append(self._review(swarming, place, limit))
        return reviews

    def _limit(self, done: int, kin: int) -> int:
        """Return how many are a flood; of what there has been one today, far more."""
        limit = max(self._agents_min, self._times_usual * self._kin(kin).usual)
        told = self._kin(done)
        if told.told_us > self._window_us - _DAY_US:
            limit = max(limit, self._times_usual * told.told)
        return math.ceil(limit)

    def _opens(self, tenant: int, done: int) -> bool:
        """Return whether a flood has a case: in one window, what is done has one."""
        opened = self._opened.setdefault(tenant, set())
        if done in opened or done in self._unopened:
            return False
        if tenant not in self._first_us and len(self._first_us) >= TENANTS_MAX:
            return self._opens_no_more(Lost.TENANTS, done)
        if not self._is_watched(tenant):
            return False
        if len(opened) >= AT_ONCE_MAX:
            return self._opens_no_more(Lost.AT_ONCE, done)
        opened.add(done)
        return True

    def _opens_no_more(self, why: Lost, done: int) -> bool:
        """Count a flood that has no case, once in its window."""
        self._unopened.add(done)
        self.lost[why] += 1
        return False

    def _is_watched(self, tenant: int) -> bool:
        """Return whether a tenant has been seen for long enough."""
        first_us = self._first_us.get(tenant)
        return first_us is not None and first_us + self._learn_us <= self._window_us

    def _review(self, swarming: Swarming, place: int, count: int) -> Review:
        row = swarming.rows[place]
        event = parse_line(swarming.lines[place], ANY_TIME_US)
        assert isinstance(event, Event)  # noqa: S101 - it has been one before
        at = int(row["place"])
        return Review(
            tenant=event.tenant,
            agent="",
            ts_us=self._window_us,
            since_us=self._window_us,
            one_in=0.0,
            count=count,
            examples=(event.agent,),
            flood=f"{int(row['done']):016x}",
            action=event.action,
            resource=event.resources[at] if at >= 0 else "",
            usual=self._kin(int(row["kin"])).usual,
        )

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything as JSON and arrays."""
        kins = [(kin, *known) for kin, known in sorted(self._kins.items())]
        counts = [
            (key, *self._is_of[key], shard, agents)
            for key in sorted(self._agents)
            for shard, agents in sorted(self._agents[key].items())
        ]
        waiting = sorted(self._waiting, key=_place)
        arrays = {"kins": np.array(kins, _KIN), "counts": np.array(counts, _COUNT)}
        arrays |= {f"waiting{at}": held[2].rows for at, held in enumerate(waiting)}
        meta = {
            "schema": _SCHEMA,
            "window_us": self._window_us,
            "first_us": sorted(self._first_us.items()),
            "opened": [(tenant, sorted(done)) for tenant, done in sorted(self._opened.items())],
            "waiting": [
                (window, shard, [swarming.lines[at].decode() for at in range(len(swarming.lines))])
                for window, shard, swarming in waiting
            ],
        }
        return meta, arrays

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take what a dump knows; what an astray of another form has learnt begins anew."""
        if meta.get("schema") != _SCHEMA or not self._agents_min:
            return
        self._window_us = meta["window_us"]
        self._first_us = dict(meta["first_us"])
        self._opened = {tenant: set(done) for tenant, done in meta["opened"]}
        for kin, last_us, told_us, told, block, now, before in arrays["kins"].tolist():
            days = (tuple(map(tuple, of)) for of in (now, before))
            self._kins[kin] = _Kin(last_us, told_us, told, block, *days)
        for key, done, kin, shard, agents in arrays["counts"].tolist():
            self._is_of[key] = done, kin
            self._agents.setdefault(key, {})[shard] = agents
        for at, (window, shard, lines) in enumerate(meta["waiting"]):
            held = Swarming(arrays[f"waiting{at}"], Lines.of(line.encode() for line in lines))
            self._waiting.append((window, shard, held))


def _place(held: tuple[int, int, Swarming]) -> tuple[int, int]:
    """Return the place of what waits; what one shard has told stays in its order."""
    return held[:2]
