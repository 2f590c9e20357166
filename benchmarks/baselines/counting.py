"""Counts with back-off: how rare is this for the agent, its group, the fleet."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence

from astray.events import Event

_STRENGTH = 2.0
"""Observations' worth that the level above knows beforehand."""

START = ""
"""What a session's first action follows."""


class BackOff:
    """The probability of an item in a context, smoothed towards that in the next wider one.

    >>> counts = BackOff()
    >>> counts.learn(["agent", "fleet"], "read")
    >>> counts.bits(["agent", "fleet"], "read") < counts.bits(["agent", "fleet"], "write")
    True
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[Hashable, Hashable], int] = defaultdict(int)
        self._masses: dict[Hashable, int] = defaultdict(int)
        self._items: set[Hashable] = set()

    def bits(self, contexts: Sequence[Hashable], item: Hashable) -> float:
        """Return -log2 of the item's probability; `contexts` go from narrow to wide."""
        probability = 1.0 / (len(self._items) + 1)
        for context in reversed(contexts):
            count = self._counts.get((context, item), 0)
            mass = self._masses.get(context, 0)
            probability = (count + _STRENGTH * probability) / (mass + _STRENGTH)
        return -math.log2(probability)

    def learn(self, contexts: Sequence[Hashable], item: Hashable) -> None:
        """Count an item in all contexts."""
        self._items.add(item)
        for context in contexts:
            self._counts[context, item] += 1
            self._masses[context] += 1


def levels(event: Event) -> tuple[Hashable, ...]:
    """Return agent, group and fleet of an event, each a context of its own."""
    return ("agent", event.agent), ("group", event.group), "fleet"


class Frequency:
    """-log p(action) - log p(resource), per agent with back-off to its group and the fleet.

    Of several resources the rarest counts. Fails where attackers do usual things elsewhere.
    """

    def __init__(self) -> None:
        self._actions, self._resources = BackOff(), BackOff()

    def score_one(self, event: Event) -> float:
        """Return the bits of what is done and of what it is done to."""
        contexts = levels(event)
        resources = (self._resources.bits(contexts, name) for name in event.resources)
        return self._actions.bits(contexts, event.action) + max(resources, default=0.0)

    def learn_one(self, event: Event) -> None:
        """Count action and resources."""
        contexts = levels(event)
        self._actions.learn(contexts, event.action)
        for name in event.resources:
            self._resources.learn(contexts, name)


class Markov:
    """-log p(action | action before), per agent with back-off to its group and the fleet.

    Fails where the order of actions is free, and where the resource is what is wrong.
    """

    def __init__(self) -> None:
        self._counts = BackOff()
        self._before: dict[tuple[str, str], str] = {}

    def score_one(self, event: Event) -> float:
        """Return the bits of the step from the session's last action."""
        return self._counts.bits(tuple(self._contexts(event)), event.action)

    def learn_one(self, event: Event) -> None:
        """Count the step, and stand at its end."""
        self._counts.learn(tuple(self._contexts(event)), event.action)
        self._before[event.agent, event.session] = event.action

    def _contexts(self, event: Event) -> Iterator[Hashable]:
        before = self._before.get((event.agent, event.session), START)
        for level in levels(event):
            yield level, before
