"""Health: who is alive, who is ready and why not, and a server that nobody can hold up."""

import http.client
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import orjson
import pytest

from astray.alerts.ocsf import undelivered
from astray.config import load_config
from astray.errors import ConfigError, SourceError, StoreError
from astray.events import Event
from astray.flow.health import ANSWER_WAIT_MAX_S, Asked, Health, Stage, Vitals
from astray.flow.live import Live
from astray.flow.serving import (
    CONNECTIONS_MAX,
    PATH_CHARS_MAX,
    REQUEST_WAIT_MAX_S,
    Page,
    PageServer,
    listening_problem,
)
from astray.flow.sources import Reading
from astray.respond import Dispatcher, DispatcherThread, RetryPolicy
from astray.store import Store
from astray.testing import ScriptedTransport
from running import WAIT_S, environment_with, lines, until
from strategies import NOW_US

LOCAL = ("127.0.0.1", 0)
STUCK_AFTER_S = 60.0
TURNED_S = 1000.0
"""When the loop of these tests last turned, by their clock."""


def health_of(vitals=None, reading=None, idle_s=0.0):
    """Return the health of a run whose loop last turned so long ago."""
    reading = reading or Reading(turned_s=TURNED_S)
    clock_s = TURNED_S + idle_s
    return Health(vitals or Vitals(), reading, STUCK_AFTER_S, clock=lambda: clock_s)


def complaints_of(checks):
    """Return the checks that complain."""
    return {check: complaint for check, complaint in checks.items() if complaint}


def told(page):
    """Return a page's status and what it tells."""
    return page.status, orjson.loads(page.body)


@pytest.fixture
def running():
    """Make the vitals of a run that lacks nothing."""
    vitals = Vitals(stage=Stage.RUNNING)
    with Store.open("sqlite://") as store, vitals.having(store):
        yield vitals


def test_a_run_that_lacks_nothing_is_alive_and_ready(running):
    """Both probes say yes, with everything that was looked at."""
    health = health_of(running)

    assert told(health.live_page("")) == (200, {"live": True, "checks": {"loop": "ok"}})
    status, page = told(health.ready_page(""))
    names = ["kernels", "store", "deliveries", "state", "sources", "loop", "running"]
    assert (status, page) == (200, {"ready": True, "checks": dict.fromkeys(names, "ok")})
    assert list(page["checks"]) == names


def test_a_run_that_has_not_begun_is_alive_and_says_what_it_lacks():
    """Compiling and restoring take a while, and nobody should kill a run for that."""
    health = health_of(reading=Reading())

    assert health.live_page("").status == 200
    assert health.ready_page("").status == 503
    assert complaints_of(health.ready()) == {
        "kernels": "are being compiled",
        "store": "the case store is not open",
        "state": "is not restored yet",
        "sources": "are not open yet",
    }


@pytest.mark.parametrize(
    ("idle_s", "complaint"),
    [(STUCK_AFTER_S, ""), (STUCK_AFTER_S + 1, "has not turned for 61 s")],
    ids=["just in time", "stuck"],
)
def test_a_loop_that_does_not_turn_is_not_alive(idle_s, complaint, running):
    """From a time on that is configured, the run is neither alive nor ready, and says why."""
    health = health_of(running, idle_s=idle_s)

    assert health.live() == {"loop": complaint}
    assert health.live_page("").status == (503 if complaint else 200)
    assert health.ready()["loop"] == complaint


def test_a_run_that_stops_is_not_ready_but_alive(running):
    """Whether it was asked to, has come to the end, or a source broke: it says which."""
    asked, broken = Reading(turned_s=TURNED_S), Reading(turned_s=TURNED_S)
    asked.stop.set()
    broken.fail(SourceError("events.jsonl: cannot be read"))
    with pytest.raises(SourceError), running.running():
        broken.raise_fault()

    at_end = health_of(running)

    assert at_end.vitals.stage is Stage.STOPPING
    assert complaints_of(at_end.ready()) == {"running": "stopping"}
    assert complaints_of(health_of(running, asked).ready()) == {"running": "stopping"}
    assert complaints_of(health_of(running, broken).ready()) == {
        "running": "stopping: events.jsonl: cannot be read"
    }
    assert at_end.live_page("").status == 200


