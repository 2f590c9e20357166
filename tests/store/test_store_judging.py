"""What people say of cases and do to them: once, in order, and written down for good."""

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

import orjson
import pytest
from sqlalchemy import text

from astray.decide.decision import Decision, Level, Mode, Withheld
from astray.decide.silence import Kind, Silence
from astray.decide.verdict import Said, Scope, Verdict, parse_verdict
from astray.errors import StoreError
from astray.store import Act, CaseFile, Outcome, Outgoing, Result, Store, SuspensionState, in_force
from astray.store.judging import IN_FLIGHT_S
from astray.store.schema import DeliveryState
from astray.testing import make_decision
from databases import asked
from outboxes import TwoReceivers

NOTHING = "case_0000000000000000"
ALERT = make_decision(level=Level.ALERT, mode=Mode.OBSERVE, score=61.0, limit=60.0)


class Resuming(TwoReceivers):
    """An outbox that can take back as well."""

    def resumptions(self, decision: Decision, who: str, note: str, now_s: float) -> list[Outgoing]:
        """Return one webhook per endpoint, and one for an endpoint that was never asked."""
        return [
            Outgoing(f"{name}-{decision.case}-resume", name, f"{who}: {note}".encode(), now_s + 60)
            for name in ("siem", "gateway", "new")
        ]


def given(decision: Decision, **changes: object) -> Verdict:
    """Return a verdict about a decision's case, with changes."""
    verdict = Verdict(decision.case, Said.FALSE_POSITIVE, "kim", 5, "a job", Scope.AGENT, 60)
    return replace(verdict, **changes)  # type: ignore[arg-type]


def undoing(verdict: Verdict, ts_us: int = 9) -> Verdict:
    """Return what takes a verdict back."""
    return Verdict(verdict.case, Said.UNDO, "lee", ts_us, undoes=verdict.id)


def opened(store: Store, case_id: str) -> CaseFile:
    """Return all about a case that is there."""
    found = store.case(case_id)
    assert found is not None
    return found


def settled(store: Store, webhook_id: str, at_s: float, state: DeliveryState) -> None:
    """Let a delivery come to its end."""
    store.settle([Result(webhook_id, state, at_s, 200)])


def test_a_verdict_is_kept_with_what_its_reader_has_to_know(store: Store) -> None:
    """Whoever acts on it needs no case store: agent, group, session and times are in it."""
    decision = make_decision(tenant="north", ts_us=1_795_312_800_000_000)
    store.record([decision], TwoReceivers(), 1.0)
    verdict = given(decision)

    assert store.judge(verdict, 2.0) is Outcome.DONE

    ((number, body),) = store.verdicts_after(0, 10)
    told = orjson.loads(body)
    assert (number, parse_verdict(body)) == (1, verdict)
    about = ("tenant", "agent", "group", "session", "first_event", "last_event")
    assert [told[name] for name in about] == [
        "north", "billing-bot", "finance", "session-1",
        "2026-11-22T02:00:00.000000Z", "2026-11-22T02:00:00.000000Z",
    ]  # fmt: skip
    assert opened(store, decision.case).verdicts == (told,)


def test_verdicts_are_read_in_the_order_in_which_they_came(store: Store) -> None:
    """Numbered without a gap; a reader goes on after the last it has, as far as it wants."""
    decisions = [make_decision(session=f"s{at}") for at in range(5)]
    store.record(decisions, TwoReceivers(), 1.0)
    verdicts = [given(decision) for decision in reversed(decisions)]
    for verdict in verdicts:
        store.judge(verdict, 2.0)

    first, rest = store.verdicts_after(0, 2), store.verdicts_after(2, 10)

    assert [number for number, _ in (*first, *rest)] == [1, 2, 3, 4, 5]
    assert [parse_verdict(body) for _, body in (*first, *rest)] == verdicts
    assert store.verdicts_after(5, 10) == []


