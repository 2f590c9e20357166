"""Reading from Kafka: every message once, in order, from any place on, and never a silent gap."""

import itertools
import pickle
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Consumer, TopicPartition
from kafka_topics import Run, values_of

from astray.errors import SourceError
from astray.events import Event, decode, encode_event
from astray.events.schema import Reason
from astray.flow.kafka.address import partition_name
from astray.flow.sources import reader_of
from astray.flow.steps import rejects_of
from running import until
from strategies import NOW_US

EVENT = encode_event(Event(ts_us=NOW_US - 1_000_000, agent="a", action="b"))


def numbered(first: int, end: int) -> list[bytes]:
    """Return values that tell their order."""
    return [b'{"n":%d}' % number for number in range(first, end)]


def decoded_of(chunks):
    """Return the rows and the rejects of chunks as the dataflow has them."""
    decoded = [decode(chunk, NOW_US) for chunk in chunks]
    rejects = [reject for one in decoded for _, (_, reject) in rejects_of(one)]
    return sum(len(one.rows) for one in decoded), rejects


def test_resuming_at_any_message_gives_the_rest(protocol):
    """From every place on exactly the rest comes."""
    topic = protocol.topic()
    values = numbered(0, 12)
    protocol.put(topic, values)
    with Run(protocol, topic) as first:
        assert first.read(12) == values
        places = first.places()
    (at,) = [place for place in places if partition_name(topic, 0) in place]

    for offset in range(12):
        at[partition_name(topic, 0)] = ("", offset, 0)
        with Run(protocol, topic, places=places) as run:
            assert run.read(12 - offset) == values[offset:]


def test_a_snapshot_between_polls_is_where_the_next_run_goes_on(broker):
    """Wherever a run stops between two polls, the one after it reads the rest."""
    topic = broker.topic(partitions=3)
    for number in range(3):
        broker.put(topic, numbered(number * 100_000, number * 100_000 + 20_000), partition=number)

    with Run(broker, topic) as first:
        chunks = first.until(lambda found: len(values_of(found)) > 10_000)
        places = first.places()
    with Run(broker, topic, places=places) as second:
        chunks = second.until(lambda found: len(values_of(found)) >= 60_000, chunks)

    for number in range(3):
        values = values_of(chunks, partition_name(topic, number))
        assert values == numbered(number * 100_000, number * 100_000 + 20_000)


def test_each_partition_is_a_source_of_its_own(broker):
    """Partitions of two topics come under their own names, each in its order."""
    one, two = broker.topic(partitions=2), broker.topic(partitions=18)
    places = [(one, 0), (one, 1), (two, 0), (two, 17)]
    for number, (topic, partition) in enumerate(places):
        broker.put(topic, numbered(number * 1000, number * 1000 + 500), partition=partition)

    with Run(broker, one, two) as run:
        chunks = run.until(lambda found: len(values_of(found)) >= 2000)

    assert {chunk.source for chunk in chunks} == {partition_name(*place) for place in places}
    assert set(run.names) >= {partition_name(*place) for place in places}
    assert len(run.names) == 20
    for number, place in enumerate(places):
        values = values_of(chunks, partition_name(*place))
        assert values == numbered(number * 1000, number * 1000 + 500)


@pytest.mark.slow
def test_partitions_of_one_reader_are_kept_apart(broker):
    """However the messages of its partitions come mixed, a reader has each in its order."""
    topic = broker.topic(partitions=11)
    for first, number in itertools.product(range(0, 900, 100), (1, 10)):
        values = numbered(number * 1000 + first, number * 1000 + first + 100)
        broker.put(topic, values, partition=number)  # and nothing else in its batch
    mixing = {"fetch.message.max.bytes": "1000"}  # so that few come of one before the other's

    with Run(broker, topic, config=mixing) as run:
        first = run.until(lambda found: found)
        time.sleep(1.0)  # much is fetched before the next is asked for
        chunks = run.until(lambda found: len(values_of(found)) >= 1800, first)

    assert reader_of(partition_name(topic, 1)) == reader_of(partition_name(topic, 10))
    for number in (1, 10):
        values = values_of(chunks, partition_name(topic, number))
        assert values == numbered(number * 1000, number * 1000 + 900)