def test_a_store_that_does_not_answer_keeps_a_run_from_being_ready(running):
    """Its own sentence is told."""
    running.store.close()

    ((check, complaint),) = complaints_of(health_of(running).ready()).items()

    assert (check, complaint) == ("store", "the case store :memory: is closed")


def test_a_store_is_looked_at_only_while_it_is_open():
    """Who is looking may end before it closes; whoever comes later finds none."""
    vitals, looking, looked = Vitals(stage=Stage.RUNNING), threading.Event(), []

    def look(store):
        looking.set()
        time.sleep(0.2)
        looked.append(len(store.cases(1)))

    with Store.open("sqlite://") as store, ThreadPoolExecutor(1) as pool:
        with vitals.having(store):
            pool.submit(Asked(vitals, look).ask)
            looking.wait(WAIT_S)
        looked_by_then = list(looked)

    assert looked_by_then == [0]
    assert health_of(vitals).ready()["store"] == "the case store is not open"


def test_deliveries_that_cannot_be_made_keep_a_run_from_being_ready(running, tmp_path):
    """A dispatcher that cannot read the store says why, and that it has not begun."""
    store = Store.open(f"sqlite:///{tmp_path}/cases.db")
    policy = RetryPolicy((1.0,), 0.0)
    dispatcher = Dispatcher(store, [], ScriptedTransport(), policy, report=undelivered)
    running.deliveries = DispatcherThread(dispatcher)
    not_begun = complaints_of(health_of(running).ready())
    running.deliveries.start()
    until(lambda: running.deliveries.is_healthy, "a first look")
    well = complaints_of(health_of(running).ready())

    store.close()
    running.deliveries.wake()
    until(lambda: not running.deliveries.is_healthy, "a look in vain")
    complaints = complaints_of(health_of(running).ready())
    running.deliveries.stop(0.0)

    assert (not_begun, well) == ({"deliveries": "are not made"}, {})
    assert complaints == {"deliveries": f"the case store {tmp_path}/cases.db is closed"}


def test_a_store_that_hangs_holds_up_one_who_asks(tmp_path):
    """The others give up after a while, and when it is back all is well again."""
    path = tmp_path / "cases.db"
    vitals = Vitals(stage=Stage.RUNNING)
    health = health_of(vitals)
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(f"sqlite:///{path}"))
        stack.enter_context(vitals.having(store))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        pool = stack.enter_context(ThreadPoolExecutor(5))

        started_s = time.monotonic()
        asked = [pool.submit(health.ready) for _ in range(5)]
        until(lambda: sum(one.done() for one in asked) == 4, "the others")
        took_s = time.monotonic() - started_s
        other.close()
        answers = sorted(one.result(WAIT_S)["store"] for one in asked)

        assert answers == ["", *["the case store has not answered for 2 s"] * 4]
        assert took_s < 2 * ANSWER_WAIT_MAX_S
        assert health.ready()["store"] == ""


def test_the_store_is_not_asked_by_everybody(running):
    """Many who ask at once cost it one look, and a complaint is not kept."""
    looks = []
    asked = Asked(running, lambda _: looks.append(1))

    for _ in range(100):
        asked.ask()

    assert len(looks) == 1
    running.store = None
    with pytest.raises(StoreError, match="is not open"):
        asked.ask()


