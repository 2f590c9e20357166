"""Writing to Kafka: dead letters byte for byte, alerts and decisions once each, nothing lost."""

import random
import threading
import time
from datetime import UTC, datetime

import orjson
import pytest
from kafka_topics import Site

from astray.alerts.ocsf import finding, undelivered
from astray.errors import SinkError
from astray.events import Reject
from astray.events.schema import Reason
from astray.flow.alerting import BATCH_MAX, Alerts
from astray.flow.kafka.letters import LettersTopic, Patience
from astray.flow.kafka.link import Link
from astray.flow.kafka.messages import Letter
from astray.flow.kafka.publishing import ALERT, DECISION, Publishing
from astray.flow.sinks import RejectsFile
from astray.respond import WebhookOutbox
from astray.respond.payload import suspend_body
from astray.store import Store
from astray.testing import make_decision
from running import until


@pytest.fixture
def store(tmp_path):
    """Open a case store."""
    with Store.open(f"sqlite:///{tmp_path}/cases.db") as opened:
        yield opened


def link_to(site: Site) -> Link:
    """Return the way to a cluster."""
    return Link(site.address, dict(site.options), frozenset())


def never() -> bool:
    """Have all the time there is."""
    return False


def letter(value: bytes | None, **changes) -> Letter:
    """Return a message that is not an event."""
    given = {
        "reason": Reason.NOT_JSON,
        "key": "",
        "offset": 41,
        "raw": value or b"",
        "topic": "actions",
        "partition": 3,
        "timestamp_ms": 1_700_000_000_123,
        "message_key": b"\xffkey",
        "headers": (("trace", b"\0\xff"), ("trace", b"again")),
        "is_tombstone": value is None,
    }
    return Letter(**{**given, **changes})


def written(site: Site, topic: str, rejects: list) -> list:
    """Write rejects as the dataflow does; return the messages."""
    letters = LettersTopic(link_to(site), topic, never)
    part = RejectsFile(None, lambda: letters).build_part("reject", "reject", None)
    part.write_batch(rejects)
    part.snapshot()
    part.close()
    return site.all_of(topic, len(rejects))


@pytest.mark.parametrize(
    "value",
    [b'{"not":"an event"}', bytes(range(256)), None, b"", b"two\nlines\n"],
    ids=["text", "binary", "tombstone", "empty", "line breaks"],
)
def test_a_dead_letter_is_the_message_as_it_came_and_why(value, broker):
    """Value, key and headers are the message's own; what astray has to say stands after them."""
    (message,) = written(broker, broker.topic(), [("kafka:actions/3", letter(value))])

    assert (message.value(), message.key()) == (value, b"\xffkey")
    assert message.headers() == [
        ("trace", b"\0\xff"),
        ("trace", b"again"),
        ("astray.errors.source", b"kafka:actions/3"),
        ("astray.errors.topic", b"actions"),
        ("astray.errors.partition", b"3"),
        ("astray.errors.timestamp", b"1700000000123"),
        ("astray.errors.offset", b"41"),
        ("astray.errors.stage", b"decode"),
        ("astray.errors.reason", b"not_json"),
    ]


def test_a_reject_of_a_file_is_a_dead_letter_too(broker):
    """Lines of files come with their file and their place in it."""
    reject = Reject(Reason.WRONG_TYPE, "bytes", 7, b'{"bytes":"\xff"}')

    (message,) = written(broker, broker.topic(), [("events/a\udcff.jsonl", reject)])

    assert (message.value(), message.key()) == (b'{"bytes":"\xff"}', None)
    assert dict(message.headers()) == {
        "astray.errors.source": b"events/a\\udcff.jsonl",
        "astray.errors.offset": b"7",
        "astray.errors.stage": b"decode",
        "astray.errors.reason": b"wrong_type",
        "astray.errors.key": b"bytes",
    }


def test_what_is_too_long_for_the_topic_comes_cut_and_holds_nobody_up(broker):
    """A letter the brokers refuse for its length is written again, cut, and says how long it was."""
    value = random.Random(1).randbytes(2 << 20)  # which no compression makes shorter
    rejects = [("s", letter(b"before")), ("s", letter(value)), ("s", letter(b"after"))]

    messages = written(broker, broker.topic(), rejects)

    (cut,) = [message for message in messages if len(message.value()) > 10]
    assert {message.value() for message in messages} == {b"before", b"after", value[: 1 << 14]}
    assert all("trace" in dict(one.headers()) for one in messages if one is not cut)
    assert dict(cut.headers())["astray.errors.value_bytes"] == b"%d" % len(value)
    assert "trace" not in dict(cut.headers())


