"""The way to the brokers: what librdkafka is told, what it says, and what people hear of it.

A broker that is away is waited for, and people are told once, and once more when it is
back. What waiting does not mend is an error, in a sentence without secrets.
"""

import logging
import re
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException

from astray.errors import Passing
from astray.paths import looked_at

_log = logging.getLogger("astray.kafka")
_quiet = logging.getLogger("astray.kafka.librdkafka")
_quiet.propagate = False
_quiet.addHandler(logging.NullHandler())

_NOISE = re.compile(r"\(after \d+ms in state \w+.*\)$")
_FILE_BYTES_MAX = 1 << 20
_CONNECT_S = 10.0
_RECONNECT_MS_MAX = 2000
_STEP_S = 1.0
_LATE_S = 5.0

_HOPELESS: Final = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNSUPPORTED_FEATURE,
}
"""What waiting does not mend."""

_NONE_ACQUIRED = "Failed to acquire"
_REFUSED_TOKEN = re.compile(r"invalid_(client|request|grant|scope)|un(authorized|supported)_")
"""What a token endpoint says of a client that it will not know later, either; RFC 6749, 5.2."""


class Link:
    """What all clients of one cluster share; any thread may call.

    `fault` is a sentence once there is no hope, `doubt` one that matters at the start alone:
    later on a broker that ends in the middle of a handshake looks the same, and a token that
    has run out while its endpoint was away is followed by another.
    """

    def __init__(
        self,
        servers: str,
        options: Mapping[str, str],
        hidden: frozenset[str],
        *,
        has_answered: bool = False,
    ) -> None:
        self.servers = servers
        self.has_answered = has_answered
        self.fault = self.doubt = ""
        self.lost = threading.Event()
        self._found_s = -_LATE_S
        self._options = dict(options)
        self._hidden = hidden
        self._said: set[str] = set()
        mechanism = self._options.get("sasl.mechanism") or self._options.get("sasl.mechanisms")
        self._has_tokens = mechanism == "OAUTHBEARER"

    def __repr__(self) -> str:
        return f"Link({self.servers})"

    def fresh(self) -> "Link":
        """Return the same way, of which nothing bad has been heard yet."""
        options, hidden = self._options, self._hidden
        return Link(self.servers, options, hidden, has_answered=self.has_answered)

    def client(self, **options: Any) -> dict[str, Any]:
        """Return a client's configuration: ours where nothing else is said."""
        given = {name.replace("_", "."): value for name, value in options.items()}
        ours = {
            "bootstrap.servers": self.servers,
            "client.id": "astray",
            "log_level": 4,
            "reconnect.backoff.max.ms": _RECONNECT_MS_MAX,
        }
        return {**ours, **given, **self._options, "error_cb": self.error, "logger": _quiet}

    def masked(self, text: object) -> str:
        """Return a text without the secrets that might stand in it."""
        shown = str(text)
        for secret in self._hidden:
            shown = shown.replace(secret, "***")
        return shown

    def why(self, error: KafkaError) -> str:
        """Return what an error says, for people."""
        text = error.str() or error.name()
        return self.masked(
            re.sub(r"^\S+: (?=\S+ |$)|\(after \d+ms in state \w+.*\)$", "", text).strip()
        )

    def error(self, error: KafkaError) -> None:
        """Hear of an error; called by librdkafka while it is polled."""
        told = f"kafka {self.servers}: {self.why(error)}"
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._lose()
        elif self._has_tokens and error.code() == KafkaError._AUTHENTICATION:
            self._miss_token(told)
        elif is_hopeless(error):
            self.fault = self.fault or told
        elif error.code() == KafkaError._SSL or "SSL routines" in told:
            self.doubt = self.doubt or told

    def _lose(self) -> None:
        """Take note that no broker answers; at the start that has a sentence of its own."""
        is_late = time.monotonic() - self._found_s < _LATE_S  # another client knows better
        if not self.lost.is_set() and not is_late:
            self.lost.set()
            if self.has_answered:
                _log.warning("kafka %s: no broker answers; waiting for one", self.servers)

    def _miss_token(self, told: str) -> None:
        is_passing = _NONE_ACQUIRED in told and not _REFUSED_TOKEN.search(told)
        self.doubt = self.doubt or (Passing(told) if is_passing else told)
        if self.has_answered:
            self.say(f"{told}; trying again")

    def found(self) -> None:
        """Take note that a broker has answered."""
        if self.lost.is_set():
            self.lost.clear()
            self._found_s = time.monotonic()
            if self.has_answered:
                _log.warning("kafka %s: a broker answers again", self.servers)
        self.has_answered = True

    def say(self, text: str) -> None:
        """Say something to people, once."""
        if text not in self._said:
            self._said.add(text)
            _log.warning("%s", self.masked(text))


