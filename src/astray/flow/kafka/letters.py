"""Dead letters: rejects on their way to a topic, as they came, with where from and why."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from astray.errors import SinkError
from astray.events import Reject
from astray.flow.kafka.link import Link
from astray.flow.kafka.messages import Headers, Letter
from astray.flow.kafka.producing import Producing, Record

ACKNOWLEDGED_S = 60.0
"""How long the end of an epoch waits for brokers to acknowledge; then the run ends."""

_STOP_S = 5.0
_CUT_BYTES = 1 << 14
_PREFIX = "astray.errors."


@dataclass
class Patience:
    """Tells when there is no time left: some seconds after somebody has asked to stop."""

    stop: threading.Event
    seconds: float = _STOP_S
    _asked_s: float = field(default=0.0, init=False)

    def __call__(self) -> bool:
        """Return whether there is no time left."""
        if not self.stop.is_set():
            return False
        self._asked_s = self._asked_s or time.monotonic()
        return time.monotonic() - self._asked_s > self.seconds


class LettersTopic:
    """The topic of dead letters; see `astray.flow.sinks.DeadLetters`."""

    def __init__(self, link: Link, topic: str, given_up: Callable[[], bool]) -> None:
        self._topic = topic
        self._producing = Producing(link, given_up)

    def send(self, rejects: Sequence[tuple[str, Reject]]) -> None:
        """Have rejects written."""
        self._producing.send([_record(self._topic, *one) for one in rejects])

    def settle(self) -> None:
        """Wait until all is acknowledged.

        Raises
        ------
        SinkError
            It was not in time. What the epoch had is read again after a restart.
        """
        if not self._producing.settle(ACKNOWLEDGED_S):
            raise SinkError(
                f"kafka topic {self._topic}: {self._producing.waiting:,} rejects were not "
                f"acknowledged within {ACKNOWLEDGED_S:.0f} s"
            )

    def close(self) -> None:
        """Let go of what is not acknowledged."""
        self._producing.close()


def _record(topic: str, origin: str, reject: Reject) -> Record:
    ours = _ours(origin, reject)
    if not isinstance(reject, Letter):
        return Record(topic, None, reject.raw, ours, partial(_cut, topic, reject, ours))
    value = None if reject.is_tombstone else reject.raw
    headers = (*reject.headers, *ours)
    return Record(topic, reject.message_key, value, headers, partial(_cut, topic, reject, ours))


def _cut(topic: str, reject: Reject, ours: Headers) -> Record:
    """Return what is written where the whole is too long for the topic."""
    size = (f"{_PREFIX}value_bytes", str(len(reject.raw)).encode())
    return Record(topic, None, reject.raw[:_CUT_BYTES], (*ours, size))


def _ours(origin: str, reject: Reject) -> Headers:
    said: dict[str, object] = {"source": origin.encode(errors="backslashreplace").decode()}
    if isinstance(reject, Letter):
        said |= {"topic": reject.topic, "partition": reject.partition}
        said |= {"timestamp": reject.timestamp_ms}
    said |= {"offset": reject.offset, "stage": "decode", "reason": reject.reason.value}
    if reject.key:
        said["key"] = reject.key
    return tuple((f"{_PREFIX}{name}", str(value).encode()) for name, value in said.items())