WITH_BREAKS = EVENT.replace(b",", b",\n").replace(b"{", b"{\r\n")
ODD = [
    pytest.param(WITH_BREAKS, None, id="a value in several lines"),
    pytest.param(EVENT + b"\n", None, id="a value with a break at its end"),
    pytest.param(b"\n\n" + EVENT, None, id="a value with breaks before it"),
    pytest.param(EVENT.replace(b'"a"', b'"a\nb"'), Reason.NOT_JSON, id="a break inside a string"),
    pytest.param(None, Reason.TOMBSTONE, id="a tombstone"),
    pytest.param(b"", Reason.NOT_JSON, id="an empty value"),
    pytest.param(b" \t\r\n \n", Reason.NOT_JSON, id="white space"),
    pytest.param(b" \t" * 300, Reason.NOT_JSON, id="blanks"),
    pytest.param(b"\v" * 300, Reason.NOT_JSON, id="white space to Python alone"),
    pytest.param(b"\0\0\0\0\7" + EVENT, Reason.SCHEMA_FRAMED, id="framed for a schema registry"),
    pytest.param(b"\0\0\0\0\7\n\xff", Reason.SCHEMA_FRAMED, id="framed, and not JSON within"),
    pytest.param(b"\0\0\1\0\0", Reason.SCHEMA_FRAMED, id="a frame with nothing in it"),
    pytest.param(b"\0\0\0\7", Reason.NOT_JSON, id="too short for a frame"),
    pytest.param(b"\1" + bytes(range(256)) * 4, Reason.NOT_JSON, id="binary"),
    pytest.param(b"\n".join([EVENT] * 3), Reason.NOT_JSON, id="three events in one value"),
    pytest.param(
        EVENT[:-1] + b',"x":"%s"}' % (b"y" * (1 << 20)), Reason.OVERSIZED, id="over 1 MiB"
    ),
]


@pytest.mark.parametrize(("value", "reason"), ODD)
def test_every_value_is_one_event_or_one_reject(value, reason, broker):
    """Whatever is in a value, it counts once, with its own offset, as it came."""
    topic = broker.topic(max_message_bytes="9000000")
    broker.put(topic, [EVENT, value, EVENT, value, EVENT])
    good, bad = (5, 0) if reason is None else (3, 2)

    with Run(broker, topic) as run:
        chunks = run.until(lambda found: sum(decoded_of([c])[0] for c in found) >= good)
        chunks = run.until(lambda found: len(values_of(found)) >= 5, chunks)
        rows, rejects = decoded_of(chunks)

    assert (rows, len(rejects)) == (good, bad)
    assert [(r.reason, r.offset, r.raw) for r in rejects] == [
        (reason, offset, value or b"") for offset in (1, 3)[:bad]
    ]
    assert all(r.is_tombstone is (value is None) for r in rejects)


def test_a_reject_has_the_key_and_the_headers_of_its_message(broker):
    """What surrounds a value comes along with a reject, and stays in this process."""
    topic = broker.topic()
    headers = [("trace", b"\xff\0"), ("trace", None), ("none", b"")]
    broker.put(topic, [EVENT])
    broker.put(topic, [b"no event"], key=b"\xffkey", headers=headers, timestamp=1_700_000_000_123)

    with Run(broker, topic) as run:
        chunks = run.until(lambda found: len(values_of(found)) >= 2)
        _, (reject,) = decoded_of(chunks)
        sent = pickle.loads(pickle.dumps(chunks))  # noqa: S301 - made right here

    assert (reject.topic, reject.partition, reject.offset) == (topic, 0, 1)
    assert (reject.message_key, reject.headers) == (b"\xffkey", tuple(headers))
    assert reject.timestamp_ms == 1_700_000_000_123
    assert [chunk.data for chunk in sent] == [chunk.data for chunk in chunks]
    assert pickle.loads(pickle.dumps(reject)) == reject  # noqa: S301 - the same


@pytest.mark.parametrize(
    ("on_gap", "lost", "rest"),
    [("earliest", 20, numbered(30, 40)), ("latest", 30, [])],
)
def test_a_gap_is_bridged_where_that_is_wanted_and_counted(on_gap, lost, rest, broker, caplog):
    """Messages that retention has removed are said and counted, and the rest is read."""
    topic = broker.topic()
    broker.put(topic, numbered(0, 40))
    places = places_at(broker, topic, 10)
    broker.delete_before(topic, 30)

    with Run(broker, topic, places=places, on_gap=on_gap) as run:
        found = run.until(lambda _: "left out" in caplog.text)
        broker.put(topic, numbered(40, 45))
        found = run.until(lambda chunks: numbered(44, 45)[0] in values_of(chunks), found)
        backlog = run.reading.backlogs[partition_name(topic, 0)]

    assert values_of(found) == rest + numbered(40, 45)
    assert backlog.lost == lost
    assert (
        f"{partition_name(topic, 0)}: offset 10 is to be read next and gone: there are 30 to 39; 20 messages are lost"
        in caplog.text
    )


