"""Topics of alerts and of decisions: each message once, keyed by agent, as CloudEvents.

The case store numbers what it records, and a mark in it tells what a topic has. What was
written and not yet marked when a run was killed stands at the end of the topic: it is
known there by its id.
"""

import threading
from collections.abc import Callable
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from astray.errors import SinkError
from astray.events.clock import iso_exact
from astray.flow.alerting import ALERT, BATCH_MAX, DECISION, STOP_S, Found
from astray.flow.kafka.letters import Patience
from astray.flow.kafka.link import Link, is_hopeless, partitions_of
from astray.flow.kafka.producing import Producing, Record
from astray.store import Store

_ANSWER_S = 2.0
_POLLS_MAX = 200
_POLL_S = 0.1
_SHARE_OF_STOP = 0.8
_FOREVER_S = float("inf")

Describe = Callable[[dict[str, Any]], tuple[str, str, int]]
"""Tells of a body which agent it is about, its id, and its time in microseconds."""


class Publishing:
    """Hands what the store records on to a topic; see `astray.flow.alerting.Taker`."""

    def __init__(self, link: Link, topic: str, store: Store, kind: str) -> None:
        self._link, self._topic, self._store, self.kind = link, topic, store, kind
        self._describe = _KINDS[kind]
        self._read = store.alerts_after if kind == ALERT else store.decisions_after
        self.mark = f"{kind}:kafka:{topic}"
        self._ending = threading.Event()
        self._given_up = Patience(self._ending, STOP_S * _SHARE_OF_STOP)
        self._producing: Producing | None = None
        self._known: set[bytes] = set()

    def written(self) -> int:
        """Return the number of the last that is known to be in the topic."""
        return self._store.mark(self.mark)

    def read(self, after: int, limit: int) -> Found:
        """Return what the store has recorded after a number."""
        return self._read(after, limit)

    def take(self, found: Found) -> None:
        """Write what was found, wait until it is acknowledged, and mark it.

        Raises
        ------
        SinkError
            It cannot be written; it is tried again.
        """
        try:
            self._write(found)
        except SinkError:
            self.close()  # with another producer next time, and after another look
            raise
        self._store.set_mark(self.mark, found[-1][0])

    def _write(self, found: Found) -> None:
        if self._producing is None:
            self._link.fault = ""
            self._known = self._at_the_end()
            self._producing = Producing(self._link, self._given_up)
        records = [self._record(number, body) for number, body in found]
        self._producing.send([r for r in records if dict(r.headers)["ce_id"] not in self._known])
        self._producing.settle(_FOREVER_S)
        self._known.clear()

    def end(self) -> None:
        """Have it give up after a while."""
        self._ending.set()

    def close(self) -> None:
        """Let go of what is not acknowledged."""
        if self._producing is not None:
            self._producing.close()
        self._producing = None

    def _record(self, number: int, body: bytes) -> Record:
        agent, uid, time_us = self._describe(orjson.loads(body))
        headers = {
            "content-type": "application/json",
            "ce_specversion": "1.0",
            "ce_id": f"{self.kind}:{uid or number}",
            "ce_type": f"astray.{self.kind}",
            "ce_source": "/astray",
            "ce_time": iso_exact(time_us),
        }
        encoded = tuple((name, value.encode()) for name, value in headers.items())
        return Record(self._topic, agent.encode() or None, body, encoded)

    def _at_the_end(self) -> set[bytes]:
        """Return the ids of the last messages in every partition of the topic.

        No more than a batch can be written and not marked.
        """
        options = self._link.client(
            group_id="astray", enable_auto_commit="false", enable_partition_eof="true"
        )
        consumer = Consumer(options)
        try:
            return self._ids(consumer)
        except KafkaException as error:
            reason = f"kafka topic {self._topic}: {self._link.why(error.args[0])}"
            if not is_hopeless(error.args[0]):
                raise SinkError(reason) from None
            self._link.say(f"{reason}; after a crash some may be in it twice")
            return set()
        finally:
            consumer.close()

    def _ids(self, consumer: Consumer) -> set[bytes]:
        count = partitions_of(self._link, consumer, [self._topic], _ANSWER_S).get(self._topic, 0)
        left: dict[int | None, TopicPartition] = {}
        for number in range(count):
            at = TopicPartition(self._topic, number)
            low, high = consumer.get_watermark_offsets(at, timeout=_ANSWER_S) or (0, 0)
            at.offset = max(low, high - BATCH_MAX)
            left[number] = at
        consumer.assign(list(left.values()))
        found: set[bytes] = set()
        for _ in range(_POLLS_MAX):
            if not left:
                return found
            for message in consumer.consume(BATCH_MAX, _POLL_S):
                error = message.error()
                headers: Any = dict(message.headers() or ())
                if error is None:
                    found.add(headers.get("ce_id", b""))
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.pop(message.partition(), None)
                else:
                    raise KafkaException(error)
        raise SinkError(f"kafka topic {self._topic}: its end cannot be read")


def _of_alert(body: dict[str, Any]) -> tuple[str, str, int]:
    uid = body.get("metadata", {}).get("uid", "")
    first: dict[str, Any] = next(iter(body.get("evidences", ())), {})
    agent = body.get("unmapped", {}).get("agent") or first.get("actor", {}).get("app_uid", "")
    return agent, uid, body.get("time", 0) * 1000


def _of_decision(body: dict[str, Any]) -> tuple[str, str, int]:
    return body["agent"], body["id"], body["ts_us"]


_KINDS: dict[str, Describe] = {ALERT: _of_alert, DECISION: _of_decision}