def test_a_long_letter_comes_whole_where_the_topic_takes_it(broker):
    """It is the topic's limit that decides, not librdkafka's own."""
    value = random.Random(1).randbytes(2 << 20)

    (message,) = written(broker, broker.topic(max_message_bytes="9000000"), [("s", letter(value))])

    assert message.value() == value


@pytest.mark.slow
def test_an_epoch_does_not_end_before_its_letters_are_acknowledged(own_broker):
    """While the broker is away the snapshot waits; when it is back the letters are there."""
    topic = own_broker.topic()
    letters = LettersTopic(link_to(own_broker), topic, never)
    part = RejectsFile(None, lambda: letters).build_part("reject", "reject", None)
    part.write_batch([("s", letter(b"one"))])
    part.snapshot()
    own_broker.node.stop()
    part.write_batch([("s", letter(b"%d" % number)) for number in range(1000)])
    done = threading.Event()
    waiting = threading.Thread(target=lambda: (part.snapshot(), done.set()))

    waiting.start()
    early = done.wait(3.0)
    own_broker.node.start()
    waiting.join()
    part.close()

    assert (early, done.is_set()) == (False, True)
    values = [message.value() for message in own_broker.all_of(topic, 1001)]
    assert values == [b"one", *(b"%d" % number for number in range(1000))]


def test_letters_that_cannot_be_written_keep_the_epoch_from_ending(own_broker):
    """Asked to stop while the broker is away, a run says what was not acknowledged."""
    stop = threading.Event()
    letters = LettersTopic(link_to(own_broker), own_broker.topic(), Patience(stop, 0.3))
    part = RejectsFile(None, lambda: letters).build_part("reject", "reject", None)
    own_broker.node.kill()
    part.write_batch([("s", letter(b"one"))])
    stop.set()

    with pytest.raises(SinkError, match="1 messages were not acknowledged before the end"):
        letters.settle()
    part.close()


@pytest.mark.slow  # librdkafka gives a topic half a minute to become known
def test_a_topic_that_is_gone_is_a_sentence(broker):
    """Dead letters without a topic end the run: what they were is read again."""
    letters = LettersTopic(link_to(broker), "never-made", never)
    letters.send([("s", letter(b"one"))])

    with pytest.raises(SinkError, match=r"kafka topic never-made: .*[Uu]nknown topic"):
        letters.settle()
    letters.close()


def record(store: Store, first: int, count: int = 1, **changes) -> None:
    """Record decisions."""
    outbox = WebhookOutbox([], finding)
    agents = [f"agent-{number % 7}" for number in range(first, first + count)]
    made = [
        make_decision(session=f"s{first + at}", agent=agent, **changes)
        for at, agent in enumerate(agents)
    ]
    store.record(made, outbox, 1.0)


def hand_on(site: Site, store: Store, topic: str, kind: str) -> None:
    """Hand on what there is, and end."""
    taker = Publishing(link_to(site), topic, store, kind)
    with Alerts(store, None, lambda _: None, [taker]) as alerts:
        alerts.wake()
        latest = taker.read(0, 10**6)[-1][0]
        until(lambda: taker.written() == latest, "the topic")