def test_a_verdict_counts_once(store: Store) -> None:
    """Imported twice, or after a connection that broke, it is the same verdict."""
    decision = make_decision()
    store.record([decision], TwoReceivers(), 1.0)

    outcomes = [store.judge(given(decision), at_s) for at_s in (2.0, 3.0)]

    assert outcomes == [Outcome.DONE, Outcome.KNOWN]
    assert len(store.verdicts_after(0, 10)) == len(opened(store, decision.case).acts) == 1


def test_a_case_has_one_verdict_in_force(store: Store) -> None:
    """Another one needs the first to be taken back, and it can be taken back once."""
    decision = make_decision()
    store.record([decision], TwoReceivers(), 1.0)
    first, second = given(decision), given(decision, said=Said.TRUE_POSITIVE, ts_us=7)
    steps = [first, second, undoing(first), undoing(first, 10), second, undoing(first, 11)]

    outcomes = [store.judge(step, 2.0) for step in steps]

    assert outcomes == [
        Outcome.DONE, Outcome.IN_FORCE, Outcome.DONE,
        Outcome.NOT_IN_FORCE, Outcome.DONE, Outcome.NOT_IN_FORCE,
    ]  # fmt: skip
    assert in_force(list(opened(store, decision.case).verdicts)) == second.id


def test_there_is_nothing_to_take_back_where_nothing_was_said(store: Store) -> None:
    """An undoing without a verdict is refused, whatever it says it undoes."""
    decision = make_decision()
    store.record([decision], TwoReceivers(), 1.0)
    never = given(decision)

    for undo in (undoing(never), replace(undoing(never), undoes="")):
        assert store.judge(undo, 2.0) is Outcome.NOT_IN_FORCE


def test_nothing_is_done_to_what_is_no_case_of_a_session(store: Store) -> None:
    """A case that is not there, or that is of something that fell silent."""
    silence = Silence("case_00000000000000aa", Kind.SOURCE, "", "feed", 1, 2)
    store.record_silences([silence], lambda _: b"silent", 1.0)

    for case_id, outcome in ((NOTHING, Outcome.NO_CASE), (silence.case, Outcome.NO_SESSION)):
        act = Act(case_id, 2.0, "kim", "x")
        assert store.judge(given(make_decision(), case=case_id), 2.0) is outcome
        assert store.approve(act, TwoReceivers()) is outcome
        assert store.release(act, Resuming()) is outcome
    assert store.verdicts_after(0, 10) == []


def test_every_act_is_written_down(store: Store) -> None:
    """Who did what, when and why, with what came of it; a refusal leaves no line."""
    store.record([ALERT], TwoReceivers(), 1.0)
    verdict = given(ALERT)

    store.approve(Act(ALERT.case, 2.0, "kim", "approve", "looks bad"), TwoReceivers())
    store.approve(Act(ALERT.case, 3.0, "lee", "approve"), TwoReceivers())
    store.release(Act(ALERT.case, 4.0, "kim", "release", "was fine"), Resuming())
    store.judge(verdict, 5.0)

    suspending = make_decision(level=Level.SUSPEND).id
    assert opened(store, ALERT.case).acts == (
        Act(ALERT.case, 2.0, "kim", "approve", "looks bad", suspending),
        Act(ALERT.case, 4.0, "kim", "release", "was fine", suspending),
        Act(ALERT.case, 5.0, "kim", "false_positive", "a job", verdict.id),
    )
    assert opened(store, ALERT.case).case.updated_s == 5.0


def test_an_approval_suspends_as_the_decision_would_have(store: Store) -> None:
    """The last decision, now suspending, under the id that astray itself would have given it."""
    withheld = make_decision(level=Level.WITHHELD, withheld=Withheld.OBSERVE, mode=Mode.OBSERVE)
    store.record([ALERT], TwoReceivers(), 1.0)
    store.record([withheld], TwoReceivers(), 2.0)

    outcome = store.approve(Act(ALERT.case, 3.0, "kim", "approve"), TwoReceivers())

    found = opened(store, ALERT.case)
    assert outcome is Outcome.DONE
    assert (found.case.level, found.case.suspension) == ("suspend", SuspensionState.REQUESTED)
    assert Decision.of(found.decisions[-1]) == make_decision()
    assert {sent.endpoint for sent in found.deliveries} == {"siem", "gateway"}
    assert len(store.due("siem", 3.0, 10)) == 1
    assert store.record([make_decision()], TwoReceivers(), 4.0) == []


