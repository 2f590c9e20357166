"""A store on PostgreSQL: many processes, a server that goes away, and words for what is wrong."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from astray.errors import StoreError
from astray.store import DeliveryState, Result, Store, recording, views
from astray.testing import make_decision
from databases import PASSWORD, asked, drop_schema, fresh_schema, own_postgres, postgres_url
from outboxes import TwoReceivers

WAIT_S = 60.0


def refusal(url: str, *, read_only: bool = False) -> str:
    """Return the sentence with which a store is refused."""
    with pytest.raises(StoreError) as caught:
        Store.open(url, read_only=read_only)
    return str(caught.value)


def becomes_true(condition: Callable[[], object]) -> bool:
    """Wait until a function returns something; return whether it did."""
    until_s = time.monotonic() + WAIT_S
    while not (found := condition()) and time.monotonic() < until_s:
        time.sleep(0.01)
    return bool(found)


def numbers(found: list[tuple[int, bytes]]) -> list[int]:
    """Return the numbers of alerts or decisions."""
    return [number for number, _ in found]


def backends(url: str, of: str) -> list[int]:
    """Return the server's processes that hold a lock of ours in the schema, or wait for it."""
    query = """
        SELECT pid FROM pg_locks WHERE locktype = 'advisory'
        AND objid::bigint = hashtextextended('astray ' || current_schema() || %s, 0) & 4294967295
        ORDER BY granted DESC
    """
    return [pid for (pid,) in asked(url, query, f" {of}")]


RECORD = textwrap.dedent("""
    import sys
    from astray.store import Store
    from astray.testing import make_decision
    from outboxes import TwoReceivers

    url, mine, count = sys.argv[1:]
    fresh = 0
    with Store.open(url) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(int(count)):
            both = [make_decision(session=f"all-{number}"), make_decision(session=f"{mine}-{number}")]
            fresh += len(store.record(both, TwoReceivers(), float(number)))
    print(fresh)
""")


