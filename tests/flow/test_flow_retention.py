"""Retention while a run lasts: by whom, how often, by which clock, and what is waited for."""

import threading
from pathlib import Path

import pytest

from astray.alerts.ocsf import finding
from astray.config_store import Store as Keep
from astray.decide.decision import Level, Mode
from astray.flow.alerting import ALERT, DECISION, Alerts
from astray.flow.counters import Counters
from astray.flow.retention import Retention
from astray.respond import WebhookOutbox
from astray.store import Act, Outcome, Store
from astray.store.retention import LOOKED_AT_MAX
from astray.testing import make_decision
from databases import postgres  # noqa: F401 - a fixture
from running import until

DAY_S = 86_400.0
URL = "sqlite://"
KEEP = Keep(url=URL, keep_days=90.0, keep_audit_days=0.0)
OUTBOX = WebhookOutbox([], finding)
AT_ONCE = {"first_after_s": 0.0, "pause_s": 0.0}


def nobody(_: bytes) -> None:
    """See no alert."""


class Clock:
    """A wall clock that a test turns."""

    def __init__(self) -> None:
        self.now_s = 1_795_312_800.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


class Topic:
    """A taker that has come as far as a test says."""

    def __init__(self, store: Store, kind: str) -> None:
        self._store = store
        self.kind, self.mark = kind, f"{kind}:topic"

    def come(self, number: int) -> None:
        """Have got everything up to a number."""
        self._store.set_mark(self.mark, number)

    def written(self) -> int:
        """Return how far it has come."""
        return self._store.mark(self.mark)

    def read(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return nothing: it is not to take more."""
        return []

    def take(self, found: list[tuple[int, bytes]]) -> None:
        """Take nothing."""

    def end(self) -> None:
        """Come to its end by itself."""

    def close(self) -> None:
        """Hold nothing."""


@pytest.fixture
def clock():
    """Return a clock."""
    return Clock()


@pytest.fixture
def store():
    """Open a case store."""
    with Store.open(URL) as opened:
        yield opened


def record(store: Store, at_s: float, *sessions: str) -> None:
    """Record cases that only alert."""
    store.record(
        [make_decision(session=name, level=Level.ALERT, mode=Mode.OBSERVE) for name in sessions],
        OUTBOX,
        at_s,
    )


def sessions(store: Store) -> set[str]:
    """Return the sessions that have a case."""
    return {case.session for case in store.cases(1000)}


def retention(store: Store, clock: Clock, keep: Keep = KEEP, *takers: Topic) -> Retention:
    """Return what removes, of a run with these takers."""
    alerts = Alerts(store, None, nobody, takers)
    return Retention(store, keep, alerts, Counters(), clock=clock, pause_s=0.0)


def test_what_has_not_changed_for_so_many_days_goes(store, clock):
    """By the clock that it is given; a day earlier it is still there."""
    record(store, clock.now_s, "old")
    found = []
    for days in (89.0, 1.5):
        clock.now_s += days * DAY_S
        retention(store, clock).sweep()
        found.append(sessions(store))

    assert found == [{"old"}, set()]


def test_a_sweep_removes_all_that_may_go_and_counts_it(store, clock):
    """In as many pieces as it takes; cases, their decisions, and alerts."""
    many = [f"s{n}" for n in range(LOOKED_AT_MAX + 20)]
    record(store, clock.now_s, *many)
    clock.now_s += 91 * DAY_S
    record(store, clock.now_s, "new")
    counters = Counters()
    alerts = Alerts(store, None, nobody)

    Retention(store, KEEP, alerts, counters, clock=clock, pause_s=0.0).sweep()

    assert sessions(store) == {"new"}
    assert {table: count for table, count in counters.removed.items() if count} == {
        "cases": len(many),
        "decisions": len(many),
        "alerts": len(many),
    }
    assert len(store.removals(9)) == 2


def test_alerts_of_cases_that_stay_are_counted_as_well(store, clock):
    """A suspension in force keeps its case, and not the copies that were handed on."""
    store.record([make_decision()], OUTBOX, clock.now_s)
    clock.now_s += 91 * DAY_S
    counters = Counters()

    Retention(store, KEEP, Alerts(store, None, nobody), counters, clock=clock, pause_s=0.0).sweep()

    assert counters.removed == {"alerts": 1}
    assert sessions(store) == {"session-1"}


@pytest.mark.parametrize("kind", [ALERT, DECISION])
def test_a_taker_that_was_away_is_waited_for(store, clock, kind):
    """Nothing that it has yet to get goes; of several takers the slowest counts."""
    slow, quick, other = Topic(store, kind), Topic(store, kind), Topic(store, "another kind")
    quick.mark += "quick"
    quick.come(9)
    record(store, clock.now_s, "s1", "s2")
    clock.now_s += 91 * DAY_S
    removing = retention(store, clock, KEEP, slow, quick, other)
    found = []

    for number in (0, 1, 2):
        slow.come(number)
        removing.sweep()
        found.append(sessions(store))

    assert found == [{"s1", "s2"}, {"s2"}, set()]


def test_the_file_of_alerts_is_waited_for(store, clock, tmp_path):
    """Until what there is stands in it."""
    record(store, clock.now_s, "s1")
    clock.now_s += 91 * DAY_S
    alerts = Alerts(store, tmp_path / "alerts.jsonl", nobody)
    removing = Retention(store, KEEP, alerts, Counters(), clock=clock, pause_s=0.0)
    removing.sweep()
    before = sessions(store)

    with alerts:
        until(lambda: alerts.handed(ALERT) == 1, "the file")
    removing.sweep()

    assert (before, sessions(store)) == ({"s1"}, set())


@pytest.mark.parametrize(("audit_days", "left"), [(0.0, {"s1"}), (365.0, {"s1"}), (90.0, set())])
def test_the_audit_is_kept_for_days_of_its_own(store, clock, audit_days, left):
    """With the case that something was done to; by default for ever."""
    record(store, clock.now_s - DAY_S, "s1", "s2")
    (case,) = (case for case in store.cases(9) if case.session == "s1")
    approved = Act(case.case_id, clock.now_s - DAY_S, "kim", "approve")
    assert store.approve(approved, OUTBOX) is Outcome.DONE
    released = store.release(Act(case.case_id, clock.now_s, "kim", "release"), _Nothing())
    assert released is Outcome.DONE
    clock.now_s += 91 * DAY_S

    retention(store, clock, KEEP.model_copy(update={"keep_audit_days": audit_days})).sweep()

    assert sessions(store) == left


class _Nothing:
    """Nobody is asked to resume."""

    def resumptions(self, *_: object) -> list:
        """Return no webhook."""
        return []


def test_one_of_several_processes_removes(postgres, clock):  # noqa: F811 - the fixture
    """Another one takes over when that one has ended."""
    with Store.open(postgres) as mine, Store.open(postgres) as other:
        first, second = retention(mine, clock), retention(other, clock)
        first.sweep()
        record(mine, clock.now_s, "old")
        clock.now_s += 91 * DAY_S

        second.sweep()
        idle = sessions(mine)
        first.__exit__(None, None, None)

        until(lambda: second.sweep() or not sessions(mine), "the other's turn")
        assert idle == {"old"}


def test_it_looks_by_itself_while_a_run_lasts_and_ends_with_it(store, clock):
    """On a thread of its own, after a while; it lets go of the right to remove."""
    record(store, clock.now_s, "old")
    clock.now_s += 91 * DAY_S
    alerts = Alerts(store, None, nobody)
    removing = Retention(store, KEEP, alerts, Counters(), clock=clock, first_after_s=0.05)

    with removing:
        until(lambda: not sessions(store), "a sweep")
        names = {thread.name for thread in threading.enumerate()}

    assert "astray-retention" in names
    assert "astray-retention" not in {thread.name for thread in threading.enumerate()}


def test_a_store_that_is_kept_for_ever_is_left_alone(store, clock):
    """Nothing runs, and nothing is removed."""
    for_ever = KEEP.model_copy(update={"keep_days": 0.0})
    alerts = Alerts(store, None, nobody)
    record(store, 0.0, "old")

    with Retention(store, for_ever, alerts, Counters(), clock=clock, first_after_s=0.0):
        names = {thread.name for thread in threading.enumerate()}

    assert "astray-retention" not in names
    assert sessions(store) == {"old"}


def test_a_store_that_fails_is_looked_at_again(tmp_path: Path, clock):
    """The thread lasts, and says nothing: whoever records decisions does."""
    store = Store.open(f"sqlite:///{tmp_path}/cases.db")
    alerts = Alerts(store, None, nobody)
    removing = Retention(store, KEEP, alerts, Counters(), clock=clock, **AT_ONCE)

    store.close()

    with removing:
        threading.Event().wait(0.1)
        alive = "astray-retention" in {thread.name for thread in threading.enumerate()}

    assert alive
