"""What is old and closed goes, with all that is its own; what is open stays, however old."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from astray.decide.decision import Decision, Level, Mode, Withheld
from astray.decide.silence import Kind, Over, Silence
from astray.decide.verdict import Said, Scope, Verdict
from astray.store import (
    EVERYTHING,
    TABLES,
    Act,
    DeliveryState,
    Outcome,
    Outgoing,
    Place,
    Result,
    Store,
    SuspensionState,
    Terms,
)
from astray.store.retention import ALERTS_MAX, LOOKED_AT_MAX
from astray.testing import make_decision
from outboxes import TwoReceivers

DAY_S = 86_400.0
OLD_S, LATER_S, NOW_S = 10 * DAY_S, 60 * DAY_S, 100 * DAY_S
NINETY = Terms(before_s=LATER_S, audit_before_s=LATER_S)
EVER = Terms(before_s=LATER_S)
ALERT = make_decision(level=Level.ALERT, mode=Mode.OBSERVE, score=61.0, limit=60.0)
SUSPEND = make_decision()
SILENCE = Silence("case_00000000000000aa", Kind.SOURCE, "", "feed", last_us=100, ts_us=400)


class Resuming(TwoReceivers):
    """An outbox that can take back as well."""

    def resumptions(self, decision: Decision, who: str, note: str, now_s: float) -> list[Outgoing]:
        """Return one webhook per endpoint."""
        return [
            Outgoing(f"{name}-{decision.case}-resume", name, f"{who}: {note}".encode(), now_s + 60)
            for name in ("siem", "gateway")
        ]


def settle(store: Store, *states: DeliveryState, suffix: str = "") -> None:
    """Let the deliveries of the suspension come to their ends."""
    ids = (f"{name}-{SUSPEND.case}{suffix}" for name in ("siem", "gateway"))
    store.settle([Result(id_, state, OLD_S, 200) for id_, state in zip(ids, states, strict=True)])


def suspend(store: Store, *states: DeliveryState) -> None:
    """Record a suspension, and what became of its two deliveries."""
    store.record([SUSPEND], TwoReceivers(), OLD_S)
    settle(store, *states)


def judge(store: Store, said: Said, at_s: float = OLD_S, **changes: object) -> Verdict:
    """Give a verdict on the session's case."""
    verdict = Verdict(SUSPEND.case, said, "kim", int(at_s * 1e6), **changes)  # type: ignore[arg-type]
    assert store.judge(verdict, at_s) is Outcome.DONE
    return verdict


def release(store: Store) -> None:
    """Take the suspension back, and deliver that."""
    act = Act(SUSPEND.case, OLD_S, "kim", "release")
    assert store.release(act, Resuming()) is Outcome.DONE


def held(store: Store) -> dict[str, int]:
    """Return how many rows there are of what a case has."""

    def count(connection):  # type: ignore[no-untyped-def]
        return {
            table: connection.scalar(text(f"SELECT count(*) FROM {table}"))  # noqa: S608 - ours
            for table in TABLES
        }

    return store._database.read(count)


def sweep(store: Store, terms: Terms = NINETY, now_s: float = NOW_S) -> dict[str, int]:
    """Remove all that may go; return how many rows."""
    removed, last, calls = dict.fromkeys(TABLES, 0), None, 0
    while not calls or last is not None:
        found = store.remove_cases(terms, now_s, last)
        for table, count in found.rows.items():
            removed[table] += count
        last, calls = found.last, calls + 1
    return removed


def nothing(store: Store) -> None:
    """Record a case that only alerts."""
    store.record([ALERT], TwoReceivers(), OLD_S)


def observed(store: Store) -> None:
    """Record a suspension that was withheld."""
    decision = make_decision(level=Level.WITHHELD, withheld=Withheld.OBSERVE, mode=Mode.OBSERVE)
    store.record([decision], TwoReceivers(), OLD_S)


def released(store: Store) -> None:
    """Record a suspension that was taken back, which was delivered, too."""
    suspend(store, DeliveryState.DELIVERED, DeliveryState.FAILED)
    release(store)
    settle(store, DeliveryState.DELIVERED, DeliveryState.DELIVERED, suffix="-resume")


def right(store: Store) -> None:
    """Record a suspension that somebody said was right."""
    suspend(store, DeliveryState.DELIVERED, DeliveryState.EXPIRED)
    judge(store, Said.TRUE_POSITIVE)


def judged_undelivered(store: Store) -> None:
    """Record a suspension that nobody took, and that somebody has looked at."""
    suspend(store, DeliveryState.FAILED, DeliveryState.EXPIRED)
    judge(store, Said.FALSE_POSITIVE, scope=Scope.AGENT, ttl_s=60)


