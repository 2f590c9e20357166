"""A partition being read: where to begin, how far it has come, what is gone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from confluent_kafka import OFFSET_INVALID, Consumer, Message, TopicPartition

from astray.errors import SourceError
from astray.events import Chunk
from astray.flow.kafka.address import partition_name
from astray.flow.kafka.messages import chunk_of
from astray.flow.openfile import Place
from astray.flow.progress import Backlog
from astray.flow.reading import Reading
from astray.flow.sources import Source

_ANSWER_S = 5.0
EARLIEST, LATEST, STOP = "earliest", "latest", "stop"


@dataclass(frozen=True)
class Wanted:
    """Which partitions there are, and where to begin with those that have no place."""

    start: str
    on_gap: str
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Gap:
    """Messages that are gone: `low` and `high` are the first there is and the next to come."""

    wanted: int
    low: int
    high: int

    @property
    def what(self) -> str:
        """Return what is missing, for people."""
        if self.wanted > self.high:
            return (
                f"offset {self.wanted:,} is to be read next and the partition ends at "
                f"{self.high:,}: the topic has been made anew or cut, and how much of it is "
                "lost nobody can tell"
            )
        return (
            f"offset {self.wanted:,} is to be read next and gone: there are {self.low:,} to "
            f"{self.high - 1:,}; {self.low - self.wanted:,} messages are lost"
        )


class Partition(Source):
    """A partition of a topic; whoever reads it puts its messages into `inbox`.

    `offset` is that of the next message, negative while it is not known where to begin.
    """

    def __init__(self, topic: str, number: int, offset: int, reading: Reading) -> None:
        super().__init__(partition_name(topic, number), reading)
        self.topic, self.number, self.offset = topic, number, offset
        self.inbox: list[Message] = []
        self.backlog = reading.backlogs.setdefault(self.name, Backlog())
        self.backlog.position = max(offset, 0)

    @property
    def at(self) -> TopicPartition:
        """Return the place of the next message as librdkafka wants it."""
        return TopicPartition(self.topic, self.number, self.offset)

    def poll(self) -> list[Chunk]:
        """Return what has come in as one chunk."""
        messages, self.inbox = self.inbox, []
        if not messages:
            return []
        self.offset = (messages[-1].offset() or 0) + 1
        self.backlog.position = self.offset
        return [chunk_of(self.name, messages)]

    def place(self) -> Place:
        """Return the place of the next message."""
        return Place(offset=self.offset)

    def patience(self) -> timedelta:
        """Return none at the partition's end; a broker that is slow is given time."""
        at_end = 0 <= self.backlog.end <= self.offset
        return timedelta() if at_end else super().patience()

    def measure(self, consumer: Consumer) -> None:
        """Take note of where the partition ends, as far as the consumer knows."""
        edges = consumer.get_watermark_offsets(self.at, cached=True)
        if edges is not None and edges[1] != OFFSET_INVALID:
            self.backlog.end = max(edges[1], self.offset)

    def begin(self, consumer: Consumer, start: str) -> None:
        """Settle where to begin, once and for all: a restart must not choose anew.

        Raises
        ------
        KafkaException
            No broker has answered in time.
        """
        low, high = self._edges(consumer)
        if start == EARLIEST:
            self.offset = low
        elif start == LATEST:
            self.offset = high
        else:
            self.offset = self._at_time(consumer, start, high)
        self.backlog.position, self.backlog.end = self.offset, high

    def _at_time(self, consumer: Consumer, start: str, high: int) -> int:
        since_ms = round(datetime.fromisoformat(start).timestamp() * 1000)
        asked = [TopicPartition(self.topic, self.number, since_ms)]
        (found,) = consumer.offsets_for_times(asked, timeout=_ANSWER_S)
        return found.offset if found.offset >= 0 else high

    def _edges(self, consumer: Consumer) -> Sequence[int]:
        return consumer.get_watermark_offsets(self.at, timeout=_ANSWER_S) or (0, 0)

    def bridge(self, consumer: Consumer, on_gap: str) -> str:
        """Go on where messages are, if those to be read next are gone; return what was lost.

        Raises
        ------
        SourceError
            Going on is not wanted.
        KafkaException
            No broker has answered in time.
        """
        low, high = self._edges(consumer)
        if low <= self.offset <= high:
            return ""
        gap = Gap(self.offset, low, high)
        if on_gap == STOP:
            raise SourceError(
                f"{self.name}: {gap.what}. To go on with what is there, set on_gap of "
                '[source.kafka] to "earliest" or "latest"',
                lasting=True,
            )
        goes_on = low if on_gap == EARLIEST else high
        lost = max(goes_on - self.offset, 0)
        self.offset = self.backlog.position = goes_on
        self.backlog.lost += lost
        return f"{self.name}: {gap.what}; going on at {goes_on:,}, {lost:,} are left out"
