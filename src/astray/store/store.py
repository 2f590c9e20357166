"""The case store: decisions and what follows from them, on disk before anything leaves."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from astray.decide.decision import Decision
from astray.store import delivering, recording, views
from astray.store.database import Database
from astray.store.delivering import Delivery, Result
from astray.store.outgoing import Outbox
from astray.store.views import Case, CaseFile, Counts


class Store:
    """Cases, suspensions, deliveries and alerts in one database.

    Threads may share it. One astray writes it at a time; any number may read it meanwhile.
    Every method raises `StoreError`, naming the database, when the database cannot do what
    it is asked. What a method has written is on the disk when it returns.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str, *, read_only: bool = False) -> Self:
        """Open the store at a URL: `sqlite:///FILE`, or `sqlite://` for one in memory.

        A new file gets its tables. With `read_only` nothing is created, no lock is taken,
        and a running astray is not disturbed.

        Raises
        ------
        StoreError
            It is missing, not ours, of another schema version, unreadable, or in use.
        """
        return cls(Database.open(url, read_only=read_only))

    def close(self) -> None:
        """Close it, so that another astray may open it."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def record(self, decisions: Sequence[Decision], outbox: Outbox, now_s: float) -> list[Decision]:
        """Write decisions and all that follows from them at once; return those that were new.

        A decision of the same id is the same decision: recording it again changes nothing.
        """
        with self._database.write() as connection:
            return recording.record(connection, decisions, outbox, now_s)

    def alerts_after(self, sequence: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the alerts recorded after the one of that number, as (number, body)."""
        with self._database.read() as connection:
            return views.alerts_after(connection, sequence, limit)

    def mark(self, name: str) -> int:
        """Return how far a reader of alerts says it has come; 0 before it said anything."""
        with self._database.read() as connection:
            return views.mark(connection, name)

    def set_mark(self, name: str, sequence: int) -> None:
        """Remember how far a reader of alerts has come."""
        with self._database.write() as connection:
            recording.set_mark(connection, name, sequence)

    def due(self, endpoint: str, now_s: float, limit: int) -> list[Delivery]:
        """Return what may be tried for an endpoint now, what has waited longest first."""
        with self._database.read() as connection:
            return delivering.due(connection, endpoint, now_s, limit)

    def probes(self, endpoint: str, now_s: float, limit: int) -> list[Delivery]:
        """Return what may be tried to learn whether an endpoint is back, due or not."""
        with self._database.read() as connection:
            return delivering.probes(connection, endpoint, now_s, limit)

    def overdue(self, now_s: float, limit: int) -> list[Delivery]:
        """Return what has expired and is not marked so yet."""
        with self._database.read() as connection:
            return delivering.overdue(connection, now_s, limit)

    def next_due_s(self, endpoint: str, after_s: float) -> float | None:
        """Return when the next attempt for an endpoint is due after `after_s`, if ever."""
        with self._database.read() as connection:
            return delivering.next_due_s(connection, endpoint, after_s)

    def next_expiry_s(self, after_s: float) -> float | None:
        """Return when the next delivery expires after `after_s`, if ever."""
        with self._database.read() as connection:
            return delivering.next_expiry_s(connection, after_s)

    def settle(self, results: Sequence[Result]) -> None:
        """Write what became of deliveries, their suspensions and alerts, all at once."""
        with self._database.write() as connection:
            delivering.settle(connection, results)

    def hurry(self, endpoint: str, now_s: float) -> None:
        """Make everything that waits for an endpoint due at once."""
        with self._database.write() as connection:
            delivering.hurry(connection, endpoint, now_s)

    def disable_endpoint(self, name: str, reason: str, now_s: float) -> None:
        """Send nothing to an endpoint until it is enabled again; what waits for it stays."""
        with self._database.write() as connection:
            delivering.switch(connection, name, now_s, reason)

    def enable_endpoint(self, name: str) -> None:
        """Send to an endpoint again."""
        with self._database.write() as connection:
            delivering.switch(connection, name, None, "")

    def counts(self, now_s: float) -> Counts:
        """Return how much the store holds."""
        with self._database.read() as connection:
            return views.counts(connection, now_s)

    def cases(self, limit: int, *, agent: str | None = None) -> list[Case]:
        """Return the cases that changed last, of one agent if it is named."""
        with self._database.read() as connection:
            return views.listed(connection, limit, agent)

    def case(self, case_id: str) -> CaseFile | None:
        """Return all about one case, or None when there is none of that id."""
        with self._database.read() as connection:
            return views.opened(connection, case_id)