def places_at(site, topic: str, offset: int):
    """Return the states of readers that have come to an offset."""
    with Run(site, topic) as run:
        run.until(lambda found: len(values_of(found)) >= offset)
        places = run.places()
    for place in places:
        if partition_name(topic, 0) in place:
            place[partition_name(topic, 0)] = ("", offset, 0)
    return places


def test_a_gap_stops_the_run_with_all_there_is_to_know(broker):
    """By default nothing is left out: a sentence says what is gone and how to go on."""
    topic = broker.topic()
    broker.put(topic, numbered(0, 40))
    places = places_at(broker, topic, 10)
    broker.delete_before(topic, 30)

    with Run(broker, topic, places=places) as run, pytest.raises(SourceError) as caught:
        run.until(lambda _: False)

    assert str(caught.value) == (
        f"kafka:{topic}/0: offset 10 is to be read next and gone: there are 30 to 39; "
        "20 messages are lost. To go on with what is there, set on_gap of [source.kafka] "
        'to "earliest" or "latest"'
    )


def test_a_topic_that_was_made_anew_is_a_gap(broker):
    """A place beyond the end is no place: the topic is another one."""
    topic = broker.topic()
    broker.put(topic, numbered(0, 5))
    places = places_at(broker, topic, 5)
    for place in places:
        if partition_name(topic, 0) in place:
            place[partition_name(topic, 0)] = ("", 1000, 0)

    with Run(broker, topic, places=places) as run, pytest.raises(SourceError) as caught:
        run.until(lambda _: False)
    with Run(broker, topic, places=places, on_gap="earliest") as run:
        values = run.read(5)

    assert "offset 1,000 is to be read next and the partition ends at 5: the topic" in str(
        caught.value
    )
    assert values == numbered(0, 5)


def test_new_partitions_are_noticed_and_read_from_their_beginning(broker, caplog):
    """A topic that grows is read whole, whatever `start` says of the partitions there were."""
    topic = broker.topic()
    broker.put(topic, numbered(0, 3))

    with Run(broker, topic, start="latest", partitions_every_s=0.1) as run:
        for _ in range(50):
            run.polled()
        broker.put(topic, numbered(3, 6))
        broker.grow(topic, 4)
        for number in range(1, 4):
            broker.put(topic, numbered(number * 10, number * 10 + 3), partition=number)
        chunks = run.until(lambda found: len(values_of(found)) >= 12)

    assert values_of(chunks, partition_name(topic, 0)) == numbered(3, 6)
    for number in range(1, 4):
        values = values_of(chunks, partition_name(topic, number))
        assert values == numbered(number * 10, number * 10 + 3)
    assert f"kafka:{topic}: new partitions are read: " in caplog.text


def test_partitions_that_came_while_nobody_read_are_new(broker):
    """A partition that a resumed run does not know is read from its beginning, too."""
    topic = broker.topic()
    broker.put(topic, numbered(0, 3))
    with Run(broker, topic, start="latest") as run:
        run.until(lambda _: any(partition_name(topic, 0) in place for place in run.places()))
        places = run.places()
    broker.grow(topic, 2)
    broker.put(topic, numbered(10, 13), partition=1)
    broker.put(topic, numbered(3, 5))

    with Run(broker, topic, start="latest", places=places) as run:
        chunks = run.until(lambda found: len(values_of(found)) >= 5)

    assert values_of(chunks, partition_name(topic, 1)) == numbered(10, 13)
    assert values_of(chunks, partition_name(topic, 0)) == numbered(3, 5)


@pytest.mark.parametrize("number", [0, 3, 11, 40])
def test_the_reader_of_a_partition_is_the_same_for_ever(number):
    """A partition's reader does not depend on how many partitions there are."""
    assert partition_name("t", number) == f"kafka:t/{number}"
    assert (
        reader_of(partition_name("t", number))
        == {0: "reader-12", 3: "reader-15", 11: "reader-14", 40: "reader-00"}[number]
    )


