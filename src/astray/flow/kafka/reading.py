"""A reader's partitions: one consumer for all of them, a chunk for each that has messages."""

import threading
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from astray.errors import SourceError
from astray.events import Chunk
from astray.flow.kafka.address import partition_name, topic_name
from astray.flow.kafka.link import Link, is_hopeless
from astray.flow.kafka.partition import EARLIEST, Partition, Wanted
from astray.flow.reading import Reading
from astray.flow.sources import Places, Source, reader_of

_MESSAGES_MAX = 20_000
"""So many messages are handed over at once; their bytes are bounded by what is fetched ahead."""

_AGAIN_S = 1.0
_MEASURE_EVERY_S = 1.0
_TELL_EVERY_S = 5.0
_TOLD_S = _LEFT_S = 2.0


class ReaderSource(Source):
    """The partitions that are a reader's by their names; more may come while it runs.

    The places have a line for each topic, too: of how many partitions the reader knew. A
    partition beyond them is new, also where it came while nobody was reading, and is read
    from its beginning.
    """

    def __init__(
        self,
        reader: str,
        link: Link,
        options: dict[str, Any],
        wanted: Wanted,
        reading: Reading,
        places: Places,
    ) -> None:
        super().__init__(reader, reading)
        self._link, self._options, self._wanted = link, options, wanted
        self._before = places
        self._known = {
            topic: places.get(topic_name(topic), ("", count, 0))[1]
            for topic, count in wanted.counts.items()
        }
        self._counts: dict[str, int] = {}
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._unsettled: list[Partition] = []
        self._gone: list[Partition] = []
        self._consumer: Consumer | None = None
        self._again_s = self._measured_s = self._told_s = 0.0
        self._told: Places = {}
        self._telling = 0

    def parts(self) -> Sequence[Source]:
        """Return its partitions."""
        return tuple(self._partitions.values())

    def poll(self) -> None:
        """Return nothing: the partitions are asked."""
        raise NotImplementedError

    def next_chunks(self) -> list[Chunk]:
        """Return a chunk for each partition that has messages."""
        if self._link.fault:
            raise SourceError(self._link.fault)
        if self._counts != self._wanted.counts:
            self._look()
        self.is_away = self._consumer is None or self._link.lost.is_set()
        if self._consumer is None:
            return []
        now_s = time.monotonic()
        if (self._gone or self._unsettled) and now_s >= self._again_s:
            self._settle(self._consumer, now_s)
        if self._link.lost.is_set():  # nobody can say that there is no more
            for partition in self._partitions.values():
                partition.wait()
        self._take(self._consumer.consume(_MESSAGES_MAX, 0))
        if now_s - self._measured_s > _MEASURE_EVERY_S:
            self._measured_s = now_s
            for partition in self._partitions.values():
                partition.measure(self._consumer)
        return [chunk for part in self._partitions.values() for chunk in part.next_chunks()]

    def _look(self) -> None:
        """Take up the partitions of this reader that it does not have yet."""
        for topic, count in dict(self._wanted.counts).items():
            for number in range(self._counts.get(topic, 0), count):
                name = partition_name(topic, number)
                if reader_of(name) == self.name:
                    _, offset, _ = self._before.get(name, ("", -1, 0))
                    found = Partition(topic, number, offset, self.reading)
                    self._partitions[topic, number] = found
                    self._unsettled.append(found)
            self._counts[topic] = count
        if self._partitions and self._consumer is None:
            self._consumer = Consumer({**self._options, "on_commit": self._was_told})

    def _settle(self, consumer: Consumer, now_s: float) -> None:
        """Find out where to begin or to go on, and read there; without an answer, try again."""
        try:
            while self._gone:
                self._link.say(self._gone[0].bridge(consumer, self._wanted.on_gap))
                self._unsettled.append(self._gone.pop(0))
            for partition in self._unsettled:
                if partition.offset < 0:
                    partition.begin(consumer, self._start_of(partition))
        except KafkaException as error:
            self._suffer(error.args[0], now_s)
            return
        self._unsettled.clear()
        consumer.assign([part.at for part in self._partitions.values() if part.offset >= 0])

    def _start_of(self, partition: Partition) -> str:
        is_new = partition.number >= self._known[partition.topic]
        return EARLIEST if is_new else self._wanted.start

    def _suffer(self, error: KafkaError, now_s: float) -> None:
        """Wait after an error, or give up where that is of no use."""
        if is_hopeless(error):
            raise SourceError(f"kafka {self._link.servers}: {self._link.why(error)}")
        self._link.say(f"kafka {self._link.servers}: {self._link.why(error)}; trying again")
        self._again_s = now_s + _AGAIN_S

    def _take(self, messages: list[Message]) -> None:
        """Put messages into their partitions' inboxes, in order."""
        if not messages:
            return
        if any(map(Message.error, messages)):
            messages = list(self._without_errors(messages))
        if len(self._partitions) == 1:
            for partition in self._partitions.values():
                partition.inbox = messages
            return
        for topic, of_topic in groupby(messages, Message.topic):
            for number, run in groupby(of_topic, Message.partition):
                self._partitions[topic, number].inbox.extend(run)  # type: ignore[index] # messages have both

    def _without_errors(self, messages: Sequence[Message]) -> Iterator[Message]:
        for message in messages:
            error = message.error()
            if error is None:
                yield message
            else:
                self._heard(message, error)

    def _heard(self, message: Message, error: KafkaError) -> None:
        partition = self._partitions.get((message.topic() or "", message.partition() or 0))
        if partition is None or error.code() != KafkaError._AUTO_OFFSET_RESET:
            self._suffer(error, time.monotonic())
        elif partition not in self._gone:
            self._gone.append(partition)  # seen to when what came before it is handed over

    def places(self) -> Places:
        """Return the places of the partitions, and how many are known of each topic."""
        found = {
            part.name: ("", part.offset, 0)
            for part in self._partitions.values()
            if part.offset >= 0
        }
        if not any(part.offset < 0 for part in self._partitions.values()):
            found |= {topic_name(topic): ("", n, 0) for topic, n in self._counts.items()}
        return found

    def kept(self) -> None:
        """Tell the group how far this reader has come, now and then, without waiting.

        Of two that are on their way at once, either may arrive last.
        """
        if not self._telling and time.monotonic() - self._told_s > _TELL_EVERY_S:
            self._tell()

    def _tell(self) -> None:
        places = self.places()
        if self._consumer is None or places == self._told:
            return
        self._told_s, self._told = time.monotonic(), places
        self._telling += 1
        at = [part.at for part in self._partitions.values() if part.offset >= 0]
        try:
            self._consumer.commit(offsets=at, asynchronous=True)
        except KafkaException as error:
            self._was_told(error.args[0], at)

    def _was_told(self, error: KafkaError | None, _: Sequence[TopicPartition]) -> None:
        """Hear what has become of telling the group; called by librdkafka."""
        self._telling -= 1
        if error is not None:
            self._told = {}
            group = self._options["group.id"]
            self._link.say(f"kafka group {group}: cannot be told: {self._link.why(error)}")

    def close(self) -> None:
        """Tell the group for the last time, and leave; for both a bounded while is waited.

        librdkafka leaves only when the group has answered, which takes a minute where a broker
        hangs. Nobody is in the group, so nothing is lost by going before.
        """
        if self._consumer is None:
            return
        until_s = time.monotonic() + _TOLD_S
        self._hear(self._consumer, until_s)
        self._tell()
        self._hear(self._consumer, until_s)
        leaving = threading.Thread(target=self._consumer.close, daemon=True)
        leaving.start()
        leaving.join(_LEFT_S)
        self._consumer = None

    def _hear(self, consumer: Consumer, until_s: float) -> None:
        """Wait for what has become of telling the group."""
        while self._telling and time.monotonic() < until_s:
            consumer.poll(0.05)
