"""The thread that hosts the dispatcher: prompt, persistent, and it ends when it is told to."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from astray.decide.decision import Decision
from astray.errors import StoreError
from astray.respond import (
    Dispatcher,
    DispatcherThread,
    Endpoint,
    HttpTransport,
    RetryPolicy,
    Transport,
    WebhookOutbox,
)
from astray.store import Store
from astray.testing import (
    Answer,
    Posted,
    Receiver,
    Reply,
    ScriptedTransport,
    make_decision,
    make_secret,
)

SECRET = make_secret()
SIEM = Endpoint("siem", "https://siem.example.com/hook", (SECRET,))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return where the store is."""
    return tmp_path / "cases.db"


@pytest.fixture
def store(database: Path) -> Iterator[Store]:
    """Return an empty store on disk."""
    with Store.open(f"sqlite:///{database}") as store:
        yield store


def hosted(store: Store, transport: Transport, *endpoints: Endpoint) -> DispatcherThread:
    """Return the thread that delivers what the store has, not started."""
    policy = RetryPolicy()
    return DispatcherThread(Dispatcher(store, endpoints, transport, policy, report=_no_report))


def suspend(store: Store, sessions: list[str], *endpoints: Endpoint) -> None:
    """Record the suspension of sessions."""
    decisions = [make_decision(session=session) for session in sessions]
    store.record(decisions, WebhookOutbox(endpoints, _no_alert), time.time())


def becomes_true(condition: object, timeout_s: float = 10.0) -> bool:
    """Wait until a function returns true; return whether it did."""
    assert callable(condition)
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        if condition():
            return True
        time.sleep(0.005)
    return False


def _no_alert(decision: Decision, *, update: bool) -> bytes:
    return b""


def _no_report(webhook_id: str, body: bytes, why: str) -> None:
    return None


def test_a_woken_thread_delivers_at_once(store: Store) -> None:
    """The receiver has it long before the thread would have looked by itself."""
    with Receiver([SECRET]) as receiver, HttpTransport() as transport:
        endpoint = Endpoint("siem", receiver.url, (SECRET,))
        thread = hosted(store, transport, endpoint)
        thread.start()
        time.sleep(0.05)
        suspend(store, ["session-1"], endpoint)
        thread.wake()

        assert receiver.wait_for(1, timeout_s=2.0)
        assert thread.stop(5.0)

    assert store.counts(0.0).deliveries == {"delivered": 1}
    assert not thread.is_healthy
    assert thread.last_error is None


def test_a_receiver_that_comes_back_gets_everything_once(store: Store) -> None:
    """A hundred suspensions come up while its port is closed; none is lost, none doubled."""
    with Receiver([SECRET]) as receiver, HttpTransport() as transport:
        endpoint = Endpoint("siem", receiver.url, (SECRET,))
        thread = hosted(store, transport, endpoint)
        receiver.down()
        thread.start()
        for number in range(100):
            suspend(store, [f"session-{number}"], endpoint)
            thread.wake()
            time.sleep(0.01)
        while_down = len(receiver.attempts)
        receiver.up()

        assert receiver.wait_for(100, timeout_s=8.0)
        assert thread.stop(5.0)

    assert while_down == 0
    assert len(receiver.deliveries) == 100
    assert {kept.repeats for kept in receiver.deliveries.values()} == {0}
    assert store.counts(0.0).deliveries == {"delivered": 100}


def test_a_slow_receiver_holds_up_no_other(store: Store) -> None:
    """Each endpoint has attempts of its own."""
    with (
        Receiver([SECRET], lambda *_: Answer(delay_s=3.0)) as slow,
        Receiver([SECRET]) as quick,
        HttpTransport() as transport,
    ):
        endpoints = [
            Endpoint("slow", slow.url, (SECRET,)),
            Endpoint("quick", quick.url, (SECRET,)),
        ]
        thread = hosted(store, transport, *endpoints)
        thread.start()
        for number in range(12):
            suspend(store, [f"session-{number}"], *endpoints)
            thread.wake()
            time.sleep(0.01)

        assert quick.wait_for(12, timeout_s=2.0)
        assert len(slow.deliveries) == 0
        assert not thread.stop(0.0)


def test_one_thread_records_while_another_delivers_and_a_third_reads(
    store: Store, database: Path
) -> None:
    """None of them sees an error, and each suspension is delivered once."""
    transport = ScriptedTransport()
    thread = hosted(store, transport, SIEM)
    thread.start()
    seen: list[int] = []

    def read() -> None:
        with Store.open(f"sqlite:///{database}", read_only=True) as reader:
            while not seen or seen[-1] < 200:
                counts = reader.counts(0.0)
                assert counts.suspensions.get("delivered", 0) == counts.deliveries.get(
                    "delivered", 0
                )
                seen.append(counts.deliveries.get("delivered", 0))

    reading = threading.Thread(target=read)
    reading.start()
    for batch in range(50):
        suspend(store, [f"session-{batch}-{number}" for number in range(4)], SIEM)
        thread.wake()

    assert thread.stop(10.0)
    reading.join(10.0)
    assert seen[-1] == 200
    assert len({post.webhook_id for post in transport.posts}) == len(transport.posts) == 200
    assert thread.last_error is None


