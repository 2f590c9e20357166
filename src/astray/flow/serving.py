"""A small HTTP server for probes and scrapers: it reads, answers, and is hard to hold up.

Whoever can reach it may ask. A connection has one request and little time, and there are
few at once: when all are taken, one that has not asked yet makes way for the next.
"""

import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from astray.errors import ConfigError

CONNECTIONS_MAX: Final = 16
REQUEST_WAIT_MAX_S: Final = 5.0
"""A connection that has not asked by then is hung up on."""

PATH_CHARS_MAX: Final = 1024
JSON_TYPE: Final = "application/json"

_TEXT_TYPE = "text/plain; charset=utf-8"
_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered."""

    status: int
    content_type: str
    body: bytes


Pages = Mapping[str, Callable[[str], Page]]
"""What answers a path; it is given the request's Accept header."""


def listening_problem(address: tuple[str, int] | None) -> str:
    """Return a sentence where nobody can listen on an address; None is no address."""
    if address is None:
        return ""
    try:
        _Server(address, {}).server_close()
    except OSError as error:
        return _sentence(address, error)
    return ""


def _sentence(address: tuple[str, int], error: OSError) -> str:
    host, port = address
    return f"health.listen: cannot listen on {host}:{port}: {error.strerror}"


class PageServer:
    """Serves pages while it is entered, on threads of its own; port 0 is any free one.

    Raises
    ------
    ConfigError
        The port cannot be had; the error names host and port.
    """

    def __init__(
        self, address: tuple[str, int], pages: Pages, wait_max_s: float = REQUEST_WAIT_MAX_S
    ) -> None:
        self.host, self.port = address
        self._pages = pages
        self._wait_max_s = wait_max_s
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """Where it listens; the port is known once it is entered."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    def __enter__(self) -> Self:
        try:
            self._server = _Server((self.host, self.port), self._pages, self._wait_max_s)
        except OSError as error:
            raise ConfigError([_sentence((self.host, self.port), error)]) from None
        self.port = self._server.server_address[1]
        self._server.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.end()


class _Server(ThreadingHTTPServer):
    """Keeps the number of connections and the time that each may take within bounds."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # a burst must not make those who come after it wait

    def __init__(
        self, address: tuple[str, int], pages: Pages, wait_max_s: float = REQUEST_WAIT_MAX_S
    ) -> None:
        self.pages = pages
        self._wait_max_s = wait_max_s
        self._opened_s: dict[socket.socket, float] = {}
        self._asking: set[socket.socket] = set()
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_LOOK_EVERY_S,), name="astray-health", daemon=True
        )
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind, without asking anybody for this machine's name as the library would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "astray", self.server_address[1]

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in list(self._opened_s):
            _hang_up(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._opened_s) >= CONNECTIONS_MAX and not self._make_way():
            self.shutdown_request(request)
            return
        self._opened_s[request] = time.monotonic()
        super().process_request(request, client_address)

    def _make_way(self) -> bool:
        """Hang up on the connection that has been silent longest; False: all have asked."""
        silent = [one for one in list(self._opened_s) if one not in self._asking]
        for connection in silent[:1]:  # in the order in which they came
            self._opened_s.pop(connection, None)
            _hang_up(connection)
        return bool(silent)

    def asked(self, connection: socket.socket) -> None:
        """Take note of a connection that has asked: it makes way for nobody."""
        self._asking.add(connection)

    def service_actions(self) -> None:
        """Hang up on those that take too long to ask; called while nothing else happens."""
        late_s = time.monotonic() - self._wait_max_s
        for connection, opened_s in list(self._opened_s.items()):
            if opened_s < late_s and connection not in self._asking:
                _hang_up(connection)

    def shutdown_request(self, request: Any) -> None:
        self._opened_s.pop(request, None)
        self._asking.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Those who hang up while they are answered are no news; anything else is a fault.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers the one request of a connection."""

    timeout = REQUEST_WAIT_MAX_S
    error_content_type = _TEXT_TYPE
    error_message_format = "%(code)d %(message)s\n"
    server: _Server

    def do_GET(self) -> None:
        """Answer with a page."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with a page's headers."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        self.server.asked(self.connection)
        self._send(self._page(), with_body=with_body)

    def _page(self) -> Page:
        if len(self.path) > PATH_CHARS_MAX:
            return Page(HTTPStatus.REQUEST_URI_TOO_LONG, _TEXT_TYPE, b"414 the path is too long\n")
        answer = self.server.pages.get(self.path.partition("?")[0])
        if answer is None:
            known = " ".join(self.server.pages)
            return Page(HTTPStatus.NOT_FOUND, _TEXT_TYPE, f"404 there are {known}\n".encode())
        return answer(self.headers.get("accept", ""))

    def _send(self, page: Page, *, with_body: bool) -> None:
        self.send_response(page.status)
        self.send_header("content-type", page.content_type)
        self.send_header("content-length", str(len(page.body)))
        self.send_header("cache-control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(page.body)

    def version_string(self) -> str:
        """Return what the server calls itself: not which versions of what it runs on."""
        return "astray"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its name in http.server
        """Write nothing: probes come all the time."""


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side, or the thread that served it, was quicker