def expired(store: Store) -> None:
    """Record an alert that was false for thirty days, which are over."""
    nothing(store)
    judge(store, Said.FALSE_POSITIVE, scope=Scope.AGENT, ttl_s=30 * 86_400)


def undone(store: Store) -> None:
    """Record an alert with a verdict without an end that was taken back."""
    nothing(store)
    verdict = judge(store, Said.FALSE_POSITIVE, scope=Scope.GROUP)
    judge(store, Said.UNDO, OLD_S + 1, undoes=verdict.id)


def heard_again(store: Store) -> None:
    """Record a silence that is over."""
    over = replace(SILENCE, over=Over.BACK, ts_us=500)
    store.record_silences([SILENCE, over], lambda _: b"silence", OLD_S)


CLOSED = (
    nothing,
    observed,
    released,
    right,
    judged_undelivered,
    expired,
    undone,
    heard_again,
)


@pytest.mark.parametrize("happened", CLOSED, ids=lambda happened: happened.__name__)
def test_what_is_old_and_closed_goes_with_all_that_is_its_own(
    store: Store, happened: Callable[[Store], None]
) -> None:
    """Nothing of it is left but a line in the audit; another case of today stays whole."""
    today = make_decision(session="today")
    happened(store)
    before = held(store)
    store.record([today], TwoReceivers(), NOW_S)
    with_today = held(store)

    removed = sweep(store)
    again = sweep(store)

    assert removed == before
    assert set(again.values()) == {0}
    assert held(store) == {
        table: with_today[table] - before[table] + (table == "audit") for table in TABLES
    }
    assert [case.session for case in store.cases(9)] == ["today"]


@pytest.mark.parametrize("happened", CLOSED, ids=lambda happened: happened.__name__)
def test_what_is_closed_and_not_old_stays(store: Store, happened: Callable[[Store], None]) -> None:
    """The last change counts: what happened at the edge is not before it."""
    happened(store)
    before = held(store)

    sweep(store, Terms(before_s=OLD_S, audit_before_s=OLD_S))

    assert held(store) == before


def waiting(store: Store) -> None:
    """Record a suspension that one receiver has yet to get."""
    store.record([SUSPEND], TwoReceivers(), OLD_S)
    store.settle([Result(f"siem-{SUSPEND.case}", DeliveryState.DELIVERED, OLD_S, 200)])
    judge(store, Said.TRUE_POSITIVE)


def in_force(store: Store) -> None:
    """Record a suspension that holds."""
    suspend(store, DeliveryState.DELIVERED, DeliveryState.DELIVERED)


def wrong_and_in_force(store: Store) -> None:
    """Record a suspension that somebody said was wrong, and that nobody has taken back."""
    suspend(store, DeliveryState.DELIVERED, DeliveryState.DELIVERED)
    judge(store, Said.FALSE_POSITIVE, scope=Scope.AGENT, ttl_s=60)


def dead(store: Store) -> None:
    """Record a suspension that no receiver took, and nobody has looked at."""
    suspend(store, DeliveryState.FAILED, DeliveryState.EXPIRED)


def resuming(store: Store) -> None:
    """Record a suspension that was taken back, of which one receiver has yet to hear."""
    suspend(store, DeliveryState.DELIVERED, DeliveryState.DELIVERED)
    release(store)


def false_for_ever(store: Store) -> None:
    """Record an alert that was false, without an end."""
    nothing(store)
    judge(store, Said.FALSE_POSITIVE, scope=Scope.GROUP)


def false_for_a_year(store: Store) -> None:
    """Record an alert that is false until long after today."""
    nothing(store)
    judge(store, Said.FALSE_POSITIVE, scope=Scope.AGENT, ttl_s=365 * 86_400)


def silent(store: Store) -> None:
    """Record a silence that lasts."""
    store.record_silences([SILENCE], lambda _: b"silence", OLD_S)


OPEN = (
    waiting,
    in_force,
    wrong_and_in_force,
    dead,
    resuming,
    false_for_ever,
    false_for_a_year,
    silent,
)


@pytest.mark.parametrize("happened", OPEN, ids=lambda happened: happened.__name__)
def test_what_is_open_stays_however_old(store: Store, happened: Callable[[Store], None]) -> None:
    """Not a row of it goes, and the audit has nothing to say."""
    happened(store)
    before = held(store)

    removed = sweep(store)

    assert set(removed.values()) == {0}
    assert held(store) == before
    assert store.removals(9) == []


