"""Grants: what agents may do, as somebody has written it down.

Only strings can be matched with patterns, and the hot loop has none. So it stops at an action
that is new to its agent and that it has not asked about, and the host reads the event's line.
What it was told it remembers, by agent, group and action; of too much it forgets everything, and
asks again: what it is told depends on nothing else.
"""

import fnmatch
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astray.baseline.index import PLACE, Index, find_row, put_row
from astray.baseline.items import weight_of
from astray.baseline.layout import ACTION
from astray.baseline.pages import Pages, fingerprint
from astray.compiled import compiled, inner, int64
from astray.config_evidence import Grant
from astray.events import Decoded, Event, known_event
from astray.events.ids import mix, pair_id

SAID_NOTHING, LISTED, UNLISTED = range(3)
"""What grants say of an action: nothing, as they do not speak of the agent; yes; no."""

ASKED_MIN, ASKED_MAX = 1 << 10, 1 << 18
"""Places for what a shard has asked; half of them are used."""

_WHO_MAX = 100_000
_SPECIAL = re.compile(r"[*?\[]")

_Pattern = re.Pattern[str]


def _pattern(globs: Iterable[str]) -> _Pattern:
    return re.compile("|".join(map(fnmatch.translate, globs)) or r"(?!)")


class Grants:
    """What may be done by whom; lines of agents without a wildcard are found by their names."""

    def __init__(self, lines: Iterable[Grant]) -> None:
        self._by_agent: dict[str, list[tuple[Grant, _Pattern]]] = defaultdict(list)
        self._others: list[tuple[Grant, _Pattern]] = []
        self._who: dict[tuple[str, str, str], list[_Pattern]] = {}
        for line in lines:
            is_name = line.agent is not None and not _SPECIAL.search(line.agent)
            of = self._by_agent[line.agent or ""] if is_name else self._others
            of.append((line, _pattern(line.actions)))

    def says(self, event: Event) -> int:
        """Return whether an event's action is listed for its agent, if anything is."""
        who = (event.tenant, event.agent, event.group)
        if who not in self._who:
            if len(self._who) >= _WHO_MAX:
                self._who.clear()
            lines = [*self._by_agent.get(event.agent, ()), *self._others]
            self._who[who] = [pattern for line, pattern in lines if _is_for(line, event)]
        patterns = self._who[who]
        if not patterns:
            return SAID_NOTHING
        return LISTED if any(pattern.match(event.action) for pattern in patterns) else UNLISTED


def _is_for(line: Grant, event: Event) -> bool:
    of = ((line.agent, event.agent), (line.group, event.group), (line.tenant, event.tenant))
    return all(glob is None or fnmatch.fnmatchcase(text, glob) for glob, text in of)


@inner
def _key(event: Any) -> np.uint64:
    return mix(mix(event["agent"], event["group"]), event["action"])


@inner
def said_of(asked: Index, event: Any) -> int:
    """Return what grants say of an event, as it was asked before."""
    return find_row(asked, _key(event))


@inner
def must_ask(
    asked: Index, event: Any, agent: Any, pages: Pages, settings: Any, window: Any
) -> bool:
    """Return whether an event's action is new to its agent, and has not been asked about."""
    item = fingerprint(int64(ACTION), event["action"])
    is_new = weight_of(pages, agent, item, window) <= settings["known_weight"]
    return is_new and find_row(asked, _key(event)) < 0


def nothing_asked() -> Index:
    """Return room for what is asked."""
    return np.zeros(ASKED_MIN, PLACE)


def with_answer(asked: Index, grants: Grants, decoded: Decoded, row: int) -> Index:
    """Return what has been asked with the answer about an event; it is half full at most."""
    event = known_event(decoded.line(row))
    of = decoded.rows[row]
    key = pair_id(pair_id(int(of["agent"]), int(of["group"])), int(of["action"]))
    used = int(np.count_nonzero(asked["key"]))
    if 2 * (used + 1) > len(asked):
        asked = _larger(asked)
    _put(asked, np.uint64(key), grants.says(event))
    return asked


def _larger(asked: Index) -> Index:
    if len(asked) >= ASKED_MAX:
        return nothing_asked()
    larger = np.zeros(2 * len(asked), PLACE)
    known = asked[asked["key"] != 0]
    for key, said in zip(known["key"], known["row"].tolist(), strict=True):
        _put(larger, key, said)
    return larger


@compiled
def _put(asked: Index, key: np.uint64, said: int) -> None:
    put_row(asked, key, said)


Said = NDArray[np.int64]
NOTHING_SAID: Said = np.zeros(0, np.int64)