def is_hopeless(error: KafkaError) -> bool:
    """Return whether waiting does not mend an error."""
    return error.fatal() or error.code() in _HOPELESS


def resolved(
    options: Mapping[str, str], section: str, environment: Mapping[str, str]
) -> tuple[dict[str, str], frozenset[str], list[str]]:
    """Return options with what their places hold, which of it is to be hidden, and problems."""
    found: dict[str, str] = {}
    hidden: set[str] = set()
    problems: list[str] = []
    for name, given in options.items():
        kind, _, place = given.partition(":")
        if kind not in ("env", "file") or not place:
            found[name] = given
            continue
        try:
            found[name] = _value(kind, place, environment)
            hidden.add(found[name])
        except OSError as error:
            reason = f"{error.strerror}{looked_at(place)}"
            problems.append(f"{section}: {name}: {given} {reason}")
        except ValueError as error:
            problems.append(f"{section}: {name}: {given} {error}")
    return found, frozenset(hidden - {""}), problems


def _value(kind: str, place: str, environment: Mapping[str, str]) -> str:
    if kind == "env":
        if place not in environment:
            raise ValueError("is not set in the environment")
        return environment[place]
    with Path(place).open("rb") as file:
        return file.read(_FILE_BYTES_MAX).decode(errors="replace").strip()


def option_problems(link: Link, section: str, options: Mapping[str, str]) -> list[str]:
    """Return a sentence for each option that librdkafka does not take."""
    try:
        Consumer(link.client(group_id="astray")).close()
    except KafkaException as error:
        alone = [problem for name in options if (problem := _refused(name, options[name]))]
        said = alone or [error.args[0].str()]
        return [f"{section}: {link.masked(text)}" for text in said]
    return []


def _refused(name: str, value: str) -> str:
    """Return what librdkafka says of an option if it is the one it does not take."""
    try:
        Consumer({"group.id": "astray", "logger": _quiet, name: value}).close()
    except KafkaException as error:
        text: str = error.args[0].str()
        return text if f'"{name}"' in text else ""
    return ""


def partitions_of(
    link: Link, client: Consumer, topics: Iterable[str], timeout_s: float
) -> dict[str, int]:
    """Return those of some topics that there are, with the numbers of their partitions.

    Raises
    ------
    KafkaException
        No broker has answered in time.
    """
    found = {}
    for name in topics:
        topic = client.list_topics(name, timeout=timeout_s).topics[name]
        link.found()
        if topic.error is None:
            found[name] = len(topic.partitions)
    return found


def first_look(link: Link, client: Consumer, topics: Iterable[str]) -> dict[str, int] | str:
    """Return those of some topics that there are, or why nobody can tell."""
    reason = "no broker answers"
    for _ in range(int(_CONNECT_S / _STEP_S)):
        try:
            return partitions_of(link, client, topics, _STEP_S)
        except KafkaException as error:
            reason = f"no broker answers: {link.why(error.args[0])}"
        client.poll(0)  # has it say what keeps it
        if link.fault or link.doubt:
            return link.fault or link.doubt
    return Passing(f"kafka {link.servers}: {reason}")