@pytest.mark.parametrize(
    ("terms", "stays"),
    [
        (EVER, True),
        (replace(NINETY, audit_before_s=OLD_S), True),
        (replace(NINETY, audit_before_s=OLD_S + 1), False),
    ],
    ids=["for ever", "until then", "no longer"],
)
def test_what_people_did_stays_with_its_case(store: Store, terms: Terms, *, stays: bool) -> None:
    """As long as the audit is kept, one finds what was done to what; a case without goes."""
    right(store)
    nobody = make_decision(session="nobody's", level=Level.ALERT)
    store.record([nobody], TwoReceivers(), OLD_S)

    sweep(store, terms)

    assert [case.session for case in store.cases(9)] == (["session-1"] if stays else [])


@pytest.mark.parametrize(
    ("read", "stays"),
    [
        (Terms(LATER_S, alerts=1), True),
        (Terms(LATER_S, decisions=1), True),
        (Terms(LATER_S, alerts=2, decisions=2), False),
    ],
    ids=["an alert", "a decision", "neither"],
)
def test_what_a_reader_has_yet_to_get_stays(store: Store, read: Terms, *, stays: bool) -> None:
    """A topic that was away for long gets everything when it is back."""
    sessions = ["session-1", "session-2"]
    decisions = [make_decision(session=name, level=Level.ALERT) for name in sessions]
    store.record(decisions, TwoReceivers(), OLD_S)

    sweep(store, read)

    assert [case.session for case in store.cases(9)] == (["session-2"] if stays else [])


def test_open_cases_do_not_hold_up_those_behind_them(store: Store) -> None:
    """A piece looks at so many and goes on after them, also among those of one moment."""
    stay = [make_decision(session=f"in force {n}") for n in range(LOOKED_AT_MAX + 3)]
    go = [make_decision(session=f"gone {n}", level=Level.ALERT) for n in range(LOOKED_AT_MAX + 3)]
    store.record([*stay, *go], TwoReceivers(), OLD_S)
    young = make_decision(session="young", level=Level.ALERT)
    store.record([young], TwoReceivers(), LATER_S)
    pieces, last = 0, None

    while not pieces or last is not None:
        found = store.remove_cases(NINETY, NOW_S, last)
        pieces, last = pieces + 1, found.last
        assert found.rows.get("cases", 0) <= LOOKED_AT_MAX

    assert pieces == 3
    assert store.counts(NOW_S).cases == {"suspend": len(stay), "alert": 1}


def test_an_old_suspension_is_not_asked_for_again(store: Store) -> None:
    """Who goes back to an old state decides again what is not known any more; nobody is sent it."""
    released(store)
    sweep(store)

    again = store.record([SUSPEND], TwoReceivers(), NOW_S)
    repeated = store.record([SUSPEND], TwoReceivers(), NOW_S)

    assert [(one.level, one.withheld) for one in again] == [(Level.WITHHELD, Withheld.PAST)]
    assert repeated == []
    assert store.due("siem", NOW_S, 9) == []
    assert store.counts(NOW_S).suspensions == {}


def test_what_is_later_than_all_that_was_removed_is_acted_upon(store: Store) -> None:
    """By a microsecond of event time; and what a person approves is, however old."""
    released(store)
    sweep(store)
    later = make_decision(session="later", ts_us=SUSPEND.ts_us + 1)
    as_old = make_decision(session="as old")

    recorded = store.record([later, as_old], TwoReceivers(), NOW_S)
    approved = store.approve(Act(as_old.case, NOW_S, "kim", "approve"), TwoReceivers())

    assert [one.withheld for one in recorded] == [Withheld.NOTHING, Withheld.PAST]
    assert approved is Outcome.DONE
    assert {sent.case_id for sent in store.due("siem", NOW_S, 9)} == {later.case, as_old.case}


def test_a_suspension_that_is_there_is_known_however_old(store: Store) -> None:
    """A case that stayed is not told of again as withheld, whichever policy asks once more."""
    older = make_decision(session="older", ts_us=SUSPEND.ts_us + 10, level=Level.ALERT)
    store.record([older], TwoReceivers(), OLD_S)
    in_force(store)
    sweep(store)
    other = make_decision(policy="finance")

    recorded = store.record([SUSPEND, other], TwoReceivers(), NOW_S)

    assert recorded == [other]
    assert store.counts(NOW_S).suspensions == {SuspensionState.DELIVERED: 1}


def test_silences_say_nothing_of_the_time_of_events(store: Store) -> None:
    """A source's is told by the wall clock, while its events may be a recording of last year."""
    ended = replace(SILENCE, over=Over.BACK, ts_us=SUSPEND.ts_us + 10**15)
    store.record_silences([SILENCE, ended], lambda _: b"silence", OLD_S)
    removed = sweep(store)

    assert removed["silences"] == 1
    assert store.record([SUSPEND], TwoReceivers(), NOW_S) == [SUSPEND]


