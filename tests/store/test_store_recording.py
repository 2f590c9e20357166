"""Recording decisions: each once, cases only rise, one suspension and two alerts at most."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astray.decide.decision import Decision, Level, Mode, Withheld
from astray.store import Case, Store, SuspensionState
from astray.store.recording import ALERTS_MAX, KEYS_MAX
from astray.testing import make_decision
from outboxes import TwoReceivers

WITHHELD = make_decision(level=Level.WITHHELD, withheld=Withheld.OBSERVE, mode=Mode.OBSERVE)


def alerts(store: Store) -> list[str]:
    """Return the alerts recorded so far."""
    return [body.decode() for _, body in store.alerts_after(0, 1000)]


def test_a_decision_is_recorded_once(store: Store) -> None:
    """After a crash the same decisions come again, and nothing follows from them."""
    decision = make_decision()

    first = store.record([decision, decision], TwoReceivers(), 10.0)
    again = store.record([decision], TwoReceivers(), 20.0)

    assert (first, again) == ([decision], [])
    assert store.counts(20.0).deliveries == {"pending": 2}
    assert alerts(store) == ["session-1 new"]


def test_a_case_keeps_the_whole_decision(store: Store) -> None:
    """An auditor finds everything that was decided, as it was decided."""
    decision = make_decision()

    store.record([decision], TwoReceivers(), 10.0)
    found = store.case(decision.case)

    assert found is not None
    assert found.decisions == (orjson.loads(orjson.dumps(decision.as_dict())),)
    assert found.case.suspension is SuspensionState.REQUESTED
    assert {sent.webhook_id for sent in found.deliveries} == {
        f"siem-{decision.case}",
        f"gateway-{decision.case}",
    }


def test_a_case_rises_with_its_decisions(store: Store) -> None:
    """Score, n and level of a case are the worst of its decisions."""
    alert = make_decision(level=Level.ALERT, score=61.0, n=1_122.0, ts_us=1_000)
    worse = make_decision(score=84.0, n=15_849.0, ts_us=2_000)
    late = make_decision(level=Level.ALERT, policy="finance", score=45.0, n=178.0, ts_us=3_000)

    for at_s, decision in enumerate((alert, worse, late)):
        store.record([decision], TwoReceivers(), float(at_s))
    [case] = store.cases(10)

    assert (case.level, case.score, case.n) == (Level.SUSPEND, 84.0, 15_849.0)
    assert (case.first_event_us, case.last_event_us) == (1_000, 3_000)
    assert (case.opened_s, case.updated_s) == (0.0, 2.0)
    assert alerts(store) == ["session-1 new", "session-1 worse"]


def test_a_case_has_one_suspension_though_two_policies_ask(store: Store) -> None:
    """A session is suspended once: each receiver gets one request."""
    both = [make_decision(policy="default"), make_decision(policy="finance")]

    recorded = store.record(both, TwoReceivers(), 1.0)

    assert recorded == both
    assert store.counts(1.0).suspensions == {"requested": 1}
    assert store.counts(1.0).deliveries == {"pending": 2}
    assert alerts(store) == ["session-1 new"]


def test_a_suspension_that_is_withheld_is_not_requested(store: Store) -> None:
    """The case says that the limit was reached; nobody is asked to act."""
    store.record([WITHHELD], TwoReceivers(), 1.0)

    assert store.counts(1.0).cases == {"withheld": 1}
    assert store.counts(1.0).suspensions == {}


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        (["alert"], ["new"]),
        (["suspend"], ["new"]),
        (["alert", "suspend"], ["new", "worse"]),
        (["withheld", "suspend"], ["new", "worse"]),
        (["suspend", "withheld", "alert"], ["new"]),
        (["alert", "withheld", "suspend"], ["new", "worse"]),
    ],
)
def test_a_case_is_told_of_when_it_opens_and_when_it_first_becomes_worse(
    store: Store, levels: list[str], said: list[str]
) -> None:
    """An analyst gets two alerts of an episode at most, whatever becomes of it."""
    for level in levels:
        store.record([make_decision(level=Level(level))], TwoReceivers(), 1.0)

    assert alerts(store) == [f"session-1 {word}" for word in said]


def test_a_suspension_once_withheld_is_requested_when_nothing_withholds_it(store: Store) -> None:
    """The case rises and the receivers are asked."""
    store.record([WITHHELD], TwoReceivers(), 1.0)
    store.record([make_decision()], TwoReceivers(), 2.0)

    assert store.counts(2.0).cases == {"suspend": 1}
    assert store.counts(2.0).suspensions == {"requested": 1}


def test_alerts_are_numbered_in_order_and_read_in_pieces(store: Store) -> None:
    """Who remembers the last number gets what came after it."""
    for number in range(5):
        store.record([make_decision(session=f"session-{number}")], TwoReceivers(), float(number))

    first = store.alerts_after(0, 3)
    rest = store.alerts_after(first[-1][0], 3)
    numbers = [number for number, _ in first + rest]

    assert [body.decode() for _, body in first + rest] == [f"session-{n} new" for n in range(5)]
    assert all(earlier < later for earlier, later in pairwise(numbers))


def test_decisions_are_read_in_the_order_of_their_recording(store: Store) -> None:
    """Also those of one batch; each has a number, and is read whole, in pieces of any size."""
    first = [make_decision(session=f"session-{number}") for number in (3, 1, 2)]
    second = [make_decision(session="session-0"), first[0]]
    for batch in (first, second):
        store.record(batch, TwoReceivers(), 1.0)

    some = store.decisions_after(0, 2)
    rest = store.decisions_after(some[-1][0], 9)

    assert [number for number, _ in some + rest] == [1, 2, 3, 4]
    assert [body for _, body in some + rest] == [
        orjson.dumps(decision) for decision in (*first, second[0])
    ]
    assert [body.decode() for _, body in store.alerts_after(0, 9)] == [
        f"session-{number} new" for number in (3, 1, 2, 0)
    ]


def test_a_failure_in_the_middle_leaves_nothing(store: Store) -> None:
    """Either a batch is recorded with all that follows from it, or none of it is."""
    outbox = TwoReceivers()
    store.record([make_decision(session="session-0")], outbox, 1.0)

    def breaks(*_: object, **__: object) -> bytes:
        raise ZeroDivisionError

    broken = type("Broken", (TwoReceivers,), {"alert": breaks})()
    with pytest.raises(ZeroDivisionError):
        store.record([make_decision()], broken, 2.0)

    assert store.counts(2.0).cases == {"suspend": 1}
    assert store.record([make_decision()], outbox, 3.0) == [make_decision()]


def test_a_large_batch_is_one_transaction(store: Store) -> None:
    """More decisions than a query takes keys are recorded all the same."""
    many = [make_decision(session=f"session-{number}") for number in range(KEYS_MAX + 1)]

    assert store.record(many, TwoReceivers(), 1.0) == many
    assert store.record(many, TwoReceivers(), 2.0) == []


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///{folder}/cases.db"])
def test_threads_take_turns(tmp_path: Path, url: str) -> None:
    """Several may record and read at once, in memory as well, where they share a connection."""
    with Store.open(url.format(folder=tmp_path)) as store, ThreadPoolExecutor(4) as pool:

        def record(number: int) -> int:
            decision = make_decision(session=f"session-{number}")
            return len(store.record([decision], TwoReceivers(), 1.0)) + len(store.cases(1))

        assert list(pool.map(record, range(60))) == [2] * 60
        assert store.counts(1.0).deliveries == {"pending": 120}


def test_an_infinite_n_is_kept(store: Store) -> None:
    """A number that JSON cannot write does no harm."""
    store.record([make_decision(n=float("inf"))], TwoReceivers(), 1.0)

    assert store.cases(1)[0].n == float("inf")


DECISIONS = st.builds(
    make_decision,
    session=st.sampled_from(["session-1", "session-2"]),
    policy=st.sampled_from(["default", "finance"]),
    level=st.sampled_from(Level),
)


def one_of_each_id(decisions: Sequence[Decision]) -> list[Decision]:
    """Return decisions that differ by id, with contents that follow from the id."""
    distinct = {decision.id: decision for decision in decisions}
    return [
        replace(decision, score=float(place), n=10.0 * place, ts_us=1_000 * place)
        for place, decision in enumerate(sorted(distinct.values(), key=lambda item: item.id))
    ]


def outcome(
    batches: Sequence[Sequence[Decision]],
) -> tuple[dict[str, tuple[Case, list[str], list[str]]], list[str]]:
    """Return what a store holds after batches of decisions, and its alerts."""
    with Store.open("sqlite://") as store:
        for batch in batches:
            store.record(batch, TwoReceivers(), 1.0)
        files = [store.case(case.case_id) for case in store.cases(100)]
        held = {
            file.case.case_id: (
                replace(file.case, alerts=0),
                sorted(decision["id"] for decision in file.decisions),
                sorted(sent.webhook_id for sent in file.deliveries),
            )
            for file in files
            if file is not None
        }
        return held, alerts(store)


@settings(max_examples=40)  # each makes two databases
@given(data=st.data())
def test_neither_repetition_nor_order_nor_batches_change_what_is_held(data: st.DataObject) -> None:
    """However decisions come, the cases, suspensions and deliveries are the same."""
    decisions = one_of_each_id(data.draw(st.lists(DECISIONS, min_size=1, max_size=8)))
    repeated = data.draw(st.lists(st.sampled_from(decisions), max_size=8))
    order = data.draw(st.permutations([*decisions, *repeated]))
    cut = data.draw(st.integers(0, len(order)))

    once, _ = outcome([decisions])
    anyhow, said = outcome([order[:cut], order[cut:], order])

    assert anyhow == once
    for session in {decision.session for decision in decisions}:
        assert 1 <= sum(text.startswith(f"{session} ") for text in said) <= ALERTS_MAX


def test_a_mark_is_remembered_per_reader_also_by_another_process(tmp_path: Path) -> None:
    """What one reader of alerts has taken says nothing about another, and outlives the store."""
    url = f"sqlite:///{tmp_path / 'cases.db'}"
    with Store.open(url) as store:
        store.set_mark("alerts:a", 3)
        store.set_mark("alerts:a", 7)
        store.set_mark("alerts:b", 2)
    with Store.open(url) as store:
        marks = [store.mark(name) for name in ("alerts:a", "alerts:b", "alerts:c")]

    assert marks == [7, 2, 0]
