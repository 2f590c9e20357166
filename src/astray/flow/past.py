"""How far a stream had come before it is read from its beginning again.

The case store remembers the time of the newest event. A run that begins without a state takes
what it finds there as its past, and so does every run that goes on from that run's state.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from astray.decide.decider import Ruling
from astray.decide.decision import Decision
from astray.decide.past import unless_past
from astray.flow.cluster import Cluster
from astray.flow.counters import Counters
from astray.flow.recovery import begun_after_us
from astray.store import Store

NEWEST = "newest_event_us"
"""The name of the store's mark."""

_UNTIL = "past_until_us"
"""The name of the mark that the first process of a cluster, which has the state, leaves others."""

_MICROS = 1_000_000
_RAISED_EVERY_S = 1.0


def past_of(
    store: Store,
    counters: Counters,
    within_s: float,
    recovery: Path | None = None,
    cluster: Cluster | None = None,
) -> "Past":
    """Return the past of a run: that of the state it goes on from, or all that was heard of.

    Whichever process of a cluster records asks for it once decisions come: by then all of
    them are there, and the first has said what the past is.
    """
    if cluster is not None and not cluster.is_first:
        return Past(store, counters, partial(store.mark, _UNTIL), within_s)
    until_us = store.mark(NEWEST)
    if recovery is not None:
        until_us = begun_after_us(recovery, until_us)
    if cluster is not None:
        store.set_mark(_UNTIL, until_us)
    return Past(store, counters, lambda: until_us, within_s)


class Past:
    """Keeps decisions about the past from being acted upon, and the store's mark at the newest."""

    def __init__(
        self, store: Store, counters: Counters, until: Callable[[], int], within_s: float
    ) -> None:
        self._store = store
        self._counters = counters
        self._until = until
        self._until_us: int | None = None
        self._within_us = int(within_s * _MICROS)
        self._newest_us = self._raised_us = store.mark(NEWEST)
        self._raised_s = 0.0

    def hear(self, ruling: Ruling) -> None:
        """Take note of the time of events; before a decision of theirs is recorded, durably.

        Otherwise the mark may lag behind by a moment: writing costs more than a ruling does.
        Ranked sessions tell of the events that other processes read.
        """
        ranked_us = (int(scored["ts_us"].max(initial=0)) for scored in ruling.scored)
        self._newest_us = max(self._newest_us, self._counters.latest_us, *ranked_us)
        lagging = time.monotonic() - self._raised_s > _RAISED_EVERY_S
        if (lagging or ruling.decisions) and self._newest_us - self._raised_us >= _MICROS:
            self.settle()

    def settle(self) -> None:
        """Have the store know the newest event."""
        self._newest_us = max(self._newest_us, self._counters.latest_us)
        if self._newest_us > self._store.mark(NEWEST):  # others may write the same store
            self._store.set_mark(NEWEST, self._newest_us)
        self._raised_us, self._raised_s = self._newest_us, time.monotonic()

    def judged(self, decisions: Iterable[Decision]) -> list[Decision]:
        """Return decisions, those that come too late without their suspensions.

        A session that has been suspended already stays so: nothing is sent again for it.
        """
        return [self._judged(decision) for decision in decisions]

    def _judged(self, decision: Decision) -> Decision:
        if self._until_us is None:
            self._until_us = self._until()
        judged = unless_past(decision, self._until_us, self._within_us)
        return decision if judged is decision or self._is_suspended(decision) else judged

    def _is_suspended(self, decision: Decision) -> bool:
        known = self._store.case(decision.case)
        return known is not None and known.case.suspension is not None