def test_a_suspension_is_asked_for_once(store: Store) -> None:
    """By astray or by a person, and not again after a release."""
    decision = make_decision()
    store.record([decision], TwoReceivers(), 1.0)
    act = Act(decision.case, 2.0, "kim", "approve")

    before = store.approve(act, TwoReceivers())
    store.release(replace(act, did="release"), Resuming())
    after = store.approve(replace(act, at_s=3.0), TwoReceivers())
    store.record([make_decision(policy="strict")], TwoReceivers(), 4.0)

    assert (before, after) == (Outcome.SUSPENDED, Outcome.SUSPENDED)
    assert opened(store, decision.case).case.suspension is SuspensionState.RELEASED
    assert len(opened(store, decision.case).deliveries) == 4


def test_a_release_tells_those_who_were_asked(store: Store) -> None:
    """What was delivered is taken back at once; an endpoint that was never asked hears nothing."""
    decision = make_decision()
    store.record([decision], TwoReceivers(), 1.0)
    for name in ("siem", "gateway"):
        settled(store, f"{name}-{decision.case}", 2.0, DeliveryState.DELIVERED)

    outcome = store.release(Act(decision.case, 3.0, "kim", "release", "fine"), Resuming())

    assert outcome is Outcome.DONE
    (due,) = store.due("gateway", 3.0, 10)
    assert (due.webhook_id, due.body) == (f"gateway-{decision.case}-resume", b"kim: fine")
    assert len(store.due("siem", 3.0, 10)) == 1
    assert store.due("new", 3.0, 10) == []
    assert opened(store, decision.case).case.suspension is SuspensionState.RELEASED


def test_a_release_withdraws_what_is_still_on_its_way_and_does_not_overtake_it(
    store: Store,
) -> None:
    """A suspension is tried no more; one that is in the air just now arrives before its end."""
    decision = make_decision()
    store.record([decision], TwoReceivers(), 1.0)
    asked_for = f"siem-{decision.case}"

    store.release(Act(decision.case, 3.0, "kim", "release"), Resuming())
    soon = store.due("siem", 3.0 + IN_FLIGHT_S - 0.1, 10)
    later = store.due("siem", 3.0 + IN_FLIGHT_S, 10)
    settled(store, asked_for, 4.0, DeliveryState.DELIVERED)

    assert soon == []
    assert [delivery.webhook_id for delivery in later] == [f"{asked_for}-resume"]
    states = {one.webhook_id: one.state for one in opened(store, decision.case).deliveries}
    assert states[asked_for] is DeliveryState.DELIVERED  # it had arrived, and people are told so
    assert states[f"gateway-{decision.case}"] is DeliveryState.EXPIRED
    assert opened(store, decision.case).case.suspension is SuspensionState.RELEASED


def test_a_delivered_release_stays_a_release(store: Store) -> None:
    """The end of its webhooks is no end of a suspension."""
    decision = make_decision()
    store.record([decision], TwoReceivers(), 1.0)
    store.release(Act(decision.case, 3.0, "kim", "release"), Resuming())

    settled(store, f"siem-{decision.case}-resume", 30.0, DeliveryState.DELIVERED)
    settled(store, f"gateway-{decision.case}-resume", 30.0, DeliveryState.FAILED)

    assert opened(store, decision.case).case.suspension is SuspensionState.RELEASED
    assert store.counts(31.0).suspensions == {"released": 1}


def test_what_was_not_suspended_is_not_released(store: Store) -> None:
    """Nor is what has been released already."""
    suspended = make_decision(session="other")
    store.record([ALERT, suspended], TwoReceivers(), 1.0)

    never = store.release(Act(ALERT.case, 2.0, "kim", "release"), Resuming())
    store.release(Act(suspended.case, 2.0, "kim", "release"), Resuming())
    again = store.release(Act(suspended.case, 3.0, "kim", "release"), Resuming())

    assert (never, again) == (Outcome.NOT_SUSPENDED, Outcome.RELEASED)


