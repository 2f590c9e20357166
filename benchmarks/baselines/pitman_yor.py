"""Pitman-Yor predictive mid-p-values per agent and channel, combined by Fisher's method."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterator

from astray.events import Event

_STRENGTH = 1.0
_P_MIN = 1e-12


class Urn:
    """A Pitman-Yor process over items: how surprising an item would be next.

    The discount is estimated from the items seen once and twice. The mid-p-value of an item is
    the probability of all rarer ones and half of that of its equals.

    >>> urn = Urn()
    >>> for item in "aaaaaaaab":
    ...     urn.learn(item)
    >>> urn.mid_p("a") > urn.mid_p("b")
    True
    """

    def __init__(self) -> None:
        self._counts: dict[Hashable, int] = {}
        self._items_with: dict[int, int] = defaultdict(int)
        self._total = 0

    @property
    def discount(self) -> float:
        """Return the share of an item's first occurrence that is kept for new ones."""
        once, twice = self._items_with.get(1, 0), self._items_with.get(2, 0)
        return once / (once + 2 * twice) if once and twice else 0.5

    def mid_p(self, item: Hashable) -> float:
        """Return the item's mid-p-value; 1 where nothing has been learnt."""
        if not self._total:
            return 1.0
        discount = self.discount
        new = _STRENGTH + discount * len(self._counts)
        count = self._counts.get(item, 0)
        own = count - discount if count else new
        lower = equal = 0.0
        for seen, items in self._items_with.items():
            mass = (seen - discount) * items
            lower += mass if seen - discount < own else 0.0
            equal += mass if seen - discount == own else 0.0
        lower += new if new < own else 0.0
        equal += new if new == own else 0.0
        return min((lower + equal / 2) / (self._total + _STRENGTH), 1.0)

    def learn(self, item: Hashable) -> None:
        """Count an item."""
        count = self._counts.get(item, 0)
        if count:
            self._items_with[count] -= 1
            if not self._items_with[count]:
                del self._items_with[count]
        self._counts[item] = count + 1
        self._items_with[count + 1] += 1
        self._total += 1


def fisher_bits(p_values: list[float]) -> float:
    """Return -log2 of Fisher's combined p-value of independent ones.

    The chi-squared tail with an even number of degrees of freedom is a finite sum.

    >>> fisher_bits([0.25])
    2.0
    """
    half = -sum(math.log(max(p, _P_MIN)) for p in p_values)
    term, total = 1.0, 1.0
    for place in range(1, len(p_values)):
        term *= half / place
        total += term
    return (half - math.log(total)) / math.log(2.0)


class PitmanYorFisher:
    """Mid-p-values of action, step, resource and source under the agent's own urns.

    Knows nothing of peers (Heard and Rubin-Delanchy, 2016; Sanna Passino and Heard, 2019).
    Fails where new things are usual: its p-values are not uniform on clumped data.
    """

    def __init__(self) -> None:
        self._urns: dict[tuple[str, str], Urn] = defaultdict(Urn)
        self._before: dict[tuple[str, str], str] = {}

    def score_one(self, event: Event) -> float:
        """Return the bits of an event's combined p-value."""
        p_values = []
        for channel, item in self._items(event):
            urn = self._urns.get((event.agent, channel))
            p_values.append(urn.mid_p(item) if urn else 1.0)
        return fisher_bits(p_values)

    def learn_one(self, event: Event) -> None:
        """Count all of an event's items."""
        for channel, item in self._items(event):
            self._urns[event.agent, channel].learn(item)
        self._before[event.agent, event.session] = event.action

    def _items(self, event: Event) -> Iterator[tuple[str, Hashable]]:
        before = self._before.get((event.agent, event.session), "")
        yield "action", event.action
        yield "step", (before, event.action)
        for name in event.resources:
            yield "resource", name
        if event.source:
            yield "source", event.source
