"""Tags: which events do something that is sensitive, or that some policy forbids.

Only strings can be matched against globs, and the hot path has none. So each distinct
action and resource is looked at once, and its tag is remembered by id.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from astray.events import Decoded, known_event

_REMEMBERED_MAX = 200_000

Patterns = Sequence[tuple[int, re.Pattern[str]]]


class Tagger:
    """Gives events the tag bits of the patterns they match; see `decide.limits`."""

    def __init__(self, patterns: Mapping[str, Patterns]) -> None:
        self._actions, self._resources = patterns["action"], patterns["resource"]
        self._known: dict[tuple[bool, int], int] = {}

    def tags(self, decoded: Decoded) -> NDArray[np.uint64]:
        """Return a tag per event, or no tags at all where there are no patterns."""
        if not self._actions and not self._resources:
            return np.zeros(0, np.uint64)
        tags = np.zeros(len(decoded.rows), np.uint64)
        if self._actions:
            rows = np.arange(len(decoded.rows))
            tags |= self._of(decoded, decoded.rows["action"], rows, rows * 0, resource=False)
        if self._resources:
            self._tag_resources(decoded, tags)
        return tags

    def _tag_resources(self, decoded: Decoded, tags: NDArray[np.uint64]) -> None:
        counts = decoded.rows["resource_count"]
        rows = np.repeat(np.arange(len(counts)), counts)
        places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        ids = decoded.resources["id"][decoded.rows["resource_first"][rows] + places]
        np.bitwise_or.at(tags, rows, self._of(decoded, ids, rows, places, resource=True))

    def _of(
        self,
        decoded: Decoded,
        ids: NDArray[np.uint64],
        rows: NDArray[np.intp],
        places: NDArray[np.intp],
        *,
        resource: bool,
    ) -> NDArray[np.uint64]:
        distinct, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
        found = np.zeros(len(distinct), np.uint64)
        for at, (id_, example) in enumerate(zip(distinct.tolist(), first.tolist(), strict=True)):
            tag = self._known.get((resource, id_))
            if tag is None:
                tag = self._look(decoded, int(rows[example]), int(places[example]), resource)
                self._remember((resource, id_), tag)
            found[at] = tag
        return found[inverse]

    def _look(self, decoded: Decoded, row: int, place: int, resource: bool) -> int:  # noqa: FBT001
        event = known_event(decoded.line(row))
        text = event.resources[place] if resource else event.action
        patterns = self._resources if resource else self._actions
        return sum(1 << bit for bit, pattern in patterns if pattern.match(text))

    def _remember(self, key: tuple[bool, int], tag: int) -> None:
        if len(self._known) >= _REMEMBERED_MAX:
            self._known.clear()
        self._known[key] = tag