def test_a_run_may_start_at_a_time(broker):
    """From a time on: the first message at or after it and all that follow."""
    topic = broker.topic()
    at = datetime(2026, 11, 1, tzinfo=UTC)
    for number in range(5):
        stamp = int((at + timedelta(hours=number)).timestamp() * 1000)
        broker.put(topic, numbered(number, number + 1), timestamp=stamp)

    with Run(broker, topic, start="2026-11-01T03:30:00+01:00") as run:  # 2:30 of those
        after = run.read(2)
    with Run(broker, topic, start="2027-01-01T00:00:00Z") as run:
        run.until(lambda _: any(partition_name(topic, 0) in place for place in run.places()))
        broker.put(topic, numbered(5, 6))
        later = run.read(1)

    assert after == numbered(3, 5)
    assert later == numbered(5, 6)


def test_the_latest_is_settled_once(broker):
    """A run that began at the latest goes on there after a restart: nothing between is lost."""
    topic = broker.topic()
    broker.put(topic, numbered(0, 3))
    with Run(broker, topic, start="latest") as run:
        run.until(lambda _: any(partition_name(topic, 0) in place for place in run.places()))
        places = run.places()
    broker.put(topic, numbered(3, 6))

    with Run(broker, topic, start="latest", places=places) as run:
        values = run.read(3)

    assert values == numbered(3, 6)


def test_the_group_is_told_how_far_the_readers_are(broker):
    """Tools that watch the lag of a group see the offsets, at the latest when a run ends."""
    topic = broker.topic(partitions=2)
    broker.put(topic, numbered(0, 7))
    broker.put(topic, numbered(0, 4), partition=1)

    with Run(broker, topic, group="watched") as run:
        run.until(lambda found: len(values_of(found)) >= 1)
        run.places()  # tells, and the next time is seconds away
        run.until(lambda _: sum(b.position for b in run.reading.backlogs.values()) == 11)
    asking = Consumer({**broker.client, "group.id": "watched"})
    told = asking.committed([TopicPartition(topic, 0), TopicPartition(topic, 1)], timeout=10)
    asking.close()

    assert [place.offset for place in told] == [7, 4]


def test_the_backlog_of_every_partition_is_known(broker):
    """How far each partition has been read, and where it ends, stands where metrics look."""
    topic = broker.topic(partitions=2)
    broker.put(topic, numbered(0, 9))

    with Run(broker, topic) as run:
        run.read(9)
        backlogs = run.reading.backlogs
        until(lambda: (run.polled(), backlogs[partition_name(topic, 0)].end == 9)[1], "the end")

    assert {name: (b.position, b.end, b.lag, b.lost) for name, b in backlogs.items()} == {
        partition_name(topic, 0): (9, 9, 0, 0),
        partition_name(topic, 1): (0, 0, 0, 0),
    }


@pytest.mark.slow
def test_a_reader_leaves_a_broker_that_hangs(own_broker):
    """The group cannot be told, for which librdkafka would wait a minute."""
    topic = own_broker.topic()
    own_broker.put(topic, numbered(0, 7))
    with Run(own_broker, topic, group="watched") as run:
        run.read(7)
        own_broker.node.hang()
        begun_s = time.monotonic()

    assert time.monotonic() - begun_s < 30.0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_broker_that_is_away_is_waited_for(number, own_broker, caplog):
    """Nothing is lost or repeated by a broker that goes and comes, and people hear of both once."""
    topic = own_broker.topic()
    own_broker.put(topic, numbered(0, 1000))
    with Run(own_broker, topic) as run:
        chunks = run.until(lambda found: len(values_of(found)) >= 1000)
        own_broker.node.end(number)
        away_s = time.monotonic() + 3.0
        chunks = run.until(lambda _: time.monotonic() > away_s, chunks)
        run.until(lambda _: "no broker answers" in caplog.text)
        own_broker.node.start()
        own_broker.put(topic, numbered(1000, 2000))
        chunks = run.until(lambda found: len(values_of(found)) >= 2000, chunks)
        run.until(lambda _: "answers again" in caplog.text)

    assert values_of(chunks) == numbered(0, 2000)
    assert caplog.text.count("no broker answers") == caplog.text.count("answers again") == 1
