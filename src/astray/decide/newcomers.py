"""Newcomers: how many agents that hardly anybody knows began a session in the same window.

    newcomers.note(ended)              # a tenant's sessions that have ended
    again = newcomers.turn(window_us)  # those that are ranked once more, as a wave

A flood by made-up names is thousands of new agents with a tiny session each. Each looks like any
first session, and ranked among one another none of them is odd: what most sessions do is not
rare. But it is one thing that has happened, not thousands. So a wave of newcomers is ranked as
a whole: as many at once have come in 1 of so many sessions, where every wave before counts as a
few sessions however many it was of.

What there has been on one day in three is no wave, nor is what is a few times as many: where
agents are made for each job newcomers are the usual thing. The promise is made for waves: one
that is benign is odd in all of its sessions at once. So it must never alert or suspend anybody,
and it cannot: it is known when the short sessions of a window have ended. `floods` says what
goes on while it does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.layout import AGE_CLASSES
from astray.calibrate.ended import mixed_ids
from astray.config import Config

WAITING_MAX = 1 << 15
"""Sessions of a tenant that wait for others of their window; there are no larger waves."""

WAVES_MAX = 1024
"""Waves of a tenant that are remembered; beyond it the older half goes."""

DAYS_MAX = 64
"""Days of which the most newcomers in a window are remembered."""

_COUNTS_AS = 4
"""A wave counts as so many sessions: most often one cause, but nobody has looked."""

_USUAL_SHARE = 1 / 3
_SETTLED = AGE_CLASSES - 1
_MICROS = 1_000_000
_DAY_US = 86_400_000_000
_SCHEMA = 1
_WAVE_BYTES = 100

_WAITING = np.dtype(
    [
        ("session", np.uint64),
        ("agent", np.uint64),
        ("start_us", np.int64),
        ("ts_us", np.int64),
        ("rows", np.int32),
    ]
)


@dataclass(frozen=True, slots=True)
class Wave:
    """Sessions of so many agents that came at once: as many did in 1 of n sessions."""

    sessions: NDArray[Any]
    agents: int
    n: float


@dataclass(slots=True)
class _Tenant:
    """What there has been: sessions that count, the sizes of waves, and days with their most.

    `lost` are sessions that there was no room for while they waited.
    """

    sessions: int = 0
    waves: list[int] = field(default_factory=list)
    days: dict[int, int] = field(default_factory=dict)
    first_day: int = -1
    waiting: list[NDArray[Any]] = field(default_factory=list)
    waiting_count: int = 0
    lost: int = 0

    def wait(self, ended: NDArray[Any]) -> None:
        waiting = np.zeros(len(ended), _WAITING)
        for name in _WAITING.names or ():
            waiting[name] = ended[name]
        self.waiting.append(waiting)
        self.waiting_count += len(waiting)
        if self.waiting_count > 2 * WAITING_MAX:
            self.gathered()

    def gathered(self) -> NDArray[Any]:
        """Return those that wait in an order of their own, the first of them if there are more."""
        every = np.concatenate([np.zeros(0, _WAITING), *self.waiting])
        order = np.lexsort((every["rows"], every["ts_us"], every["agent"], mixed_ids(every)))
        kept = every[order[:WAITING_MAX]]
        self.lost += len(every) - len(kept)
        self.waiting, self.waiting_count = [kept], len(kept)
        return kept

    def is_usual(self, agents: float, day: int) -> bool:
        """Return whether there have been so many at once on one of three days so far."""
        reaching = sum(most >= agents for of, most in self.days.items() if of < day)
        return reaching + 1 > _USUAL_SHARE * (day - self.first_day + 1)

    def n_of(self, agents: int) -> float:
        """Return 1 in how many sessions as many have come at once."""
        reaching = sum(wave >= agents for wave in self.waves)
        return (self.sessions + 1) / (_COUNTS_AS * reaching + 1)

    def learn(self, agents: int, sessions: int, day: int, *, is_wave: bool) -> None:
        self.sessions += _COUNTS_AS if is_wave else sessions
        if is_wave:
            self.waves.append(agents)
        if len(self.waves) > WAVES_MAX:
            del self.waves[: WAVES_MAX // 2]
            self.sessions //= 2
        self.days[day] = max(agents, self.days.get(day, 0))

    def enter(self, day: int) -> None:
        """Forget what lies too many days before."""
        oldest = day - DAYS_MAX
        self.first_day = max(self.first_day if self.first_day >= 0 else day, oldest)
        for old in [old for old in self.days if old < oldest]:
            del self.days[old]


class Newcomers:
    """Who of some tenants has come of late, and how many came at once before."""

    def __init__(self, config: Config) -> None:
        self._agents_min = config.flood.agents_min
        self._times_usual = config.flood.times_usual
        self._n_max = config.reference.sessions_max + 1.0
        self._length_us = int(config.baseline.window_s * _MICROS)
        self._idle_us = int(config.sessions.idle_s * _MICROS)
        self._over_us = 0
        self._tenants: dict[int, _Tenant] = {}
        self._lost_before = 0  # of tenants that are forgotten

    @property
    def lost(self) -> int:
        """The sessions that will be in no wave for want of room; any thread may ask."""
        return self._lost_before + sum(tenant.lost for tenant in list(self._tenants.values()))

    @property
    def size_bytes(self) -> int:
        """The memory that it takes, about; any thread may ask."""
        tenants = list(self._tenants.values())
        waiting = sum(tenant.waiting_count for tenant in tenants) * _WAITING.itemsize
        return waiting + sum(len(each.waves) + len(each.days) for each in tenants) * _WAVE_BYTES

    def note(self, ended: NDArray[Any]) -> None:
        """Take a tenant's sessions that have ended, rows of `buffers.RECORD`."""
        if not self._agents_min or not len(ended):
            return
        tenant = self._tenants.setdefault(int(ended["tenant"][0]), _Tenant())
        is_new = (ended["age"] < _SETTLED) & (ended["start_us"] >= self._over_us)
        tenant.sessions += int(np.count_nonzero(~is_new))
        if is_new.any():
            tenant.wait(ended[is_new])

    def forget(self, tenant: int) -> None:
        """Forget a tenant."""
        forgotten = self._tenants.pop(tenant, None)
        self._lost_before += forgotten.lost if forgotten is not None else 0

    def turn(self, window_us: int) -> list[Wave]:
        """Enter a window; return the waves of those all of whose short sessions have ended."""
        over_us = (window_us - self._idle_us) // self._length_us * self._length_us
        if over_us <= self._over_us:
            return []
        self._over_us = over_us
        return [wave for _, tenant in sorted(self._tenants.items()) for wave in self._waves(tenant)]

    def _waves(self, tenant: _Tenant) -> list[Wave]:
        waiting, found = tenant.gathered(), []
        tenant.enter(self._over_us // _DAY_US)
        is_over = waiting["start_us"] < self._over_us
        tenant.waiting, tenant.waiting_count = [waiting[~is_over]], int((~is_over).sum())
        over = waiting[is_over]
        windows_us = over["start_us"] // self._length_us * self._length_us
        for first_us in np.unique(windows_us).tolist():
            sessions = over[windows_us == first_us]
            agents, day = len(np.unique(sessions["agent"])), first_us // _DAY_US
            is_wave = agents >= self._agents_min
            is_wave = is_wave and not tenant.is_usual(agents / self._times_usual, day)
            if is_wave:
                found.append(Wave(sessions, agents, min(tenant.n_of(agents), self._n_max)))
            tenant.learn(agents, len(sessions), day, is_wave=is_wave)
        return found

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything as JSON and arrays."""
        known = sorted(self._tenants.items())
        arrays = {f"waiting{at}": tenant.gathered() for at, (_, tenant) in enumerate(known)}
        tenants = [
            (key, tenant.sessions, tenant.waves, sorted(tenant.days.items()), tenant.first_day)
            for key, tenant in known
        ]
        return {"schema": _SCHEMA, "over_us": self._over_us, "tenants": tenants}, arrays

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take what a dump knows; an older one, or one of another form, knows nothing."""
        if meta.get("schema") != _SCHEMA or not self._agents_min:
            return
        self._over_us = meta["over_us"]
        for at, (key, sessions, waves, days, first_day) in enumerate(meta["tenants"]):
            waiting = arrays[f"waiting{at}"]
            self._tenants[key] = _Tenant(
                sessions, [*waves], dict(days), first_day, [waiting], len(waiting)
            )