def test_an_alert_is_a_cloud_event_keyed_by_its_agent(broker, store):
    """The value is the finding as it is recorded; the headers say what it is, the key whose."""
    record(store, 3)
    topic = broker.topic()

    hand_on(broker, store, topic, ALERT)

    ((_, body),) = store.alerts_after(0, 10)
    (message,) = broker.all_of(topic, 1)
    decision = make_decision(session="s3", agent="agent-3")
    assert (message.key(), message.value()) == (b"agent-3", body)
    headers = dict(message.headers())
    at = datetime.fromtimestamp(decision.ts_us // 1000 / 1000, UTC)
    assert datetime.fromisoformat(headers.pop("ce_time").decode()) == at
    assert headers == {
        "content-type": b"application/json",
        "ce_specversion": b"1.0",
        "ce_id": f"alert:{decision.id}".encode(),
        "ce_type": b"astray.alert",
        "ce_source": b"/astray",
    }


def test_a_decision_is_a_cloud_event_with_the_whole_decision(broker, store):
    """The value is the decision's record, the id is the decision's own."""
    record(store, 3)
    topic = broker.topic()

    hand_on(broker, store, topic, DECISION)

    (message,) = broker.all_of(topic, 1)
    decision = make_decision(session="s3", agent="agent-3")
    assert message.key() == b"agent-3"
    assert orjson.loads(message.value()) == orjson.loads(orjson.dumps(decision.as_dict()))
    headers = dict(message.headers())
    assert (headers["ce_id"], headers["ce_type"]) == (
        f"decision:{decision.id}".encode(),
        b"astray.decision",
    )


def test_a_suspension_that_nobody_took_is_published_under_its_agent(broker, store):
    """The alert of a failed delivery has another form, and a key all the same."""
    decision = make_decision(agent="agent-9")
    taker = Publishing(link_to(broker), broker.topic(), store, ALERT)

    made = taker._record(1, undelivered("msg_1", suspend_body(decision, 2e9), "gone"))

    assert made.key == b"agent-9"
    assert dict(made.headers)["ce_id"] == b"alert:msg_1"


@pytest.mark.parametrize("kind", [ALERT, DECISION])
def test_a_next_run_goes_on_after_what_is_written(kind, broker, store):
    """Over several runs each is in the topic once, and those of an agent are in order."""
    topic = broker.topic(partitions=3)
    for first, count in ((0, 3), (3, BATCH_MAX + 20), (BATCH_MAX + 23, 1)):
        record(store, first, count)
        hand_on(broker, store, topic, kind)

    messages = broker.all_of(topic, BATCH_MAX + 24)
    ids = [dict(message.headers())["ce_id"] for message in messages]
    assert len(ids) == len(set(ids)) == BATCH_MAX + 24
    whole = [body for _, body in Publishing(link_to(broker), topic, store, kind).read(0, 10**6)]
    for agent in {message.key() for message in messages}:
        own = [message.value() for message in messages if message.key() == agent]
        assert own == [body for body in whole if body in set(own)]


def test_a_crash_between_writing_and_marking_writes_nothing_twice(broker, store):
    """Where the topic is ahead of the mark its end tells, in every partition."""
    topic = broker.topic(partitions=3)
    record(store, 0, 40)
    hand_on(broker, store, topic, ALERT)
    store.set_mark(f"{ALERT}:kafka:{topic}", 11)
    record(store, 40, 5)

    hand_on(broker, store, topic, ALERT)

    ids = [dict(message.headers())["ce_id"] for message in broker.all_of(topic, 45)]
    assert len(ids) == len(set(ids)) == 45


@pytest.mark.slow
def test_alerts_wait_for_a_broker_that_is_away(own_broker, store):
    """Nobody else waits meanwhile, and when it is back each alert is there once."""
    topic = own_broker.topic()
    seen: list[bytes] = []
    record(store, 0, 10)
    taker = Publishing(link_to(own_broker), topic, store, ALERT)
    with Alerts(store, None, seen.append, [taker]) as alerts:
        until(lambda: taker.written() == 10, "the first ones")
        own_broker.node.kill()
        record(store, 10, 10)
        alerts.wake()
        until(lambda: len(seen) == 10, "the watcher")
        time.sleep(2.0)
        own_broker.node.start()
        record(store, 20, 10)
        alerts.wake()
        until(lambda: taker.written() == 30, "the topic")

    ids = [dict(message.headers())["ce_id"] for message in own_broker.all_of(topic, 30)]
    assert len(ids) == len(set(ids)) == 30


@pytest.mark.slow
def test_alerts_that_nobody_takes_are_told_at_the_end(own_broker, store):
    """A run ends in bounded time although the broker is away, says so, and the mark stays."""
    record(store, 0, 2)
    topic = own_broker.topic()
    own_broker.node.kill()
    taker = Publishing(link_to(own_broker), topic, store, ALERT)
    alerts = Alerts(store, None, lambda _: None, [taker])
    alerts.start()
    begun_s = time.monotonic()

    with pytest.raises(SinkError, match=f"kafka topic {topic}: "):
        alerts.stop()

    assert time.monotonic() - begun_s < 8.0
    assert taker.written() == 0
