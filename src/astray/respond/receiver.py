"""A receiver of webhooks, on loopback if not told otherwise, for demonstrations and tests."""

import errno
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from astray.errors import ReceiverError
from astray.respond.secret import Secret
from astray.respond.webhook import ID_HEADER, Flaw, verify

REQUEST_BYTES_MAX: Final = 64 * 1024
IDLE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answers: a status, after a delay, perhaps asking for time."""

    status: int = 200
    delay_s: float = 0.0
    retry_after: str = ""


@dataclass(slots=True)
class Received:
    """A webhook a receiver has accepted, and how often it was repeated since."""

    webhook_id: str
    body: bytes
    received_s: float
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request a receiver got, what was wrong with it (None: nothing), and its answer."""

    webhook_id: str
    flaw: Flaw | None
    status: int


Answers = Iterable[Answer | int] | Callable[[str, bytes], Answer | int]
"""The answers in order, 200 when they are used up; or a function of webhook id and body."""


class Receiver:
    """A real HTTP server that verifies what it gets and answers from a script.

    A request that is not genuine is answered 401. One that is gets its scripted answer; if
    that is 2xx, it is kept in `deliveries` by its id, and a repeat only counts as such.
    `attempts` has every request. Use it as a context manager.

    Raises
    ------
    ReceiverError
        The port cannot be had; the error names host and port.
    """

    def __init__(
        self,
        secrets: Sequence[Secret],
        answers: Answers = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.secrets = tuple(secrets)
        self.deliveries: dict[str, Received] = {}
        self.attempts: list[Attempt] = []
        self.host = host
        self.port = port
        self._script = _script(answers)
        self._changed = threading.Condition()
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    @property
    def url(self) -> str:
        """Where it listens; the port is known once it is up."""
        return f"http://{self.host}:{self.port}/"

    def up(self) -> None:
        """Listen, after `down` on the same port as before."""
        try:
            self._server = _Server(self)
        except OSError as error:
            raise ReceiverError(
                f"the receiver cannot listen on {self.host}:{self.port}: {error.strerror}",
                lasting=True,
            ) from error
        self.port = self._server.server_address[1]
        self._server.begin()

    def down(self) -> None:
        """Refuse connections and break those there are; what was accepted stays."""
        server, self._server = self._server, None
        if server is not None:
            server.end()

    def wait_for(self, count: int, timeout_s: float) -> bool:
        """Wait until `count` different webhooks are accepted; return whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.deliveries) >= count, timeout_s)

    def answer(self, headers: Mapping[str, str], body: bytes, ended: threading.Event) -> Answer:
        """Judge and keep one request; called by the server's threads."""
        now_s = time.time()
        flaw = verify(self.secrets, headers, body, now_s)
        webhook_id = headers.get(ID_HEADER, "")
        with self._changed:
            answer = self._script(webhook_id, body) if flaw is None else Answer(401)
        ended.wait(answer.delay_s)
        with self._changed:
            self.attempts.append(Attempt(webhook_id, flaw, answer.status))
            if 200 <= answer.status < 300:
                self._keep(Received(webhook_id, body, now_s))
        return answer

    def _keep(self, received: Received) -> None:
        known = self.deliveries.setdefault(received.webhook_id, received)
        known.repeats += known is not received
        self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    """Serves one receiver; ends at once, with its open connections."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        super().__init__((receiver.host, receiver.port), _Handler)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self.ended.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in tuple(self._open):
            _hang_up(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that hangs up is part of many a test; anything else is an error here.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Reads one request after another from a connection."""

    protocol_version = "HTTP/1.1"  # keeps the connection, as real receivers do
    timeout = IDLE_S
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        """Answer a webhook."""
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or len(length) > 9 or int(length) > REQUEST_BYTES_MAX:
            self.close_connection = True
            self._respond(Answer(413))
            return
        body = self.rfile.read(int(length))
        answer = self.server.receiver.answer(dict(self.headers), body, self.server.ended)
        if not self.server.ended.is_set():
            self._respond(answer)

    def _respond(self, answer: Answer) -> None:
        self.send_response(answer.status)
        if answer.retry_after:
            self.send_header("retry-after", answer.retry_after)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its name in http.server
        """Write nothing: `Receiver.attempts` has it all."""


def _script(answers: Answers) -> Callable[[str, bytes], Answer]:
    if callable(answers):
        return lambda webhook_id, body: _answer(answers(webhook_id, body))
    left = iter(tuple(answers))
    return lambda _id, _body: _answer(next(left, 200))


def _answer(answer: Answer | int) -> Answer:
    return Answer(answer) if isinstance(answer, int) else answer


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.EBADF):  # the other side was quicker
            raise
