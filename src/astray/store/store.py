"""The case store: decisions and what follows from them, on disk before anything leaves."""

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from astray.decide.decision import Decision
from astray.decide.leaving import Left
from astray.decide.review import Review
from astray.decide.silence import Kind, Silence
from astray.decide.verdict import Verdict
from astray.store import (
    address,
    delivering,
    judging,
    noting,
    recording,
    retention,
    reviewing,
    silencing,
    views,
)
from astray.store.database import PATIENCE_S, Database
from astray.store.delivering import Delivery, Result
from astray.store.judging import Act, Outcome
from astray.store.lead import Lead
from astray.store.migrations import MIGRATIONS, Migration
from astray.store.outgoing import Outbox, Undoing
from astray.store.retention import Place, Removed, Terms
from astray.store.silencing import Render
from astray.store.views import Case, CaseFile, Counts


class Store:
    """Cases, suspensions, deliveries and alerts in one database.

    Threads may share it, and on PostgreSQL any number of processes. A file of SQLite is
    written by one astray at a time; any number may read it meanwhile. Every method raises
    `StoreError`, naming the database, when the database cannot do what it is asked; one that
    is away for a while, as PostgreSQL may be, is waited for first. What a method has written
    is on the disk when it returns.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(
        cls,
        url: str,
        *,
        read_only: bool = False,
        beside: bool = False,
        environment: Mapping[str, str] = os.environ,
        patience_s: float = PATIENCE_S,
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> Self:
        """Open the store at a URL, or at the URL that `env:NAME` or `file:/path` refers to.

        `sqlite:///FILE`, `sqlite://` for one in memory, or
        `postgresql+psycopg://USER@HOST/DATABASE`. A new one gets its tables, and one of an
        older version is migrated, once, whoever comes first. With `read_only` nothing is
        created or changed, no lock is taken, and a running astray is not disturbed. With `beside`
        a store that is there is written while a running astray has it: what people do to cases,
        and nothing else.

        Later, a database that is away is waited for, for `patience_s`.

        Raises
        ------
        StoreError
            It is missing, not ours, of another schema version, unreadable, or in use.
        ConfigError
            There is nothing in the place that is referred to.
        """
        parsed = address.parse(address.resolve(url, environment))
        return cls(
            Database.open(
                parsed,
                read_only=read_only,
                beside=beside,
                patience_s=patience_s,
                migrations=migrations,
            )
        )

    @staticmethod
    def shared(url: str, *, environment: Mapping[str, str] = os.environ) -> bool:
        """Return whether several processes may write the store at a URL at a time.

        Raises as `open` does for an address that cannot be used; connects to nothing.
        """
        return address.is_shared(address.parse(address.resolve(url, environment)))

    @staticmethod
    def is_there(url: str, *, environment: Mapping[str, str] = os.environ) -> bool:
        """Return whether there may be a store at a URL: a file is looked for, no server is asked.

        Raises as `open` does for an address that cannot be used.
        """
        return address.is_there(address.parse(address.resolve(url, environment)))

    @property
    def is_shared(self) -> bool:
        """Whether several processes may write it at a time."""
        return self._database.is_shared

    def lead(self, name: str) -> Lead:
        """Return the right, not yet taken, to do what is called so: one process has it."""
        return self._database.lead(name)

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

        A decision of the same id is the same decision: recording it again changes nothing,
        whichever process does it.
        """
        return self._database.write(recording.record, decisions, outbox, now_s)

    def record_silences(
        self, silences: Sequence[Silence], render: Render, now_s: float
    ) -> list[Silence]:
        """Write what is new of silences, a case and an alert each; return it."""
        return self._database.write(silencing.record_silences, silences, render, now_s)

    def record_left(self, left: Sequence[Left], now_s: float) -> int:
        """Write into the audit which sessions have left quarantine, each once; return how many."""
        return self._database.write(noting.record_left, left, now_s)

    def learnt(self, limit: int) -> list[Act]:
        """Return which sessions have left quarantine, as the audit has it, the latest first."""
        return self._database.read(noting.learnt, limit)

    def lasting_silences(self, kind: Kind) -> list[Silence]:
        """Return the silences of a kind that are not over."""
        return self._database.read(silencing.lasting, kind)

    def record_reviews(
        self, reviews: Sequence[Review], render: reviewing.Render, now_s: float
    ) -> list[Review]:
        """Write what is new of reviews, a case and an alert each; return it."""
        return self._database.write(reviewing.record_reviews, reviews, render, now_s)

    def alerts_after(self, sequence: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the alerts recorded after the one of that number, as (number, body)."""
        return self._database.read(views.alerts_after, sequence, limit)

    def mark(self, name: str) -> int:
        """Return how far a reader of alerts says it has come; 0 before it said anything."""
        return self._database.read(views.mark, name)

    def set_mark(self, name: str, sequence: int) -> None:
        """Remember how far a reader of alerts has come."""
        self._database.write(recording.set_mark, name, sequence)

    def decisions_after(self, sequence: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the decisions recorded after the one of that number, as (number, JSON).

        In the order of recording; like an alert, none comes late with a smaller number.
        """
        return self._database.read(views.decisions_after, sequence, limit)

    def due(self, endpoint: str, now_s: float, limit: int) -> list[Delivery]:
        """Return what may be tried for an endpoint now, what has waited longest first."""
        return self._database.read(delivering.due, endpoint, now_s, limit)

    def probes(self, endpoint: str, now_s: float, limit: int) -> list[Delivery]:
        """Return what may be tried to learn whether an endpoint is back, due or not."""
        return self._database.read(delivering.probes, endpoint, now_s, limit)

    def overdue(self, now_s: float, limit: int) -> list[Delivery]:
        """Return what has expired and is not marked so yet."""
        return self._database.read(delivering.overdue, now_s, limit)

    def next_due_s(self, endpoint: str, after_s: float) -> float | None:
        """Return when the next attempt for an endpoint is due after `after_s`, if ever."""
        return self._database.read(delivering.next_due_s, endpoint, after_s)

    def next_expiry_s(self, after_s: float) -> float | None:
        """Return when the next delivery expires after `after_s`, if ever."""
        return self._database.read(delivering.next_expiry_s, after_s)

    def hold(self, webhook_ids: Sequence[str], now_s: float, until_s: float) -> set[str]:
        """Keep other processes from attempting deliveries until then, or until they are settled.

        Returns those that nobody else holds; where there is one process, all of them.
        """
        if not self.is_shared or not webhook_ids:
            return set(webhook_ids)
        return self._database.write_beside(delivering.hold, webhook_ids, now_s, until_s)

    def settle(self, results: Sequence[Result]) -> None:
        """Write what became of deliveries, their suspensions and alerts, all at once."""
        self._database.write(delivering.settle, results)

    def hurry(self, endpoint: str, now_s: float) -> None:
        """Make everything that waits for an endpoint due at once."""
        self._database.write(delivering.hurry, endpoint, now_s)

    def disable_endpoint(self, name: str, reason: str, now_s: float) -> None:
        """Send nothing to an endpoint until it is enabled again; what waits for it stays."""
        self._database.write(delivering.switch, name, now_s, reason)

    def enable_endpoint(self, name: str) -> None:
        """Send to an endpoint again."""
        self._database.write(delivering.switch, name, None, "")

    def known_endpoints(self) -> dict[str, str]:
        """Return the endpoints that something was to be sent to, with why one is disabled."""
        return self._database.read(delivering.known_endpoints)

    def counts(self, now_s: float) -> Counts:
        """Return how much the store holds."""
        return self._database.read(views.counts, now_s)

    def cases(self, limit: int, *, agent: str | None = None) -> list[Case]:
        """Return the cases that changed last, of one agent if it is named."""
        return self._database.read(views.listed, limit, agent)

    def case(self, case_id: str) -> CaseFile | None:
        """Return all about one case, or None when there is none of that id."""
        return self._database.read(views.opened, case_id)

    def judge(self, verdict: Verdict, now_s: float) -> Outcome:
        """Write a verdict about a case, once; the case has one in force at a time."""
        return self._database.write(judging.judge, verdict, now_s)

    def approve(self, act: Act, outbox: Outbox) -> Outcome:
        """Have the session of a case suspended that is not, as its last decision asked for it."""
        return self._database.write(judging.approve, act, outbox)

    def release(self, act: Act, undoing: Undoing) -> Outcome:
        """Take a suspension back, and ask those who were asked for it to let the session go on."""
        return self._database.write(judging.release, act, undoing)

    def verdicts_after(self, sequence: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the verdicts recorded after the one of that number, as (number, JSON).

        In the order of recording; like an alert, none comes late with a smaller number.
        """
        return self._database.read(judging.verdicts_after, sequence, limit)

    def remove_cases(self, terms: Terms, now_s: float, after: Place | None = None) -> Removed:
        """Look at some old cases, and remove those that are closed, with all that is theirs.

        One call is short, as nobody else writes meanwhile; the next goes on after its `last`.
        """
        return self._database.write(retention.remove_cases, terms, after, now_s)

    def remove_alerts(self, terms: Terms) -> int:
        """Remove some old alerts that have been handed on; return how many."""
        return self._database.write(retention.remove_alerts, terms)

    def remove_notes(self, terms: Terms) -> int:
        """Remove some old lines of the audit about sessions without a case; return how many."""
        return self._database.write(noting.remove_notes, terms.before_s)

    def removals(self, limit: int) -> list[Act]:
        """Return what was removed when, as the audit has it, the latest first."""
        return self._database.read(retention.removals, limit)

    def give_back(self) -> bool:
        """Let the system have some room that nothing is in; return whether there is more."""
        return self._database.give_back()

    def place_verdict(self, verdict_id: str, at_us: int) -> int:
        """Write down when a verdict takes effect in the stream; return when it does, for good."""
        return self._database.write(judging.place_verdict, verdict_id, at_us)

    def check_writable(self) -> None:
        """Raise a `StoreError` unless it can be written now; nothing is."""
        self._database.check_writable()
