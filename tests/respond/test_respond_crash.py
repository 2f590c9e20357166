"""A process that is killed at any moment: nothing is lost, nothing asked for under two ids."""

import base64
import os
import signal
import subprocess
import sys
from pathlib import Path

from astray.store import Store
from astray.testing import Receiver, make_secret

SECRET = make_secret()
SESSIONS = 60

# What a running astray does: record, wake, go on. Started again it records the same again.
HOST = """
import sys, time
from astray.respond import Dispatcher, DispatcherThread, Endpoint, HttpTransport, RetryPolicy
from astray.respond import WebhookOutbox, secret_from
from astray.store import Store
from astray.testing import make_decision

database, url, secret, sessions = sys.argv[1:]
endpoint = Endpoint("siem", url, (secret_from("env:SECRET", {"SECRET": secret}),))
outbox = WebhookOutbox([endpoint], lambda decision, *, update: b"alert")
with Store.open(f"sqlite:///{database}") as store, HttpTransport() as transport:
    dispatcher = Dispatcher(
        store, [endpoint], transport, RetryPolicy(), report=lambda *_: b"not delivered"
    )
    thread = DispatcherThread(dispatcher)
    thread.start()
    for number in range(int(sessions)):
        store.record([make_decision(session=f"session-{number}")], outbox, time.time())
        thread.wake()
        time.sleep(0.005)
    sys.exit(0 if thread.stop(20.0) else 1)
"""


def host(database: Path, receiver: Receiver) -> subprocess.Popen[bytes]:
    """Start a process that suspends sessions."""
    secret = f"whsec_{base64.b64encode(SECRET.key).decode()}"
    arguments = [str(database), receiver.url, secret, str(SESSIONS)]
    return subprocess.Popen([sys.executable, "-c", HOST, *arguments], env=dict(os.environ))


def test_a_killed_process_takes_up_where_it_was(tmp_path: Path) -> None:
    """Killed in the middle and started again, it delivers everything; repeats bear their id."""
    database = tmp_path / "cases.db"
    with Receiver([SECRET]) as receiver:
        first = host(database, receiver)
        begun = receiver.wait_for(SESSIONS // 3, timeout_s=30.0)
        first.send_signal(signal.SIGKILL)
        first.wait()
        at_kill = len(receiver.deliveries)
        second = host(database, receiver)
        ended = second.wait(timeout=30.0)
        repeats = sum(kept.repeats for kept in receiver.deliveries.values())

    with Store.open(f"sqlite:///{database}", read_only=True) as store:
        counts, alerts = store.counts(0.0), store.alerts_after(0, 999)

    assert begun
    assert ended == 0
    assert at_kill < SESSIONS
    assert len(receiver.deliveries) == SESSIONS
    assert repeats <= 4  # the attempts of one endpoint that may be under way at a time
    assert counts.suspensions == counts.deliveries == {"delivered": SESSIONS}
    assert [body for _, body in alerts] == [b"alert"] * SESSIONS
