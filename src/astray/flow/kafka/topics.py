"""Topics to be read: how many partitions they have, now and later."""

import logging
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException

from astray.config_kafka import KafkaSource
from astray.flow.background import Background
from astray.flow.kafka.link import Link, partitions_of
from astray.flow.kafka.partition import Wanted
from astray.flow.kafka.reading import ReaderSource
from astray.flow.reading import Reading
from astray.flow.sources import Places

_log = logging.getLogger("astray.kafka")

_LOST_EVERY_S = 0.5
_ANSWER_S = 5.0


def consuming(link: Link, config: KafkaSource, **more: Any) -> dict[str, Any]:
    """Return the configuration of a consumer.

    What it has fetched and not handed over is bounded, and asked for again soon after there
    is room: librdkafka's own second would be a second without events.
    """
    return link.client(
        group_id=config.group,
        enable_auto_commit="false",
        enable_auto_offset_store="false",
        auto_offset_reset="error",
        allow_auto_create_topics="false",
        queued_max_messages_kbytes="8192",
        fetch_queue_backoff_ms="20",
        **more,
    )


class Topics(Background):
    """The topics of a run, as a feed of its readers; while entered it looks for new partitions.

    `counts` are the partitions of each topic; a number that has gone up is seen by readers.
    """

    def __init__(
        self, link: Link, config: KafkaSource, counts: dict[str, int], reading: Reading
    ) -> None:
        super().__init__("astray-kafka", _ANSWER_S)
        self.link, self.config, self.counts, self.reading = link, config, counts, reading

    def source(self, reader: str, places: Places) -> ReaderSource:
        """Return the source of a reader: the partitions whose names are the reader's."""
        wanted = Wanted(self.config.start, self.config.on_gap, self.counts)
        options = consuming(self.link, self.config)
        return ReaderSource(reader, self.link, options, wanted, self.reading, places)

    def _wake(self) -> None:
        self.link.lost.set()

    def _run(self) -> None:
        consumer = Consumer(consuming(self.link, self.config))
        while not self._ending.is_set():
            self.link.lost.wait(self.config.partitions_every_s)
            if not self._ending.is_set():
                self._look(consumer)
            if self.link.lost.is_set():
                self._ending.wait(_LOST_EVERY_S)
        consumer.close()

    def _look(self, consumer: Consumer) -> None:
        try:
            found = partitions_of(self.link, consumer, self.counts, _ANSWER_S)
        except KafkaException:  # what keeps it is heard of when it is polled
            found = {}
        consumer.poll(0)
        self._take(found)

    def _take(self, found: Mapping[str, int]) -> None:
        for topic, before in self.counts.items():
            count = found.get(topic, 0)
            if count > before:
                new = f"{before}" if count == before + 1 else f"{before} to {count - 1}"
                _log.warning("kafka:%s: new partitions are read: %s", topic, new)
                self.counts[topic] = count