def test_health_is_told_before_anything_has_begun(tmp_path):
    """From the first moment there is an answer: the run compiles, and cannot be scraped in vain."""
    config = load_config(overrides={"health": {"listen": "127.0.0.1:0"}})

    with Live(config, ["-"]).serving() as url:
        answers = {path: ask(url, path) for path in ("/livez", "/readyz", "/metrics")}

    assert [status for status, _, _ in answers.values()] == [200, 503, 200]
    assert b'"kernels":"are being compiled"' in answers["/readyz"][2]
    assert b"astray_ready 0.0" in answers["/metrics"][2]


def test_a_run_that_has_come_to_the_end_of_its_sources_is_stopping(tmp_path):
    """It has opened its store, run, and closed it again; whoever asks then is told so."""
    events = tmp_path / "events.jsonl"
    events.write_bytes(lines([Event(ts_us=NOW_US - 10**12, agent="a", action="read")]))
    config = load_config(overrides={"store": {"url": f"sqlite:///{tmp_path}/cases.db"}})
    live = Live(config, [str(events)])

    live.run()

    assert live.vitals.stage is Stage.STOPPING
    assert live.vitals.store is None
    assert live.counters.events == 1


def test_without_an_address_nobody_is_told():
    """No thread, no socket."""
    before = set(threading.enumerate())

    with Live(load_config(), ["-"]).serving() as url:
        assert url == ""
        assert set(threading.enumerate()) <= before


# ---- the server -----------------------------------------------------------------------------


def hello(accept):
    """Answer with what is accepted."""
    return Page(200, "text/plain", f"hello {accept}".encode())


def ask(url, path, method="GET", **headers):
    """Ask a server, and return status, headers and body."""
    host = url.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(host, timeout=WAIT_S)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


@pytest.fixture
def server():
    """Serve one page."""
    with PageServer(LOCAL, {"/hello": hello}, wait_max_s=0.3) as server:
        yield server


def test_a_page_is_told_to_who_asks_for_it(server):
    """By its path, whatever the query; HEAD has the same headers and no body."""
    status, headers, body = ask(server.url, "/hello?x=1", accept="this")
    with socket.create_connection((server.host, server.port), timeout=WAIT_S) as connection:
        connection.sendall(b"HEAD /hello HTTP/1.1\r\naccept: this\r\n\r\n")
        head, _, nothing = connection.makefile("rb").read().partition(b"\r\n\r\n")

    assert (status, body) == (200, b"hello this")
    assert (headers["content-type"], headers["content-length"]) == ("text/plain", "10")
    assert b" 200 OK\r\n" in head
    assert b"content-type: text/plain\r\ncontent-length: 10\r\n" in head
    assert nothing == b""
    assert "Python" not in headers["Server"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/hello/", 404),
        ("GET", "/../hello", 404),
        ("POST", "/hello", 501),
        ("DELETE", "/hello", 501),
        ("GET", f"/hello?{'x' * PATH_CHARS_MAX}", 414),
        ("GET", f"/hello?{'x' * 70_000}", 414),
    ],
    ids=["root", "other", "upwards", "post", "delete", "long", "endless"],
)
def test_anything_else_is_refused(method, path, status, server):
    """Another path, another method, a path without an end; and the server goes on."""
    assert ask(server.url, path, method)[0] == status
    assert ask(server.url, "/hello")[0] == 200


def test_nobody_is_kept_out_by_those_who_say_nothing():
    """However many connections are open and silent, one who asks is answered: the oldest go."""
    too_many = 2 * CONNECTIONS_MAX + 1  # of three times as many, and one who asks
    with PageServer(LOCAL, {"/hello": hello}) as server, ExitStack() as stack:
        where = (server.host, server.port)
        silent = [
            stack.enter_context(socket.create_connection(where, REQUEST_WAIT_MAX_S / 2))
            for _ in range(3 * CONNECTIONS_MAX)
        ]
        status, _, body = ask(server.url, "/hello")
        gone = [connection.recv(1) for connection in silent[:too_many]]

    assert (status, body) == (200, b"hello ")
    assert gone == [b""] * too_many