def test_processes_record_at_once_and_a_reader_misses_nothing(postgres: str) -> None:
    """Three record the same decisions and their own; one reads all the while, in order."""
    count, processes = 50, []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with Store.open(postgres) as store:
        for mine in "abc":
            command = [sys.executable, "-c", RECORD, postgres, mine, str(count)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            processes.append(subprocess.Popen(command, env=environment, **pipes))
        for process in processes:
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            process.stdin.write(b"\n")
            process.stdin.flush()

        alerts: list[int] = []
        decisions: list[int] = []
        while len(alerts) < 4 * count and any(process.poll() is None for process in processes):
            alerts += numbers(store.alerts_after(max(alerts, default=0), 7))
            decisions += numbers(store.decisions_after(max(decisions, default=0), 11))
        fresh = [int(process.communicate(timeout=WAIT_S)[0]) for process in processes]
        alerts += numbers(store.alerts_after(max(alerts, default=0), 999))
        decisions += numbers(store.decisions_after(max(decisions, default=0), 999))
        counts = store.counts(1.0)

    assert [process.returncode for process in processes] == [0] * 3
    assert sum(fresh) == 4 * count
    assert alerts == decisions == list(range(1, 4 * count + 1))
    assert counts.suspensions == {"requested": 4 * count}
    assert counts.deliveries == {"pending": 8 * count}


def test_nobody_reads_a_number_before_a_smaller_one(postgres: str) -> None:
    """Whoever records while another has not yet committed comes after it, and waits for it."""
    begun, go_on = threading.Event(), threading.Event()

    def slowly(connection: Connection) -> None:
        recording.record(connection, [make_decision(session="slow")], TwoReceivers(), 1.0)
        begun.set()
        assert go_on.wait(WAIT_S)

    with Store.open(postgres) as first, Store.open(postgres) as second:
        slow = threading.Thread(target=first._database.write, args=(slowly,))
        slow.start()
        assert begun.wait(WAIT_S)
        quick = threading.Thread(
            target=second.record, args=([make_decision(session="quick")], TwoReceivers(), 1.0)
        )
        quick.start()
        waited = becomes_true(lambda: len(backends(postgres, "writing")) == 2)
        before = second.alerts_after(0, 10)
        go_on.set()
        slow.join(WAIT_S)
        quick.join(WAIT_S)
        after = second.alerts_after(0, 10)

    assert waited
    assert before == []
    assert after == [(1, b"slow new"), (2, b"quick new")]


def test_reading_waits_for_no_writer(postgres: str) -> None:
    """Nor does a reader that may not write, whose opening takes no lock."""
    begun, go_on = threading.Event(), threading.Event()

    def hold_up(_: Connection) -> None:
        begun.set()
        assert go_on.wait(WAIT_S)

    with Store.open(postgres) as writer:
        writing = threading.Thread(target=writer._database.write, args=(hold_up,))
        writing.start()
        assert begun.wait(WAIT_S)
        began_s = time.monotonic()
        with Store.open(postgres, read_only=True) as reader:
            counts = (reader.counts(1.0), writer.counts(1.0))
        took_s = time.monotonic() - began_s
        go_on.set()
        writing.join(WAIT_S)

    assert counts[0] == counts[1]
    assert took_s < 8.0  # a lock is waited for longer


def test_a_reader_sees_one_state(postgres: str) -> None:
    """What is committed while it asks is not half in its answer."""
    with Store.open(postgres) as store, Store.open(postgres) as other:

        def twice(connection: Connection) -> list[dict[str, int]]:
            before = views.counts(connection, 1.0).cases
            other.record([make_decision()], TwoReceivers(), 1.0)
            return [dict(before), dict(views.counts(connection, 1.0).cases)]

        assert store._database.read(twice) == [{}, {}]
        assert store.counts(1.0).cases == {"suspend": 1}


def test_a_reader_cannot_write(postgres: str) -> None:
    """Neither in a store that is there, nor to create one; the database itself refuses."""
    assert refusal(postgres, read_only=True).endswith(
        "is a database, but not a case store of astray"
    )
    Store.open(postgres).close()

    with Store.open(postgres, read_only=True) as reader:
        with pytest.raises(StoreError, match="in a read-only transaction"):
            reader.enable_endpoint("siem")
        with pytest.raises(StoreError, match="in a read-only transaction"):
            reader.check_writable()


def test_what_is_recorded_twice_is_counted_once(postgres: str) -> None:
    """A connection may break in the moment of a commit; then everything is repeated."""
    decision = make_decision()
    case = decision.case
    again = Result(f"siem-{case}", DeliveryState.PENDING, 2.0, 503, "busy", 9.0)
    failed = Result(f"gateway-{case}", DeliveryState.FAILED, 2.0, 400, alert=b"not delivered")
    with Store.open(postgres) as store:
        for _ in range(2):
            store.record([decision], TwoReceivers(), 1.0)
            held = store.hold([f"siem-{case}"], 1.5, 11.5)
        for _ in range(2):
            store.settle([again, failed])
            store.hurry("siem", 3.0)
            store.disable_endpoint("siem", "gone", 3.0)
            store.set_mark("reader", 2)
        file = store.case(case)
        alerts = store.alerts_after(0, 10)

    assert file is not None
    assert held == {f"siem-{case}"}
    assert {sent.endpoint: sent.attempts for sent in file.deliveries} == {"siem": 1, "gateway": 1}
    assert alerts == [(1, b"session-1 new"), (2, b"not delivered")]


def test_what_another_process_may_be_attempting_is_left_alone(postgres: str) -> None:
    """Until it is settled, or as long as an attempt can last."""
    decision = make_decision()
    mine, other = f"siem-{decision.case}", f"gateway-{decision.case}"
    with Store.open(postgres) as first, Store.open(postgres) as second:
        first.record([decision], TwoReceivers(), 1.0)
        held = first.hold([mine, other], 2.0, 42.0)
        refused = second.hold([mine, other], 3.0, 43.0)
        waiting = [second.due("siem", 3.0, 9), second.probes("siem", 3.0, 9)]
        first.settle([Result(other, DeliveryState.PENDING, 4.0, 503, "busy", 5.0)])

        assert (held, refused) == ({mine, other}, set())
        assert waiting == [[], []]
        assert second.hold([mine, other], 41.9, 81.9) == {other}
        assert second.hold([mine], 42.0, 82.0) == {mine}
        assert [item.webhook_id for item in first.overdue(81.9, 9)] == [other]
        assert {item.webhook_id for item in first.overdue(82.0, 9)} == {mine, other}


def test_stores_in_two_schemas_know_nothing_of_each_other(postgres: str) -> None:
    """Two teams may share a database; neither waits for the other, nor leads it."""
    other_url = fresh_schema(postgres_url())
    with Store.open(postgres) as one, Store.open(other_url) as other:
        one.record([make_decision()], TwoReceivers(), 1.0)
        leads = [one.lead("deliveries").is_held(), other.lead("deliveries").is_held()]

        assert other.counts(1.0).cases == {}
        assert leads == [True, True]
    drop_schema(other_url)


def test_one_of_all_has_the_lead_until_it_lets_go(postgres: str) -> None:
    """Asking again keeps it; another name is another lead; what was released stays so."""
    with Store.open(postgres) as one, Store.open(postgres) as other:
        mine, theirs = one.lead("deliveries"), other.lead("deliveries")
        first = [mine.is_held(), theirs.is_held(), mine.is_held(), other.lead("alerts").is_held()]
        mine.release()
        mine.release()
        then = [becomes_true(theirs.is_held), mine.is_held()]

    assert first == [True, False, True, True]
    assert then == [True, False]


def test_a_store_that_is_closed_leads_no_more(postgres: str) -> None:
    """Its connections go, and with them its locks; so it is with a process that is killed."""
    with Store.open(postgres) as other:
        one = Store.open(postgres)
        mine, theirs = one.lead("deliveries"), other.lead("deliveries")
        before = (mine.is_held(), theirs.is_held())
        one.close()

        assert before == (True, False)
        assert becomes_true(theirs.is_held)
        assert not mine.is_held()


def test_a_lead_is_lost_with_its_connection(postgres: str) -> None:
    """The process learns of it when it asks, and may have it again if nobody was quicker."""
    with Store.open(postgres) as one, Store.open(postgres) as other:
        mine, theirs = one.lead("deliveries"), other.lead("deliveries")
        assert mine.is_held()
        [backend] = backends(postgres, "lead deliveries")
        asked(postgres, "SELECT pg_terminate_backend(%s, 10000)", backend)

        taken = theirs.is_held()
        with pytest.raises(StoreError, match="terminating connection"):
            mine.is_held()

        assert taken
        assert not mine.is_held()
        theirs.release()
        assert becomes_true(mine.is_held)


@pytest.mark.parametrize("how", ["SIGINT", "SIGQUIT"])
def test_a_server_that_restarts_is_waited_for(how: str) -> None:
    """Threads record and read all the while; nothing is lost, nothing doubled, nobody fails."""
    server = own_postgres()
    url = fresh_schema(server.url)
    ended, faults, seen = threading.Event(), [], []
    recorded = 0

    def read() -> None:
        after = 0
        while not ended.is_set():
            try:
                found = store.alerts_after(after, 100)
            except StoreError as error:
                faults.append(error)
                return
            seen.extend(numbers(found))
            after = max(numbers(found), default=after)

    with Store.open(url) as store:
        reading = threading.Thread(target=read)
        reading.start()
        restart = threading.Thread(
            target=lambda: (server.stop(how), time.sleep(0.5), server.start())
        )
        until_s = time.monotonic() + 3.0
        while time.monotonic() < until_s or restart.is_alive():
            store.record([make_decision(session=f"session-{recorded}")], TwoReceivers(), 1.0)
            recorded += 1
            if recorded == 20:
                restart.start()
        restart.join(WAIT_S)
        caught_up = becomes_true(lambda: len(seen) >= recorded)
        ended.set()
        reading.join(WAIT_S)
        counts = store.counts(1.0)

    assert recorded > 20
    assert faults == []
    assert caught_up
    assert seen == list(range(1, recorded + 1))
    assert counts.suspensions == {"requested": recorded}


def test_a_server_that_stays_away_is_given_up_in_a_sentence() -> None:
    """After a bounded time, of which the sentence tells; the next call tries again."""
    server = own_postgres()
    with Store.open(fresh_schema(server.url), patience_s=1.0) as store:
        server.stop()
        try:
            began_s = time.monotonic()
            with pytest.raises(StoreError) as caught:
                store.record([make_decision()], TwoReceivers(), 1.0)
            lasted_s = time.monotonic() - began_s
            with pytest.raises(StoreError):
                store.check_writable()
            with pytest.raises(StoreError):
                store.lead("deliveries").is_held()
        finally:
            server.start()
        recorded = store.record([make_decision()], TwoReceivers(), 1.0)

    assert 0.3 < lasted_s < 10.0
    assert f"the case store postgresql://127.0.0.1:{server.port}/postgres cannot" in str(
        caught.value
    )
    assert str(caught.value).endswith("; waited 1 s for it")
    assert len(recorded) == 1


def test_closing_while_somebody_reads_leaves_no_connection(postgres: str) -> None:
    """The connection that is in use then is closed when it is not any more."""
    begun, go_on = threading.Event(), threading.Event()

    def hold_up(_: Connection) -> None:
        begun.set()
        assert go_on.wait(WAIT_S)

    query = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'a late reader'"
    store = Store.open(f"{postgres}&application_name=a%20late%20reader")
    reading = threading.Thread(target=store._database.read, args=(hold_up,))
    reading.start()
    assert begun.wait(WAIT_S)
    store.close()
    before = asked(postgres, query)
    go_on.set()
    reading.join(WAIT_S)

    assert before == [(1,)]
    assert becomes_true(lambda: not asked(postgres, query))


def test_closing_ends_waiting() -> None:
    """A process that ends does not stay for a database that is away."""
    server = own_postgres()
    store = Store.open(fresh_schema(server.url))
    faults: list[StoreError] = []

    def ask() -> None:
        try:
            store.counts(1.0)
        except StoreError as error:
            faults.append(error)

    server.stop()
    try:
        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.3)
        store.close()
        asking.join(5.0)
    finally:
        server.start()

    assert [str(fault).endswith("is closed") for fault in faults] == [True]


