"""Several processes on one store: one delivers, another takes over, nothing goes out twice."""

import base64
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from astray.decide.decision import Decision
from astray.respond import Dispatcher, DispatcherThread, Endpoint, RetryPolicy, WebhookOutbox
from astray.respond.dispatcher import TIMEOUTS_MAX
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
from databases import asked, fresh_schema, own_postgres

SECRET = make_secret()
SIEM = Endpoint("siem", "https://siem.example.com/hook", (SECRET,), timeout_s=1.0)
WAIT_S = 60.0


def becomes_true(condition: Callable[[], object]) -> bool:
    """Wait until a function returns something; return whether it did."""
    until_s = time.monotonic() + WAIT_S
    while not (found := condition()) and time.monotonic() < until_s:
        time.sleep(0.005)
    return bool(found)


def no_alert(decision: Decision, *, update: bool) -> bytes:
    """Return an empty alert."""
    return b""


class Process:
    """What a process has: a store of its own, and a thread that would deliver."""

    def __init__(self, url: str, transport: ScriptedTransport) -> None:
        self.store = Store.open(url, patience_s=5.0)
        self.transport = transport
        self.dispatcher = Dispatcher(
            self.store, [SIEM], transport, RetryPolicy(), report=lambda *_: None
        )
        self.thread = DispatcherThread(self.dispatcher)

    def suspend(self, session: str) -> str:
        """Record a suspension; return its case."""
        decision = make_decision(session=session)
        self.store.record([decision], WebhookOutbox([SIEM], no_alert), time.time())
        self.thread.wake()
        return decision.case

    def posted(self) -> list[str]:
        """Return the cases that were posted, in order."""
        return [case_of(post) for post in self.transport.posts]


def case_of(post: Posted) -> str:
    """Return the case that a post is about."""
    start = post.body.index(b"case_")
    return post.body[start : start + 21].decode()


@contextmanager
def processes(url: str, *transports: ScriptedTransport) -> Iterator[list[Process]]:
    """Start one after the other; the first leads."""
    running: list[Process] = []
    try:
        for transport in transports:
            running.append(Process(url, transport))
            running[-1].thread.start()
            assert becomes_true(lambda: running[0].dispatcher.is_leading)
        yield running
    finally:
        for process in running:
            process.thread.stop(1.0)
            process.store.close()


def terminate_leader(url: str) -> None:
    """Break the connection that has the lead, as a network or an operator may."""
    query = """
        SELECT pg_terminate_backend(pid, 10000) FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objid::bigint =
        hashtextextended('astray ' || current_schema() || ' lead deliveries', 0) & 4294967295
    """
    assert asked(url, query) == [(True,)]


def test_one_process_delivers_what_all_record(postgres: str) -> None:
    """The others idle, and are well; what they have recorded arrives within seconds."""
    with processes(postgres, ScriptedTransport(), ScriptedTransport()) as (first, second):
        cases = [process.suspend(f"{n}") for n, process in enumerate((first, second) * 5)]
        began_s = time.monotonic()
        arrived = becomes_true(lambda: len(first.posted()) == 10)
        took_s = time.monotonic() - began_s
        leading = [process.dispatcher.is_leading for process in (first, second)]
        healthy = [process.thread.is_healthy for process in (first, second)]

    assert arrived
    assert took_s < 4.0
    assert sorted(first.posted()) == sorted(cases)
    assert second.posted() == []
    assert (leading, healthy) == ([True, False], [True, True])


def test_who_stops_hands_over_within_seconds(postgres: str) -> None:
    """The next one delivers what is recorded then, and nothing that was delivered."""
    with processes(postgres, ScriptedTransport(), ScriptedTransport()) as (first, second):
        early = first.suspend("early")
        assert becomes_true(first.posted)
        flushed = first.thread.stop(5.0)
        late = second.suspend("late")
        began_s = time.monotonic()
        arrived = becomes_true(second.posted)
        took_s = time.monotonic() - began_s

    assert flushed
    assert arrived
    assert took_s < 5.0
    assert (first.posted(), second.posted()) == ([early], [late])


def test_a_process_that_does_not_deliver_stops_at_once(postgres: str) -> None:
    """What it has recorded is the other's to deliver."""
    with processes(postgres, ScriptedTransport(lambda _: 503), ScriptedTransport()) as (_, second):
        second.suspend("session-1")
        began_s = time.monotonic()
        flushed = second.thread.stop(5.0)

    assert flushed
    assert time.monotonic() - began_s < 4.0
    assert second.posted() == []


def test_what_one_still_attempts_the_next_does_not(postgres: str) -> None:
    """A leader that is alive but has lost its connection may be waiting for an answer.

    What else there is goes out at once. The answer is recorded, and ends the matter.
    """
    release = threading.Event()

    def hang(_: Posted) -> Reply:
        release.wait(WAIT_S)
        return 200

    with processes(postgres, ScriptedTransport(hang), ScriptedTransport()) as (first, second):
        hanging = first.suspend("hanging")
        assert becomes_true(first.posted)
        terminate_leader(postgres)
        # The first one may be quicker to take the lead back; then it loses it again.
        while not becomes_true(lambda: first.dispatcher.is_leading or second.dispatcher.is_leading):
            pass
        if first.dispatcher.is_leading:
            first.dispatcher._lead.release()
        prompt = second.suspend("prompt")
        arrived = becomes_true(second.posted)
        while_hanging = second.posted()
        release.set()
        ended = becomes_true(lambda: second.store.counts(0.0).deliveries == {"delivered": 2})

    assert arrived
    assert while_hanging == [prompt]
    assert ended
    assert (first.posted(), second.posted()) == ([hanging], [prompt])


