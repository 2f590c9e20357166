"""Writing to topics so that nothing is lost: what is not acknowledged is written again.

Only what the brokers have acknowledged counts as written. What they refuse for good is an
error; what they do not answer is tried until they do or the process ends.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from astray.errors import SinkError
from astray.flow.kafka.link import Link, is_hopeless
from astray.flow.kafka.messages import Headers

_WAITING_MAX = 20_000
_POLL_S = 0.05
_CLOSE_S = 1.0
_SHORT_BYTES = 1 << 16
_REFUSALS_MAX = 3


@dataclass(frozen=True, slots=True)
class Record:
    """A message to be written; `shorter`, where there is one, is for brokers that refuse it.

    `refused` is how often they have refused it for its length, or for its neighbours'.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    shorter: "Callable[[], Record] | None" = None
    refused: int = 0

    @property
    def less(self) -> "Record | None":
        """Return what to write where this was refused for its length; None: there is nothing.

        Messages travel together, so a short one is refused for a long one beside it.
        """
        if len(self.value or b"") < _SHORT_BYTES and self.refused < _REFUSALS_MAX:
            return replace(self, refused=self.refused + 1)
        return self.shorter() if self.shorter else None


class Producing:
    """Writes to one cluster; for one thread. `given_up` tells when there is no time left."""

    def __init__(self, link: Link, given_up: Callable[[], bool]) -> None:
        self._link = link
        self._given_up = given_up
        self._again: deque[Record] = deque()
        self._waiting = 0
        self._fault = ""
        self._is_broken = False
        self._producer = self._new()

    def _new(self) -> Producer:
        options = {
            "enable_idempotence": "true",
            "compression_type": "zstd",
            "linger_ms": "5",
            "message_max_bytes": str(64 << 20),  # the topic's own limit decides
            "queue_buffering_max_kbytes": str(64 << 10),
        }
        return Producer(self._link.client(**options))

    def send(self, records: Iterable[Record]) -> None:
        """Have messages written; waits where too many are on their way.

        Raises
        ------
        SinkError
            The brokers refuse them, or there is no time left.
        """
        for record in records:
            while self._waiting >= _WAITING_MAX:
                self._turn()
            self._produce(record)
        self._producer.poll(0)
        self._raise_fault()

    def settle(self, wait_s: float) -> bool:
        """Wait until all is acknowledged; return whether that came to be in time.

        Raises
        ------
        SinkError
            The brokers refuse something, or there is no time left.
        """
        until_s = time.monotonic() + wait_s
        while self._waiting and time.monotonic() < until_s:
            self._turn()
        self._raise_fault()
        return not self._waiting

    @property
    def waiting(self) -> int:
        """The number of messages that are not acknowledged."""
        return self._waiting

    def close(self) -> None:
        """Let go of what is not acknowledged."""
        self._producer.purge()
        self._producer.flush(_CLOSE_S)

    def _turn(self) -> None:
        """Let some time pass, and write again what has failed."""
        if self._given_up():
            raise SinkError(
                f"kafka {self._link.servers}: {self._waiting:,} messages were not acknowledged "
                "before the end"
            )
        self._producer.poll(_POLL_S)
        self._raise_fault()
        if self._is_broken:
            self._renew()
        for _ in range(len(self._again)):
            self._waiting -= 1
            self._produce(self._again.popleft())

    def _raise_fault(self) -> None:
        fault = self._fault or self._link.fault
        if fault:
            raise SinkError(fault)

    def _produce(self, record: Record) -> None:
        """Hand a message to librdkafka; where its queue is full, when there is room."""
        self._waiting += 1
        landed: Any = partial(self._landed, record)
        while True:
            try:
                self._producer.produce(
                    record.topic, record.value, record.key, on_delivery=landed,
                    headers=list(record.headers),
                )  # fmt: skip
            except BufferError:
                self._turn_once()
            except KafkaException as error:
                self._failed(record, error.args[0])
                return
            else:
                return

    def _turn_once(self) -> None:
        if self._given_up():
            raise SinkError(f"kafka {self._link.servers}: no room for messages before the end")
        self._producer.poll(_POLL_S)

    def _landed(self, record: Record, error: KafkaError | None, _: Message) -> None:
        """Hear what has become of a message; called by librdkafka while it is polled."""
        if error is None:
            self._waiting -= 1
            self._link.found()
        else:
            self._failed(record, error)

    def _failed(self, record: Record, error: KafkaError) -> None:
        """Have a message written again, shorter if it is too long for its topic."""
        code = error.code()
        if code == KafkaError.MSG_SIZE_TOO_LARGE and (less := record.less) is not None:
            record = less
        elif error.fatal() or code == KafkaError._FATAL:
            self._is_broken = True
        elif code == KafkaError.MSG_SIZE_TOO_LARGE or is_hopeless(error):
            self._fault = f"kafka topic {record.topic}: {self._link.why(error)}"
        self._again.append(record)

    def _renew(self) -> None:
        """Go on with another producer: librdkafka's is of no use after a fatal error."""
        self._link.say(f"kafka {self._link.servers}: writing begins anew after an error")
        self.close()
        self._producer, self._is_broken = self._new(), False