def test_what_is_wrong_with_a_server_is_said_in_a_sentence() -> None:
    """The server's own words for it, after the name of the store, on one line; no password."""
    url = make_url(own_postgres().url)
    asked(own_postgres().url, f"CREATE ROLE guarded LOGIN PASSWORD '{PASSWORD}'")
    name = f"the case store postgresql://127.0.0.1:{url.port}"
    wrong = url.set(username="guarded", password="hunter2")
    cases = {
        url.set(port=1): "connection refused",
        url.set(database="nowhere"): 'database "nowhere" does not exist',
        url.set(username="nobody_such"): 'role "nobody_such" does not exist',
        wrong: 'password authentication failed for user "guarded"',
        url.set(username="guarded"): "no password supplied",
        url.set(username="guarded", password=PASSWORD): "permission denied for schema public",
        url.update_query_dict({"options": "-csearch_path=nowhere"}): "no schema has been selected",
        url.update_query_dict({"sslmode": "hunter2"}): "cannot be used: ",
    }

    for at, words in cases.items():
        said = refusal(at.render_as_string(hide_password=False))

        assert said.startswith(name if at.port == url.port else "the case store postgresql://")
        assert words in said.lower() or words in said
        assert "\n" not in said
        assert PASSWORD not in said
        assert "hunter2" not in said or at.query


