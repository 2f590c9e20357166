"""MIDAS-R: bursts of an edge or a node against its own history, across all agents."""

from collections.abc import Hashable

from astray.events import Event

_TICK_US = 60_000_000
_DECAY = 0.5


class _Counter:
    """A count that fades from tick to tick, and one that does not.

    The original keeps both in count-min sketches; exact ones are never worse.
    """

    __slots__ = ("recent", "tick", "total")

    def __init__(self, tick: int) -> None:
        self.recent, self.total, self.tick = 0.0, 0.0, tick

    def recent_at(self, tick: int) -> float:
        """Return the fading count as it is in a tick."""
        return self.recent * _DECAY ** max(tick - self.tick, 0)

    def add(self, count: float, tick: int) -> None:
        """Add to both counts."""
        self.recent = self.recent_at(tick) + count
        self.total += count
        self.tick = max(self.tick, tick)


def chi_squared(recent: float, total: float, ticks: int) -> float:
    """Return by how much the recent count exceeds what the total makes usual.

    >>> chi_squared(5.0, 10.0, 2)
    0.0
    >>> chi_squared(9.0, 10.0, 10)
    71.11111111111111
    """
    if not total or ticks <= 1:
        return 0.0
    return (recent - total / ticks) ** 2 * ticks * ticks / (total * (ticks - 1))


class MidasR:
    """The largest chi-squared of the pair (action, resource), the action and the resource.

    Bhatia et al., 2020, with ticks of a minute and a decay of one half. Sees floods only, those
    of many agents together above all. An event's own count is in what it is scored by, as in
    the original; nothing is learnt by that.
    """

    def __init__(self) -> None:
        self._counters: dict[Hashable, _Counter] = {}
        self._first: int | None = None

    def score_one(self, event: Event) -> float:
        """Return the largest excess of what the event belongs to."""
        tick = event.ts_us // _TICK_US
        ticks = tick - (tick if self._first is None else self._first) + 1
        return max(self._excess(key, event.count, tick, ticks) for key in self._keys(event))

    def _excess(self, key: Hashable, count: int, tick: int, ticks: int) -> float:
        counter = self._counters.get(key)
        recent, total = (counter.recent_at(tick), counter.total) if counter else (0.0, 0.0)
        return chi_squared(recent + count, total + count, ticks)

    def learn_one(self, event: Event) -> None:
        """Count the event."""
        tick = event.ts_us // _TICK_US
        self._first = tick if self._first is None else self._first
        for key in self._keys(event):
            self._counters.setdefault(key, _Counter(tick)).add(event.count, tick)

    @staticmethod
    def _keys(event: Event) -> list[Hashable]:
        resources = event.resources or ("",)
        pairs: list[Hashable] = [("pair", event.action, name) for name in resources]
        return [*pairs, ("action", event.action), *(("resource", name) for name in resources)]
