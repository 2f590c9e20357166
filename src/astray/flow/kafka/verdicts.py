"""A topic of verdicts: what others say of cases is taken into the case store.

Where it has been read to is what its consumer group has committed, after the store has it; what
a crash has read again is known by its id. Of several processes each reads some partitions.
"""

import time
from collections.abc import Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message

from astray.decide.verdict import Verdict, parse_verdict
from astray.errors import StoreError
from astray.events import Reason
from astray.flow.background import Background
from astray.flow.counters import Counters
from astray.flow.kafka.link import Link
from astray.store import Outcome, Store

_MESSAGES_MAX: Final = 500
_WAIT_S: Final = 0.5
_AGAIN_S: Final = 1.0
_TAKEN: Final = (Outcome.DONE, Outcome.KNOWN)


class VerdictsTopic(Background):
    """Reads a topic of verdicts on a thread of its own; enter it."""

    def __init__(
        self, link: Link, topic: str, group: str, store: Store, counters: Counters
    ) -> None:
        super().__init__("astray-verdicts")
        self._link = link
        self._topic = topic
        self._group = f"{group}-verdicts"
        self._store = store
        self._counters = counters

    def _run(self) -> None:
        consumer = Consumer(
            self._link.client(
                group_id=self._group,
                enable_auto_commit="false",
                auto_offset_reset="earliest",
                allow_auto_create_topics="false",
            )
        )
        consumer.subscribe([self._topic])
        while not self._ending.is_set():
            messages = [
                each for each in consumer.consume(_MESSAGES_MAX, _WAIT_S) if not each.error()
            ]
            if messages and self._take(messages):
                self._commit(consumer)
        consumer.close()

    def _take(self, messages: Sequence[Message]) -> bool:
        """Take messages until the store has them all; return whether it does."""
        while not self._ending.is_set():
            try:
                refused = [self._refused(message.value()) for message in messages]
            except StoreError as error:  # it has been waited for; what is there already is known
                self._link.say(f"kafka:{self._topic}: {error}; trying again")
                self._ending.wait(_AGAIN_S)
                continue
            for reason in filter(None, refused):
                self._counters.rejects[Reason.NOT_A_VERDICT] += 1
                self._link.say(f"kafka:{self._topic}: a verdict that cannot be taken: {reason}")
            return True
        return False

    def _refused(self, value: bytes | None) -> str:
        """Take a verdict into the store; return why it cannot be, or nothing."""
        verdict = parse_verdict(value or b"")
        if not isinstance(verdict, Verdict):
            return verdict
        outcome = self._store.judge(verdict, time.time())
        return "" if outcome in _TAKEN else outcome.replace("_", " ")

    def _commit(self, consumer: Consumer) -> None:
        try:
            consumer.commit(asynchronous=False)
        except KafkaException as error:  # what is read again changes nothing
            self._link.say(f"kafka:{self._topic}: {self._link.why(error.args[0])}; trying again")