@pytest.mark.slow
def test_what_was_not_answered_is_sent_again_under_its_id_when_no_attempt_can_last(
    postgres: str,
) -> None:
    """A process that is gone leaves its attempts unanswered: each is repeated, once."""
    release = threading.Event()

    def hang(_: Posted) -> Reply:
        release.wait(WAIT_S)
        return 200

    with processes(postgres, ScriptedTransport(hang), ScriptedTransport()) as (first, second):
        hanging = first.suspend("hanging")
        assert becomes_true(first.posted)
        began_s = time.monotonic()
        first.store.close()  # as the system closes what a process had
        arrived = becomes_true(second.posted)
        took_s = time.monotonic() - began_s
        release.set()

    assert arrived
    assert second.posted() == [hanging]
    assert TIMEOUTS_MAX * SIEM.timeout_s - 1.0 < took_s < TIMEOUTS_MAX * SIEM.timeout_s + 10.0
    assert first.transport.posts[0].webhook_id == second.transport.posts[0].webhook_id


def test_after_a_restart_of_the_server_one_leads_again() -> None:
    """All connections are lost, the lead with them; what is recorded then arrives, once."""
    server = own_postgres()
    with processes(fresh_schema(server.url), ScriptedTransport(), ScriptedTransport()) as both:
        first, second = both
        early = first.suspend("early")
        assert becomes_true(first.posted)
        server.stop()
        server.start()
        late = second.suspend("late")
        arrived = becomes_true(lambda: len(first.posted() + second.posted()) == 2)
        settled = becomes_true(lambda: first.store.counts(0.0).deliveries == {"delivered": 2})
        one_leads = becomes_true(
            lambda: sum(process.dispatcher.is_leading for process in both) == 1
        )

    assert arrived
    assert settled
    assert one_leads
    assert sorted(first.posted() + second.posted()) == sorted([early, late])


HOST = textwrap.dedent("""
    import sys, time
    from astray.respond import Dispatcher, DispatcherThread, Endpoint, HttpTransport, RetryPolicy
    from astray.respond import WebhookOutbox, secret_from
    from astray.store import Store
    from astray.testing import make_decision

    database, url, secret, name, sessions = sys.argv[1:]
    endpoint = Endpoint("siem", url, (secret_from("env:SECRET", {"SECRET": secret}),), timeout_s=1.0)
    outbox = WebhookOutbox([endpoint], lambda decision, *, update: b"alert")
    with Store.open(database) as store, HttpTransport() as transport:
        dispatcher = Dispatcher(
            store, [endpoint], transport, RetryPolicy(), report=lambda *_: b"not delivered"
        )
        thread = DispatcherThread(dispatcher)
        thread.start()
        for number in range(int(sessions)):
            store.record([make_decision(session=f"{name}-{number}")], outbox, time.time())
            thread.wake()
            print("leading" if dispatcher.is_leading else "waiting", flush=True)
            time.sleep(0.02)
        sys.stdin.readline()
        thread.stop(10.0)
""")


@pytest.mark.slow
def test_of_three_processes_the_leading_one_is_killed(postgres: str) -> None:
    """All that the three recorded arrives; what was under way bears its id when it is repeated."""
    secret = f"whsec_{base64.b64encode(SECRET.key).decode()}"
    sessions, running = 40, []
    with Receiver([SECRET], lambda *_: Answer(delay_s=0.01)) as receiver:
        for name in "abc":
            command = [sys.executable, "-c", HOST, postgres, receiver.url, secret, name]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            running.append(
                subprocess.Popen([*command, str(sessions)], env=dict(os.environ), **pipes)
            )
            if name == "a":  # which then leads
                while running[0].stdout.readline() != b"leading\n":
                    assert running[0].poll() is None
        first, *others = running
        begun = receiver.wait_for(sessions // 4, timeout_s=WAIT_S)
        first.kill()
        first.wait()
        first.communicate()
        for other in others:
            assert len(other.stdout.readlines(1)) == 1
        with Store.open(postgres, read_only=True) as store:
            recorded = lambda: sum(store.counts(0.0).cases.values())  # noqa: E731 - asked often
            assert becomes_true(lambda: recorded() >= 2 * sessions)
            assert becomes_true(lambda: store.counts(0.0).outbox == 0)
            ended = [other.communicate(b"\n", timeout=WAIT_S) for other in others]
            total, counts = recorded(), store.counts(0.0)
        repeats = sum(kept.repeats for kept in receiver.deliveries.values())

    assert begun
    assert len(ended) == 2
    assert [other.returncode for other in others] == [0, 0]
    assert len(receiver.deliveries) == total >= 2 * sessions
    assert repeats <= 4  # the attempts of one endpoint that may be under way at a time
    assert counts.suspensions == counts.deliveries == {"delivered": total}
