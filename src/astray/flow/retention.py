"""Removes from the case store what is old and closed, on a rhythm, on a thread of its own.

One of all processes that share a store does so, in pieces that are short, with pauses, so
that whoever records decisions hardly waits. See `astray.store.retention` for what may go.
"""

import time
from collections.abc import Callable
from typing import Final

from astray.config_store import Store as Keep
from astray.errors import StoreError
from astray.flow.alerting import ALERT, DECISION, Alerts
from astray.flow.background import Background
from astray.flow.counters import Counters
from astray.store import Place, Store, Terms

LEAD: Final = "retention"
"""What the right to remove is called: of all processes on one store, one has it."""

FIRST_AFTER_S: Final = 10.0
"""So long after its start a run looks for the first time: then it has more urgent things to do."""

SWEEP_EVERY_S: Final = 6 * 3600.0
"""So often it looks again."""

AGAIN_AFTER_S: Final = 60.0
"""So long it leaves alone a store that has failed."""

PAUSE_S: Final = 0.25
"""So long others have the store to themselves between two pieces."""

_DAY_S: Final = 86_400.0


class Retention(Background):
    """Keeps a case store as long as is configured, and no longer.

    `clock` tells the wall clock in seconds. What all readers of `alerts` have got may go.
    """

    def __init__(
        self,
        store: Store,
        keep: Keep,
        alerts: Alerts,
        counters: Counters,
        *,
        clock: Callable[[], float] = time.time,
        first_after_s: float = FIRST_AFTER_S,
        pause_s: float = PAUSE_S,
    ) -> None:
        super().__init__("astray-retention")
        self._store = store
        self._keep = keep
        self._alerts = alerts
        self._counters = counters
        self._clock = clock
        self._first_after_s = first_after_s
        self._pause_s = pause_s
        self._lead = store.lead(LEAD)

    def sweep(self) -> None:
        """Remove all that may go now, where it is ours to do so; ends early when asked to stop.

        Raises
        ------
        StoreError
            The store cannot be read or written; another sweep goes on.
        """
        after: Place | None = None
        terms = self._terms()
        while self._leads():
            found = self._store.remove_cases(terms, self._clock(), after)
            self._counters.removed.update(found.rows)
            after = found.last
            if after is None:
                break
        while self._leads() and (count := self._store.remove_alerts(terms)):
            self._counters.removed.update({"alerts": count})
        while self._leads() and (count := self._store.remove_notes(terms)):
            self._counters.removed.update({"audit": count})
        while self._leads() and self._store.give_back():
            pass

    def _terms(self) -> Terms:
        now_s, keep = self._clock(), self._keep
        return Terms(
            before_s=now_s - keep.keep_days * _DAY_S,
            audit_before_s=now_s - keep.keep_audit_days * _DAY_S if keep.keep_audit_days else None,
            alerts=self._alerts.handed(ALERT),
            decisions=self._alerts.handed(DECISION),
        )

    def _leads(self) -> bool:
        """Return whether to go on, after a pause in which others have the store."""
        return not self._ending.wait(self._pause_s) and self._lead.is_held()

    def _run(self) -> None:
        wait_s = self._first_after_s
        while not self._ending.wait(wait_s):
            try:
                self.sweep()
            except StoreError:  # whoever records decisions says so
                wait_s = AGAIN_AFTER_S
            else:
                wait_s = SWEEP_EVERY_S

    def _is_wanted(self) -> bool:
        return bool(self._keep.keep_days)

    def _leave(self) -> None:
        self._lead.release()