def test_the_audit_says_what_was_removed(store: Store) -> None:
    """How much, by whom, when, and under which terms; the latest first, for good."""
    right(store)
    sweep(store)
    nothing(store)
    sweep(store, now_s=NOW_S + 1)

    latest, first = store.removals(9)

    assert latest == Act(
        "",
        NOW_S + 1,
        "astray",
        "remove",
        "closed and not changed since 1970-03-02T00:00:00.000Z: alerts 1, decisions 1, cases 1",
    )
    assert first.at_s == NOW_S
    assert first.note.endswith(
        ": alerts 1, deliveries 2, suspensions 1, verdicts 1, audit 1, decisions 1, cases 1"
    )
    assert store.removals(1) == [latest]


def test_old_alerts_go_in_order_as_far_as_they_were_handed_on(store: Store) -> None:
    """Also those of open cases: a person finds the same in the case."""
    many = [make_decision(session=f"s{n}") for n in range(ALERTS_MAX + 5)]
    store.record(many, TwoReceivers(), OLD_S)
    store.record([make_decision(session="young")], TwoReceivers(), LATER_S)

    counts = [
        store.remove_alerts(replace(NINETY, alerts=3)),
        store.remove_alerts(NINETY),
        store.remove_alerts(NINETY),
        store.remove_alerts(NINETY),
    ]

    assert counts == [3, ALERTS_MAX, 2, 0]
    assert [body for _, body in store.alerts_after(0, EVERYTHING)] == [b"young new"]
    assert store.counts(NOW_S).cases == {"suspend": len(many) + 1}


def test_numbers_are_never_given_twice(store: Store) -> None:
    """A reader that has come so far gets what is recorded after everything was removed."""
    nothing(store)
    sweep(store)
    store.record([make_decision(session="next")], TwoReceivers(), NOW_S)

    assert [number for number, _ in store.alerts_after(1, 9)] == [2]
    assert [number for number, _ in store.decisions_after(1, 9)] == [2]


def test_what_somebody_does_meanwhile_is_seen(store: Store) -> None:
    """A piece looks anew at what it is about to remove."""
    last: Place | None = None
    nothing(store)
    judge(store, Said.FALSE_POSITIVE, NOW_S, scope=Scope.AGENT)

    assert store.remove_cases(NINETY, NOW_S, last).rows == {}
    assert len(store.cases(9)) == 1


def bulky(session: str) -> Decision:
    """Return a decision of the size that real ones have."""
    (evidence,) = SUSPEND.evidence
    big = replace(evidence, sentence="x" * 2_000)
    return make_decision(session=session, level=Level.ALERT, evidence=(big,))


def test_a_file_does_not_grow_while_as_much_goes_as_comes(tmp_path: Path) -> None:
    """Room is used again, and given back to the system when little is left."""
    path, sizes = tmp_path / "cases.db", []
    with Store.open(f"sqlite:///{path}") as store:
        for day in range(12):
            decisions = [bulky(f"day {day}, {n}") for n in range(300)]
            store.record(decisions, TwoReceivers(), day * DAY_S)
            sweep(store, Terms(before_s=(day - 1) * DAY_S), day * DAY_S)
            sizes.append(path.stat().st_size)
        sweep(store, Terms(before_s=99 * DAY_S), NOW_S)
        calls = 1
        while store.give_back():
            calls += 1
    left = path.stat().st_size

    assert max(sizes[4:]) < 1.2 * sizes[3]
    assert sizes[3] > 1_500_000
    assert left < sizes[3] / 8
    assert calls > 1


def test_a_file_that_was_created_before_keeps_its_room_and_uses_it_again(tmp_path: Path) -> None:
    """It is not written anew behind anybody's back."""
    path = tmp_path / "cases.db"
    script = (Path(__file__).parent / "data" / "version-1.sql").read_text()
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()

    with Store.open(f"sqlite:///{path}") as store:
        assert store.give_back() is False
        assert len(store.cases(9)) == 3


def test_the_audit_of_before_is_kept_by_the_migration(tmp_path: Path) -> None:
    """Its table is made anew, as SQLite cannot change a column."""
    path = tmp_path / "cases.db"
    with Store.open(f"sqlite:///{path}") as store:
        right(store)
    connection = sqlite3.connect(path)
    connection.executescript(
        "DROP INDEX alerts_of_case; DROP INDEX suspensions_of_decision; DROP TABLE reviews;"
        "UPDATE meta SET value = '4' WHERE key = 'schema_version'"
    )
    connection.close()

    with Store.open(f"sqlite:///{path}") as store:
        found = store.case(SUSPEND.case)

        assert found is not None
        assert [(act.who, act.did) for act in found.acts] == [("kim", "true_positive")]
        assert sweep(store)["audit"] == 1