def has_hung_up(connection):
    """Send a little more of a request, and return whether nobody takes it any more."""
    try:
        connection.sendall(b"x")
    except OSError:
        return True
    return False


def test_one_who_dawdles_is_hung_up_on(server):
    """A request has so long to come, even if something of it comes all the time."""
    with socket.create_connection((server.host, server.port), timeout=WAIT_S) as connection:
        started_s = time.monotonic()
        until(lambda: has_hung_up(connection), "the end of it")
        lasted_s = time.monotonic() - started_s

    assert lasted_s >= 0.3


def test_a_page_that_takes_long_holds_up_no_other():
    """Every connection is answered on a thread of its own, and no more of them than allowed."""
    go, busy = threading.Event(), []

    def slow(_):
        busy.append(1)
        go.wait(WAIT_S)
        return Page(200, "text/plain", b"at last")

    with (
        PageServer(LOCAL, {"/slow": slow, "/hello": hello}) as server,
        ThreadPoolExecutor(CONNECTIONS_MAX) as pool,
    ):
        slow_ones = [pool.submit(ask, server.url, "/slow") for _ in range(CONNECTIONS_MAX - 1)]
        until(lambda: len(busy) == CONNECTIONS_MAX - 1, "slow ones")
        quick = ask(server.url, "/hello")
        slow_ones.append(pool.submit(ask, server.url, "/slow"))
        until(lambda: len(busy) == CONNECTIONS_MAX, "one more")
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(server.url, "/hello")
        go.set()
        bodies = [one.result(WAIT_S)[2] for one in slow_ones]

    assert quick[2] == b"hello "
    assert bodies == [b"at last"] * CONNECTIONS_MAX


def test_a_port_that_is_taken_is_a_sentence():
    """Both when it is tried beforehand, and when it has been taken since."""
    with socket.create_server(LOCAL) as taken:
        address = taken.getsockname()
        sentence = f"health.listen: cannot listen on 127.0.0.1:{address[1]}: Address already in use"

        with pytest.raises(ConfigError) as caught, PageServer(address, {}):
            pass

        assert listening_problem(address) == sentence
        assert caught.value.problems == (sentence,)
    assert listening_problem(address) == ""
    assert listening_problem(None) == ""


def test_a_host_that_is_not_there_is_a_sentence():
    """A name that nobody knows, and an address that is somebody else's."""
    assert "cannot listen on 192.0.2.1:80: " in listening_problem(("192.0.2.1", 80))
    assert "cannot listen on nowhere.invalid:80: " in listening_problem(("nowhere.invalid", 80))


def test_a_server_that_has_ended_has_ended(server):
    """Its port is free at once, and whoever was connected is not any more."""
    with PageServer(LOCAL, {"/hello": hello}) as other:
        connection = socket.create_connection((other.host, other.port), REQUEST_WAIT_MAX_S / 2)
        assert ask(other.url, "/hello")[0] == 200  # so it has taken the one before it, too

    with connection:
        assert connection.recv(1) == b""
    assert listening_problem((other.host, other.port)) == ""
    assert ask(server.url, "/hello")[0] == 200


# ---- the engine's own server ----------------------------------------------------------------

_RUN = """
import os
from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource
from astray.flow.engine import run_flow
flow = Dataflow("f")
op.output("out", op.input("in", flow, TestingSource([1])), TestingSink([]))
run_flow(flow, 1.0)
print(os.environ.get("BYTEWAX_DATAFLOW_API_ENABLED"), os.listdir())
"""


def test_the_engines_own_server_stays_off(tmp_path):
    """Whatever the environment says, the engine serves nothing and writes nothing of its own."""
    environment = environment_with(
        BYTEWAX_DATAFLOW_API_ENABLED="1", PYTHONPATH=os.pathsep.join(sys.path)
    )

    done = subprocess.run(
        [sys.executable, "-c", _RUN], env=environment, cwd=tmp_path, capture_output=True, check=True
    )

    assert done.stdout.decode().strip() == "None []"