def test_a_password_in_the_query_is_not_shown_either(caplog: pytest.LogCaptureFixture) -> None:
    """It is where a URL has options, too; it is used, and goes into no error and no log."""
    base = f"{own_postgres().url.replace('astray@', 'guarded2@')}?password="
    asked(own_postgres().url, f"CREATE ROLE guarded2 LOGIN PASSWORD '{PASSWORD}'")

    said = refusal(f"{base}{PASSWORD}")

    with Store.open(f"{fresh_schema(own_postgres().url)}&password={PASSWORD}") as store:
        shown = repr(store._database._server._engine)

    assert "permission denied" in said
    assert PASSWORD not in said + caplog.text + shown


def test_a_database_of_something_else_is_refused(postgres: str) -> None:
    """Another program's tables get no company."""
    asked(postgres, "CREATE TABLE recipes (name TEXT)")

    for read_only in (False, True):
        assert refusal(postgres, read_only=read_only).endswith(
            " is a database, but not a case store of astray"
        )
    assert asked(postgres, "SELECT count(*) FROM recipes") == [(0,)]


def test_a_database_that_does_not_keep_every_character_is_refused() -> None:
    """An agent chooses its name: one that cannot be written must not stop the flow."""
    url = own_postgres().url
    asked(url, "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")

    for read_only in (False, True):
        assert refusal(url.replace("/postgres", "/latin"), read_only=read_only) == (
            f"the case store postgresql://127.0.0.1:{own_postgres().port}/latin has the encoding "
            "LATIN1; astray needs UTF8: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )


def test_without_a_driver_it_is_said_what_to_install(tmp_path: Path) -> None:
    """SQLite needs none, so it is not there unless asked for."""
    (tmp_path / "psycopg").mkdir()
    (tmp_path / "psycopg" / "__init__.py").write_text("raise ModuleNotFoundError('psycopg')")
    program = "from astray.store import Store; Store.open('postgresql+psycopg://a@b/c')"
    search = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])

    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        check=False,
        timeout=WAIT_S,
    )

    assert result.stderr.decode().splitlines()[-1] == (
        "astray.errors.StoreError: a case store on PostgreSQL needs a driver: "
        "pip install 'astray[postgres]'"
    )


def test_text_with_a_nul_is_kept_as_far_as_it_can_be(address: str) -> None:
    """PostgreSQL has no place for one: the columns have a mark instead, the body has it all."""
    decision = make_decision(agent="bill\0ing", session="s\0")
    with Store.open(address) as store:
        store.record([decision], TwoReceivers(), 1.0)
        [found] = store.cases(9, agent="bill\0ing")
        file = store.case(decision.case)

    assert found.agent == "bill\N{REPLACEMENT CHARACTER}ing"
    assert file is not None
    assert file.decisions[0]["agent"] == "bill\0ing"