def test_what_is_repeated_after_its_commit_has_been_done(store: Store) -> None:
    """A connection may break in that very moment: the second time nothing more happens."""
    store.record([ALERT], TwoReceivers(), 1.0)
    approving = Act(ALERT.case, 2.0, "kim", "approve")
    releasing = Act(ALERT.case, 3.0, "kim", "release")

    approved = [store.approve(approving, TwoReceivers()) for _ in range(2)]
    released = [store.release(releasing, Resuming()) for _ in range(2)]

    assert approved == released == [Outcome.DONE, Outcome.DONE]
    assert [act.did for act in opened(store, ALERT.case).acts] == ["approve", "release"]


def test_many_hands_leave_one_verdict_in_force(store: Store) -> None:
    """Threads that judge one case at a time see each other's verdicts."""
    decision = make_decision()
    store.record([decision], TwoReceivers(), 1.0)
    numbers = count(1)

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(
            pool.map(lambda _: store.judge(given(decision, ts_us=next(numbers)), 2.0), range(16))
        )

    assert sorted(outcomes) == [Outcome.DONE] + [Outcome.IN_FORCE] * 15
    assert len(store.verdicts_after(0, 100)) == 1


JUDGE = textwrap.dedent("""
    import sys
    from astray.decide.verdict import Said, Verdict
    from astray.store import Store

    with Store.open(sys.argv[1], beside=True) as store:
        print(store.judge(Verdict(sys.argv[2], Said.TRUE_POSITIVE, "kim", 5), 2.0))
""")


def test_people_act_while_astray_runs(address: str) -> None:
    """Another process writes beside the one that has the store, and both go on."""
    decision = make_decision()
    with Store.open(address) as store:
        store.record([decision], TwoReceivers(), 1.0)

        result = subprocess.run(
            [sys.executable, "-c", JUDGE, address, decision.case],
            capture_output=True, check=False, timeout=60.0,
        )  # fmt: skip
        store.record([make_decision(session="later")], TwoReceivers(), 3.0)

        assert (result.stdout, result.stderr) == (b"done\n", b"")
        assert len(store.verdicts_after(0, 10)) == 1
        assert store.counts(3.0).cases == {"suspend": 2}


def test_who_acts_beside_creates_and_migrates_nothing(address: str, tmp_path) -> None:
    """What is not there, or of an older version, is for the one that runs."""
    with pytest.raises(StoreError, match="there is no case store"):
        Store.open(f"sqlite:///{tmp_path}/none.db", beside=True)
    assert not (tmp_path / "none.db").exists()
    with Store.open(address) as store:
        store._database.write(
            lambda connection: connection.execute(
                text("UPDATE meta SET value = '3' WHERE key = 'schema_version'")
            )
        )

    with pytest.raises(StoreError, match="migrates it when it opens it for writing"):
        Store.open(address, beside=True)


def test_a_store_on_postgresql_gets_the_tables_of_verdicts_when_it_is_migrated(
    postgres: str,
) -> None:
    """They are those of a new store, and the first verdict is number 1."""
    query = (
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
        "WHERE table_schema = current_schema() ORDER BY 1, 2"
    )
    Store.open(postgres).close()
    new = asked(postgres, query)
    for statement in (
        "DROP TABLE verdicts, audit, reviews",
        "DROP INDEX alerts_of_case, suspensions_of_decision",
        "DELETE FROM numbers WHERE name IN ('verdicts', 'audit')",
        "UPDATE meta SET value = '3' WHERE key = 'schema_version'",
    ):
        asked(postgres, statement)

    with Store.open(postgres) as store:
        store.record([make_decision()], TwoReceivers(), 1.0)
        store.judge(given(make_decision()), 2.0)

        assert asked(postgres, query) == new
        assert [number for number, _ in store.verdicts_after(0, 10)] == [1]