def test_stopping_delivers_what_is_due(store: Store) -> None:
    """What was recorded just before the end is sent before the end."""
    transport = ScriptedTransport()
    thread = hosted(store, transport, SIEM)
    thread.start()
    suspend(store, [f"session-{number}" for number in range(30)], SIEM)

    assert thread.stop(10.0)
    assert len(transport.posts) == 30
    assert store.counts(0.0).outbox == 0


def test_stopping_waits_for_no_receiver_that_is_down(store: Store) -> None:
    """The store keeps it for the next start."""
    thread = hosted(store, ScriptedTransport(lambda _: 503), SIEM)
    thread.start()
    suspend(store, ["session-1"], SIEM)
    thread.wake()
    began_s = time.monotonic()

    thread.stop(10.0)

    assert time.monotonic() - began_s < 2.0
    assert store.counts(0.0).outbox == 1


def test_stopping_is_bounded_when_a_receiver_hangs(store: Store) -> None:
    """The attempt that hangs is left to itself, and repeated after the next start."""
    release = threading.Event()

    def hang(_: Posted) -> Reply:
        release.wait(10.0)
        return 200

    thread = hosted(store, ScriptedTransport(hang), SIEM)
    thread.start()
    suspend(store, ["session-1"], SIEM)
    thread.wake()
    began_s = time.monotonic()

    flushed = thread.stop(0.2)
    lasted_s = time.monotonic() - began_s
    release.set()

    assert not flushed
    assert 0.2 <= lasted_s < 1.5
    assert store.counts(0.0).outbox == 1


def test_a_failing_store_is_tried_again(
    store: Store, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The host can ask what is wrong; once the store is well, everything goes on."""
    transport = ScriptedTransport()
    thread = hosted(store, transport, SIEM)
    suspend(store, ["session-1"], SIEM)
    _rename(database, "deliveries", "away")
    thread.start()

    failed = becomes_true(lambda: thread.last_error is not None)
    sick, error = thread.is_healthy, thread.last_error
    _rename(database, "away", "deliveries")
    recovered = becomes_true(lambda: thread.is_healthy and transport.posts)
    thread.stop(5.0)

    assert failed
    assert not sick
    assert isinstance(error, StoreError)
    assert "cases.db cannot be used: no such table: deliveries" in caplog.text
    assert recovered
    assert thread.last_error is error
    assert store.counts(0.0).deliveries == {"delivered": 1}


def test_an_answer_is_recorded_although_the_store_fails_meanwhile(
    store: Store, database: Path
) -> None:
    """The attempt is not made again: its answer waits for the store."""
    release = threading.Event()

    def answer(_: Posted) -> Reply:
        release.wait(10.0)
        return 200

    transport = ScriptedTransport(answer)
    thread = hosted(store, transport, SIEM)
    suspend(store, ["session-1"], SIEM)
    thread.start()
    posted = becomes_true(lambda: transport.posts)
    _rename(database, "deliveries", "away")
    release.set()
    failed = becomes_true(lambda: thread.last_error is not None)
    _rename(database, "away", "deliveries")
    recovered = becomes_true(lambda: thread.is_healthy)
    thread.stop(5.0)

    assert (posted, failed, recovered) == (True, True, True)
    assert len(transport.posts) == 1
    assert store.counts(0.0).deliveries == {"delivered": 1}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_nobody_foresaw_is_kept_for_the_host(store: Store) -> None:
    """The thread ends, loudly, and says of itself that it is not well."""

    def broken(webhook_id: str, body: bytes, why: str) -> None:
        raise ZeroDivisionError

    transport = ScriptedTransport([400])
    dispatcher = Dispatcher(store, [SIEM], transport, RetryPolicy(), report=broken)
    thread = DispatcherThread(dispatcher)
    suspend(store, ["session-1"], SIEM)
    thread.start()

    assert becomes_true(lambda: isinstance(thread.last_error, ZeroDivisionError))
    assert becomes_true(lambda: not thread.is_healthy)
    assert not thread.stop(1.0)


def _rename(database: Path, table: str, name: str) -> None:
    connection = sqlite3.connect(database, timeout=10.0)
    # As before 3.26: other tables' references to it stay as they are written.
    connection.execute("PRAGMA legacy_alter_table=ON")
    connection.execute(f"ALTER TABLE {table} RENAME TO {name}")
    connection.close()
