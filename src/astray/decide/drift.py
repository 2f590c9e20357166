"""Who has changed: agents whose sessions, ranked one after another, no longer go on as before.

    drift.show(shown)
    drift.note(ended, n)
    reviews = drift.turn(window_us)

A session can be so odd that its agent is suspended; an agent can also be a little odd every day.
That is a role that has changed, a new model behind an old name, or somebody who takes their time,
and a person should look at it. The statistic is that of `calibrate.changing`; the limit is
1,000,000 / `false_per_million`, for on average it takes at least so many sessions of an agent that
has not changed to reach it. Then a review is asked for, and the statistic starts anew: what the
agent does now has meanwhile become part of the sessions it is ranked among.

Sessions count when the window has turned in which they ended, an agent's in the order of their
ends; so neither batches nor the order of agents matter.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.activity import Shown
from astray.baseline.index import build_index, rows_of
from astray.calibrate.changing import CHANGING, cut_of, go_on, latest
from astray.config import Config
from astray.decide.known import KnownNames
from astray.decide.review import Review
from astray.detectors.adaptive import has_changed
from astray.events import known_names

AGENTS_MAX = 1 << 16
"""Agents of a decider that are followed; beyond them the least suspected are forgotten."""

NAMES_MAX = 2 * AGENTS_MAX
"""Names that are known, also of agents whose first session has yet to end."""

WAITING_MAX = 1 << 18
"""Sessions of a window that wait for its end; with more of them some count before."""

AT_ONCE_MAX = 20
"""So many agents of a tenant may have reviews of their own in one window."""

_FORGOTTEN_AT_ONCE = 16
_EXAMPLES = 5
_DAY_US = 86_400_000_000
_SCHEMA = 1

_ENDED = np.dtype(
    [
        ("agent", np.uint64),
        ("session", np.uint64),
        ("ts_us", np.int64),
        ("start_us", np.int64),
        ("n", np.float64),
    ]
)


class Drift:
    """How the sessions of some tenants' agents go on, and who should be reviewed."""

    def __init__(self, config: Config) -> None:
        self._is_on = config.review.false_per_million > 0.0
        self._learn_us = int(config.review.learn_days * _DAY_US)
        self._limit = 1e6 / config.review.false_per_million if self._is_on else np.inf
        self._have(np.zeros(0, CHANGING))
        self._names = KnownNames()
        self._waiting: list[NDArray[Any]] = []

    def __len__(self) -> int:
        return len(self._table)

    @property
    def size_bytes(self) -> int:
        """The memory that agents and waiting sessions take; any thread may ask."""
        return int(self._table.nbytes) + sum(int(some.nbytes) for some in list(self._waiting))

    def show(self, shown: Shown) -> None:
        """Take note of the names of agents that have shown themselves."""
        if not self._is_on:
            return
        keys, places = np.unique(shown.rows["agent"], return_index=True)
        for key, place in zip(keys.tolist(), places.tolist(), strict=True):
            if key not in self._names and len(self._names) < NAMES_MAX:
                names = known_names(shown.lines[place])
                self._names.put(key, names.tenant, names.agent)

    def note(self, ended: NDArray[Any], n: NDArray[np.float64]) -> None:
        """Take sessions that have ended (rows of `buffers.RECORD`): 1 in `n` is as odd."""
        if not self._is_on or not len(ended):
            return
        waiting = np.zeros(len(ended), _ENDED)
        for name in ("agent", "session", "ts_us", "start_us"):
            waiting[name] = ended[name]
        waiting["n"] = n
        self._waiting.append(waiting)
        if sum(map(len, self._waiting)) > WAITING_MAX:
            self._go_on()

    def turn(self, window_us: int) -> list[Review]:
        """Let the windows before this one pass; return the reviews that are to be asked for."""
        if self._waiting:
            self._go_on()
        due = np.flatnonzero(self._table["statistic"] >= self._limit).tolist()
        known = [row for row in due if self._key(row) in self._names]
        self._table["statistic"][known] = 0.0
        reviews: list[Review] = []
        for tenant, rows in groupby(sorted(known, key=self._order), self._tenant):
            reviews += self._reviews(tenant, list(rows), window_us)
        return reviews

    def _key(self, row: int) -> int:
        return int(self._table["key"][row])

    def _tenant(self, row: int) -> str:
        return self._names[self._key(row)][0]

    def _order(self, row: int) -> tuple[str, int]:
        return self._tenant(row), self._key(row)

    def _have(self, table: NDArray[Any]) -> None:
        self._table, self._index = table, build_index(table["key"])

    def _go_on(self) -> None:
        ended = _in_order(self._waiting)
        self._waiting = []
        keys = np.unique(ended["agent"])
        new = keys[rows_of(self._index, keys) < 0]
        if len(new):
            rows = np.zeros(len(new), CHANGING)
            rows["key"] = new
            self._have(np.concatenate((self._table, rows)))
        places = rows_of(self._index, ended["agent"])
        start_us, n = (np.ascontiguousarray(ended[name]) for name in ("start_us", "n"))
        go_on(self._table, places, start_us, n, self._limit, self._learn_us)
        self._forget()

    def _forget(self) -> None:
        """Forget, where there are too many, those of whom the least is suspected."""
        beyond = len(self._table) - AGENTS_MAX
        if beyond > 0:
            table = self._table
            order = np.lexsort((table["key"], table["last_us"], table["statistic"]))
            self._have(table[np.sort(order[beyond + AGENTS_MAX // _FORGOTTEN_AT_ONCE :])])
        if len(self._names) >= NAMES_MAX:
            self._names.drop_others(self._table["key"].tolist())

    def _reviews(self, tenant: str, rows: Sequence[int], window_us: int) -> list[Review]:
        """Return a review of each, or one of all who changed at once."""
        if len(rows) <= AT_ONCE_MAX:
            return [self._review(row, window_us) for row in rows]
        names = sorted(self._names[self._key(row)][1] for row in rows)
        return [
            Review(
                tenant=tenant,
                agent="",
                ts_us=window_us,
                since_us=min(self._since(row)[1] for row in rows),
                one_in=self._limit,
                count=len(rows),
                examples=tuple(names[:_EXAMPLES]),
            )
        ]

    def _since(self, row: int) -> tuple[int, int]:
        """Return which of an agent's latest sessions is the first of another kind, and its time."""
        bits, start_us = latest(self._table[row])
        cut = cut_of(bits)
        return cut, int(start_us[cut])

    def _review(self, row: int, window_us: int) -> Review:
        tenant, agent = self._names[self._key(row)]
        bits, _ = latest(self._table[row])
        cut, since_us = self._since(row)
        return Review(
            tenant=tenant,
            agent=agent,
            ts_us=window_us,
            since_us=since_us,
            one_in=self._limit,
            sessions=len(bits) - cut,
            past=cut,
            after=float(np.exp2(bits[cut:].mean())),
            before=float(np.exp2(bits[:cut].mean())),
            is_sudden=has_changed(bits.tolist()),
        )

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything as JSON and arrays."""
        if not self._is_on:
            return {}, {}
        waiting = _in_order(self._waiting)
        arrays = {"agents": self._table, "names": self._names.dump(), "waiting": waiting}
        return {"schema": _SCHEMA}, arrays

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take what a dump knows; what an astray of another form has learnt begins anew."""
        if meta.get("schema") != _SCHEMA or not self._is_on:
            return
        self._have(arrays["agents"])
        self._names.load(arrays["names"])
        self._waiting = [arrays["waiting"]] if len(arrays["waiting"]) else []


def _in_order(waiting: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return sessions in an order that does not depend on who told of them first."""
    if not waiting:
        return np.zeros(0, _ENDED)
    ended = np.concatenate(waiting)
    by = ("n", "session", "start_us", "ts_us", "agent")
    return ended[np.lexsort([ended[name] for name in by])]
