"""Silences in the case store: each once, beside the cases of sessions and not among them."""

from dataclasses import replace

from astray.decide.silence import Kind, Over, Silence
from astray.store import Store
from astray.testing import make_decision
from outboxes import TwoReceivers

AGENT = Silence("case_1", Kind.AGENT, "acme", "billing-bot", last_us=100, ts_us=400)
SOURCE = Silence("case_2", Kind.SOURCE, "", "kafka:actions", last_us=200, ts_us=500)


def over(silence: Silence, how: Over = Over.BACK) -> Silence:
    """Return the end of a silence."""
    return replace(silence, over=how, ts_us=silence.ts_us + 100)


def written(silence: Silence) -> bytes:
    """Write an alert."""
    return f"{silence.name} {silence.over}".encode()


def record(store: Store, *silences: Silence) -> list[Silence]:
    """Record silences; return what was new."""
    return store.record_silences(silences, written, 50.0)


def alerts(store: Store) -> list[bytes]:
    """Return all alerts."""
    return [body for _, body in store.alerts_after(0, 100)]


def test_a_silence_is_a_case_with_an_alert(store: Store) -> None:
    """It asks for no suspension, and is of no session."""
    assert record(store, AGENT, SOURCE) == [AGENT, SOURCE]

    cases = {case.case_id: case for case in store.cases(10)}
    assert alerts(store) == [b"billing-bot ", b"kafka:actions "]
    assert cases["case_1"].silence == "agent"
    assert (cases["case_1"].agent, cases["case_2"].agent) == ("billing-bot", "")
    assert {(case.session, case.suspension, case.alerts) for case in cases.values()} == {
        ("", None, 1)
    }


def test_recording_it_again_changes_nothing(store: Store) -> None:
    """A crash has the engine repeat what it did, in the same call or later."""
    record(store, AGENT, AGENT)

    assert record(store, AGENT) == []
    assert record(store, over(AGENT), over(AGENT)) == [over(AGENT)]
    assert record(store, AGENT, over(AGENT), over(AGENT, Over.FORGOTTEN)) == []
    assert alerts(store) == [b"billing-bot ", b"billing-bot back"]


def test_it_may_begin_and_end_in_one_call(store: Store) -> None:
    """A replay is quick."""
    assert record(store, AGENT, over(AGENT)) == [AGENT, over(AGENT)]

    assert store.counts(50.0).silences == {}
    (case,) = store.cases(10)
    assert (case.alerts, case.first_event_us, case.last_event_us) == (2, 100, 500)


def test_the_end_of_what_nobody_knows_is_no_news(store: Store) -> None:
    """A store that was lost is not told of what it had."""
    assert record(store, over(AGENT)) == []
    assert alerts(store) == []


def test_those_that_last_are_counted_by_kind(store: Store) -> None:
    """The cases of sessions are counted apart from them."""
    record(store, AGENT, SOURCE, replace(SOURCE, case="case_3", name="other"))
    record(store, over(SOURCE))
    store.record([make_decision()], TwoReceivers(), 50.0)

    counts = store.counts(60.0)

    assert counts.silences == {"agent": 1, "source": 1}
    assert counts.cases == {"suspend": 1}
    assert [case.silence for case in store.cases(10, agent="billing-bot")].count(None) == 1


def test_those_that_last_can_be_taken_over(store: Store) -> None:
    """A run that begins finds what an earlier one has left open."""
    record(store, AGENT, SOURCE, replace(SOURCE, case="case_3", name="other"))
    record(store, over(SOURCE))

    (left,) = store.lasting_silences(Kind.SOURCE)

    assert (left.case, left.name, left.last_us) == ("case_3", "other", 200)
    assert record(store, over(left)) == [over(left)]


def test_one_case_can_be_opened(store: Store) -> None:
    """It has no decisions and no deliveries."""
    record(store, AGENT)

    file = store.case("case_1")

    assert file is not None
    assert (file.case.silence, file.decisions, file.deliveries) == ("agent", (), ())


def test_more_silences_than_fit_into_a_query(store: Store) -> None:
    """All of them are recorded, and known again."""
    many = [replace(AGENT, case=f"case_{n}", name=f"agent-{n}") for n in range(1200)]

    assert len(record(store, *many)) == 1200
    assert record(store, *many) == []
