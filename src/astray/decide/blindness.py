"""The alarm about silence: an agent or action that no longer shows itself as it used to.

    blindness.show(window_us, shown)
    silences = blindness.turn(window_us)

Nothing is assumed of a rhythm but that the chance of a long pause, in the thing's own time (see
`baseline.rhythms`), falls at least exponentially. Then the next pause is longer than c times
the largest of n with probability

    p = n! Γ(c + 1) / Γ(n + c + 1)

and the limit is c times the largest pause with c such that p is `false_per_million` of a
million: 7.1 times after 20 pauses, 3.5 after 100, 2.6 after 336. The more is known, the sooner
is it said. What rests at some hour of every weekday gets one such day on top: nobody knows of
public holidays. An hourly job that stops for good is missed after three hours, an agent that
works office hours after two to three working days. Mean and variance would not do: pauses have two
or three usual lengths, and a limit of so many standard deviations is either never reached or
wrong by orders of magnitude.

What falls silent by the dozen at the same time has one case together. Sources are not judged
here: nothing is learnt or judged of what a source tells while it gives nothing, and that it
does not is seen by the wall clock (`flow.listening`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.activity import Shown
from astray.baseline.index import build_index, rows_of
from astray.baseline.rhythms import (
    ALONE,
    BLOCK_US,
    CELLS,
    FINE,
    IN_MASS,
    RHYTHM,
    SEEN,
    TOLD,
    learn,
    overdue,
)
from astray.baseline.session import hour_of
from astray.config import Config
from astray.decide.known import KnownNames
from astray.decide.silence import Kind, Over, Silence, silence_case
from astray.events import Lines, known_names
from astray.events.ids import stable_id

RHYTHMS_MAX = 1 << 17
"""Agents and actions of a decider that are watched; beyond them the least known go first."""

NEWCOMERS_MAX = 1 << 15
"""Those that may come up in one window; further ones are looked at when they come again."""

SEEN_MAX = 1 << 16
"""So much of a window is kept before it is gathered, or as much as it was the last time."""

AT_ONCE_MAX = 20
"""So many of a kind may fall silent in one window with cases of their own."""

PAUSES_MIN = 20
_FORGOTTEN_AT_ONCE = 16
_EXAMPLES = 5
_REST = 0.1
_FORGET_US = 2 * BLOCK_US
_DAY_US = 86_400_000_000
_KINDS = (Kind.AGENT, Kind.ACTION)
_MASSES = {Kind.AGENT: Kind.AGENTS, Kind.ACTION: Kind.ACTIONS}
_SCHEMA = 1

Ids = NDArray[np.uint64]
Places = NDArray[np.intp]


@lru_cache(maxsize=8192)
def limit_factor(pauses: int, probability: float) -> float:
    """Return how many times the largest of so many pauses another exceeds so seldom.

    >>> round(limit_factor(336, 1e-6), 1)
    2.6
    """
    low, high = 0.0, 1.0
    while _log_chance(pauses, high) > math.log(probability):
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        short = _log_chance(pauses, middle) > math.log(probability)
        low, high = (middle, high) if short else (low, middle)
    return high


def _log_chance(pauses: int, factor: float) -> float:
    return math.lgamma(pauses + 1) + math.lgamma(factor + 1) - math.lgamma(pauses + factor + 1)


def day_off(share: NDArray[np.float32]) -> float:
    """Return how much a day off adds to a pause, of what rests at some time of every weekday.

    Nobody knows of public holidays. Whose habits follow people's may have one, once or for
    the first time in weeks; who is about at all hours has none.
    """
    weekday = share[: CELLS // 2]
    return float(weekday.sum()) if weekday.min() < _REST * weekday.max() else 0.0


class Blindness:
    """The rhythms of some tenants' agents and actions, and which of them are silent."""

    def __init__(self, config: Config) -> None:
        wanted = config.blindness
        self._kinds = [k for k, on in ((0, wanted.agents), (1, wanted.actions)) if on]
        self._learn_us = int(wanted.learn_days * _DAY_US)
        self._probability = wanted.false_per_million / 1e6
        self._table = np.zeros(0, RHYTHM)
        self._index = build_index(self._table["key"])
        self._names = KnownNames()  # also of newcomers
        self._seen: dict[int, list[NDArray[Any]]] = {}  # by window
        self._giving: dict[int, set[int]] = {}  # sources by window
        self._masses: dict[tuple[str, Kind], Silence] = {}

    def __len__(self) -> int:
        return len(self._table)

    @property
    def size_bytes(self) -> int:
        """The memory that rhythms take."""
        return int(self._table.nbytes)

    def show(self, window_us: int, shown: Shown) -> None:
        """Take note of what has shown itself in a window; the order does not matter."""
        if not self._kinds:
            return
        source = stable_id(shown.source)
        self._giving.setdefault(window_us, set()).add(source)
        kept = self._seen.setdefault(window_us, [])
        for kind in self._kinds:
            seen, places = _seen_of(shown, kind, source)
            kept.append(self._named(seen, places, shown.lines))
        if sum(map(len, kept[1:])) > max(SEEN_MAX, len(kept[0])):
            self._seen[window_us] = [_gathered(kept)]

    def _named(self, seen: NDArray[Any], places: Places, lines: Lines) -> NDArray[Any]:
        """Return what can be named, and remember the names of those that are new."""
        known = np.ones(len(seen), np.bool_)
        for place in np.flatnonzero(rows_of(self._index, seen["key"]) < 0).tolist():
            key = int(seen["key"][place])
            if key in self._names:
                continue
            known[place] = len(self._names) < len(self._table) + NEWCOMERS_MAX
            if known[place]:
                names = known_names(lines[places[place]])
                is_action = _KINDS[seen["kind"][place]] is Kind.ACTION
                self._names.put(key, names.tenant, names.action if is_action else names.agent)
        return seen[known]

    def turn(self, first_us: int) -> list[Silence]:
        """Let the windows before this one pass; return who falls silent and who is back."""
        found: list[Silence] = []
        for window_us in sorted(window for window in self._giving if window < first_us):
            seen = _gathered(self._seen.pop(window_us))
            giving = np.array(sorted(self._giving.pop(window_us)), np.uint64)
            self._admit(seen, window_us)
            found += self._learn(seen, giving, window_us)
            found += self._judge(giving, window_us)
            found += self._forget(window_us)
        return found

    def _admit(self, seen: NDArray[Any], window_us: int) -> None:
        new = seen[rows_of(self._index, seen["key"]) < 0]
        if not len(new):
            return
        rows = np.zeros(len(new), RHYTHM)
        for name in ("key", "tenant", "source", "kind"):
            rows[name] = new[name]
        for name in ("first_us", "last_us", "block_us"):
            rows[name] = window_us
        self._have(np.concatenate([self._table, rows]))

    def _have(self, table: NDArray[Any]) -> None:
        self._table, self._index = table, build_index(table["key"])

    def _learn(self, seen: NDArray[Any], giving: Ids, window_us: int) -> list[Silence]:
        rows = rows_of(self._index, seen["key"])
        back = rows[self._table["state"][rows] != FINE]
        found = self._over(back, window_us, Over.BACK)
        self._table["state"][back] = FINE
        sources = np.ascontiguousarray(seen["source"])
        learn(self._table, rows, sources, giving, window_us, int(hour_of(window_us)))
        return [*found, *self._masses_over(window_us)]

    def _judge(self, giving: Ids, window_us: int) -> list[Silence]:
        rows = np.empty(len(self._table), np.int64)
        rows = rows[: overdue(self._table, giving, self._learn_us, PAUSES_MIN, rows)]
        silent = [row for row in rows.tolist() if self._table["waited"][row] > self._limit(row)]
        by_mass: dict[tuple[str, Kind], list[int]] = {}
        for row in silent:
            by_mass.setdefault(self._mass_of(row), []).append(row)
        return [
            s for of, these in sorted(by_mass.items()) for s in self._open(of, these, window_us)
        ]

    def _limit(self, row: int) -> float:
        rhythm = self._table[row]
        factor = limit_factor(int(rhythm["pauses"].sum()), self._probability)
        return float(rhythm["largest"].max()) * factor + day_off(rhythm["share"])

    def _mass_of(self, row: int) -> tuple[str, Kind]:
        tenant, _ = self._names[int(self._table["key"][row])]
        return tenant, _MASSES[_KINDS[self._table["kind"][row]]]

    def _open(self, of: tuple[str, Kind], rows: list[int], window_us: int) -> Iterator[Silence]:
        """Open a case for each, or one for all; who fell silent with those of one is of it."""
        mass = self._masses.get(of)
        last_us = self._table["last_us"]
        since_us = mass.last_us if mass is not None else -1
        joining = [row for row in rows if last_us[row] <= since_us]
        others = sorted((row for row in rows if last_us[row] > since_us), key=self._order)
        self._table["state"][joining] = IN_MASS
        if len(others) <= AT_ONCE_MAX:
            self._table["state"][others] = ALONE
            yield from (self._silence(row, window_us, Over.NOT_YET) for row in others)
            return
        self._table["state"][others] = IN_MASS
        opened = self._mass(of, others, window_us)
        if mass is not None:  # what follows while it lasts makes it larger
            opened_before = mass.count + len(others)
            self._masses[of] = replace(mass, last_us=opened.last_us, count=opened_before)
            return
        self._masses[of] = opened
        yield opened

    def _order(self, row: int) -> int:
        return int(self._table["key"][row])

    def _mass(self, of: tuple[str, Kind], rows: list[int], window_us: int) -> Silence:
        tenant, kind = of
        last_us = int(self._table["last_us"][rows].max())
        names = sorted(self._names[self._order(row)][1] for row in rows)
        return Silence(
            case=silence_case(kind, tenant, "", f"{last_us}"),
            kind=kind,
            tenant=tenant,
            name="",
            last_us=last_us,
            ts_us=window_us,
            count=len(rows),
            examples=tuple(names[:_EXAMPLES]),
        )

    def _masses_over(self, window_us: int) -> Iterator[Silence]:
        """End the common cases of which half is back; nobody speaks of the others any more."""
        for of, mass in sorted(self._masses.items()):
            rows = np.flatnonzero(self._table["state"] == IN_MASS)
            left = [row for row in rows.tolist() if self._mass_of(row) == of]
            if 2 * len(left) <= mass.count:
                self._table["state"][left] = TOLD
                del self._masses[of]
                yield replace(mass, ts_us=window_us, over=Over.BACK)

    def _silence(self, row: int, window_us: int, over: Over) -> Silence:
        rhythm = self._table[row]
        tenant, name = self._names[int(rhythm["key"])]
        kind, last_us = _KINDS[rhythm["kind"]], int(rhythm["last_us"])
        return Silence(
            case=silence_case(kind, tenant, name, f"{last_us}"),
            kind=kind,
            tenant=tenant,
            name=name,
            last_us=last_us,
            ts_us=window_us,
            over=over,
            waited=float(rhythm["waited"]),
            usual=float(rhythm["largest"].max()),
            limit=self._limit(row) if over is Over.NOT_YET else 0.0,
            pauses=int(rhythm["pauses"].sum()),
        )

    def _over(self, rows: Places, window_us: int, over: Over) -> list[Silence]:
        alone = rows[self._table["state"][rows] == ALONE].tolist()
        return [self._silence(row, window_us, over) for row in sorted(alone, key=self._order)]

    def _forget(self, window_us: int) -> list[Silence]:
        """Forget what nobody can judge any more and, where there are too many, the least known."""
        gone = self._table["last_us"] < window_us - _FORGET_US
        beyond = len(self._table) - int(gone.sum()) - RHYTHMS_MAX
        if beyond > 0:
            pauses = np.minimum(self._table["pauses"].sum(axis=1), PAUSES_MIN)
            order = np.lexsort((self._table["key"], self._table["last_us"], pauses))
            order = order[~gone[order]]
            gone[order[: beyond + RHYTHMS_MAX // _FORGOTTEN_AT_ONCE]] = True
        if not gone.any():
            return []
        found = self._over(np.flatnonzero(gone), window_us, Over.FORGOTTEN)
        self._names.drop(set(self._table["key"][gone].tolist()) - self._coming())
        self._have(self._table[~gone])
        return [*found, *self._masses_over(window_us)]

    def _coming(self) -> set[int]:
        """Return who is in later windows already: known as they came, they keep their names."""
        return {
            key for kept in self._seen.values() for seen in kept for key in seen["key"].tolist()
        }

    def dump(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything as JSON and arrays."""
        windows = sorted(self._giving)
        arrays = {f"seen{at}": _gathered(self._seen[window]) for at, window in enumerate(windows)}
        arrays |= {"rhythms": self._table, "names": self._names.dump()}
        meta = {
            "schema": _SCHEMA,
            "windows": [(window, sorted(self._giving[window])) for window in windows],
            "masses": [asdict(mass) for _, mass in sorted(self._masses.items())],
        }
        return meta, arrays

    def load(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take what a dump knows; what an astray of another form has learnt begins anew."""
        if meta.get("schema") != _SCHEMA or not self._kinds:
            return
        self._names.load(arrays["names"])
        rhythms = arrays["rhythms"]  # before this version some could be without a name
        self._have(rhythms[[key in self._names for key in rhythms["key"].tolist()]])
        for place, (window_us, giving) in enumerate(meta["windows"]):
            self._seen[window_us] = [arrays[f"seen{place}"]]
            self._giving[window_us] = set(giving)
        for dumped in meta["masses"]:
            changes = {"kind": Kind(dumped["kind"]), "over": Over(dumped["over"])}
            mass = Silence(**dumped | changes | {"examples": tuple(dumped["examples"])})
            self._masses[mass.tenant, mass.kind] = mass


def _seen_of(shown: Shown, kind: int, source: int) -> tuple[NDArray[Any], Places]:
    """Return what is shown of a kind, each once, and its places."""
    keys, places = np.unique(shown.rows[_KINDS[kind]], return_index=True)
    seen = np.zeros(len(keys), SEEN)
    seen["key"], seen["tenant"] = keys, shown.rows["tenant"][places]
    seen["source"], seen["kind"] = source, kind
    return seen, places


def _gathered(kept: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return each that was seen once, in an order that does not depend on who told of it."""
    seen = np.concatenate(kept)
    seen = seen[np.lexsort((seen["source"], seen["key"]))]
    return seen[np.append(seen["key"][1:] != seen["key"][:-1], True)] if len(seen) else seen
