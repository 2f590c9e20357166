"""The real way out, over loopback: answers, silence, and what is not done."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Self

import pytest

from astray.errors import ConfigError
from astray.respond import Endpoint, HttpTransport, TransportError, sign
from astray.respond.transport import ANSWER_BYTES_MAX
from astray.testing import Answer, Receiver, make_secret

SECRET = make_secret()
DATE = b"Sun, 22 Nov 2026 02:00:00 GMT"


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    """Return a transport, closed afterwards."""
    with HttpTransport() as transport:
        yield transport


def signed(body: bytes = b"{}", webhook_id: str = "msg_1") -> dict[str, str]:
    """Return the headers of a webhook sent now."""
    return sign([SECRET], webhook_id, time.time(), body)


class RawServer:
    """Answers every connection with given bytes, then hangs up or keeps silent."""

    def __init__(self, answer: bytes, *, silent: bool = False) -> None:
        self._answer = answer
        self._silent = silent
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        self._socket.settimeout(5)
        connection, _ = self._socket.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(self._answer)
            except OSError:
                return  # the client has read as much as it wanted
            if self._silent:
                self._ended.wait(5)


def test_a_post_arrives_as_it_was_signed(transport: HttpTransport) -> None:
    """Byte for byte, as JSON."""
    body = '{"text": "naïve"}'.encode()
    with Receiver([SECRET]) as receiver:
        answer = transport.post(receiver.url, body, signed(body), 5.0)

    assert (answer.status, answer.retry_after_s) == (200, None)
    assert 0 < answer.took_s < 5
    assert receiver.deliveries["msg_1"].body == body


def test_a_receiver_that_asks_for_time_is_heard(transport: HttpTransport) -> None:
    """In seconds, or as a date that counts from its own clock."""
    answers = [
        Answer(503, retry_after="17"),
        Answer(429, retry_after="Fri, 01 Jan 2100 00:00:00 GMT"),
    ]
    with Receiver([SECRET], answers) as receiver:
        first, second = (transport.post(receiver.url, b"{}", signed(), 5.0) for _ in answers)

    assert (first.status, first.retry_after_s) == (503, 17.0)
    assert second.retry_after_s is not None
    assert second.retry_after_s > 1e8


def test_a_redirection_is_not_followed(transport: HttpTransport) -> None:
    """It could lead anywhere; the receiver's owner has to write down where it is."""
    with Receiver([SECRET]) as elsewhere:
        moved = f"HTTP/1.1 307 Temporary Redirect\r\nlocation: {elsewhere.url}\r\ncontent-length: 0\r\n\r\n"
        with RawServer(moved.encode()) as server:
            answer = transport.post(server.url, b"{}", signed(), 5.0)

    assert answer.status == 307
    assert elsewhere.attempts == []


def test_a_receiver_that_is_away_is_an_error_with_a_reason(transport: HttpTransport) -> None:
    """Nobody listens: the connection is refused."""
    with Receiver([SECRET]) as receiver:
        receiver.down()
        with pytest.raises(TransportError, match="ConnectError"):
            transport.post(receiver.url, b"{}", signed(), 5.0)


def test_a_receiver_that_keeps_silent_times_out(transport: HttpTransport) -> None:
    """It may have acted all the same: that is what the webhook's id is for."""
    with (
        RawServer(b"", silent=True) as server,
        pytest.raises(TransportError, match="ReadTimeout") as caught,
    ):
        transport.post(server.url, b"{}", signed(), 0.1)

    assert 0.1 <= caught.value.took_s < 2


@pytest.mark.parametrize(
    "answer", [b"", b"\x00\xff\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 2"]
)
def test_an_answer_that_is_not_http_is_an_error(transport: HttpTransport, answer: bytes) -> None:
    """Whatever is said, it is no success."""
    with RawServer(answer) as server, pytest.raises(TransportError):
        transport.post(server.url, b"{}", signed(), 2.0)


@pytest.mark.parametrize(
    "body",
    [
        b"content-length: 9000000\r\n\r\n" + b"x" * (ANSWER_BYTES_MAX + 100_000),
        b"content-length: 100\r\n\r\nbroken off",
        b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
        b"retry-after: Sun, 22 Nov 2026 02:00:00 +99999999999999999999\r\ndate: "
        + DATE
        + b"\r\ncontent-length: 0\r\n\r\n",
    ],
    ids=["endless", "broken off", "wrongly packed", "strange date"],
)
def test_what_comes_after_the_status_changes_nothing(transport: HttpTransport, body: bytes) -> None:
    """The receiver has accepted; a body that is too long, broken or nonsense is dropped."""
    with RawServer(b"HTTP/1.1 200 OK\r\n" + body) as server:
        answer = transport.post(server.url, b"{}", signed(), 2.0)

    assert answer.status == 200


def test_a_body_that_never_ends_is_given_up(transport: HttpTransport) -> None:
    """The status counts, and the attempt ends in time."""
    with RawServer(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n", silent=True) as server:
        assert transport.post(server.url, b"{}", signed(), 0.2).status == 200


def test_an_address_that_only_httpx_dislikes_is_an_error_like_others(
    transport: HttpTransport,
) -> None:
    """No kind of address ends the dispatcher."""
    with pytest.raises(TransportError):
        transport.post("http://exa mple.com:80/\x00", b"{}", signed(), 1.0)


def test_a_certificate_is_verified(tmp_path: Path) -> None:
    """One that nobody vouches for is refused, unless its authority is named."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    command = "req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 2 -subj /CN=x -addext"
    subprocess.run(
        [openssl, *command.split(), "subjectAltName=IP:127.0.0.1"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    server = _tls_server(tmp_path)
    url = f"https://127.0.0.1:{server.server_address[1]}/"
    try:
        with HttpTransport() as careful, pytest.raises(TransportError, match="CERTIFICATE_VERIFY"):
            careful.post(url, b"{}", signed(), 5.0)
        with HttpTransport(ca_file=str(tmp_path / "cert")) as knowing:
            status = knowing.post(url, b"{}", signed(), 5.0).status
    finally:
        server.shutdown()
        server.server_close()

    assert status == 204


class _Content(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its name there
        """Write nothing."""


class _TlsServer(HTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that does not trust hangs up."""


def _tls_server(folder: Path) -> HTTPServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")
    server = _TlsServer(("127.0.0.1", 0), _Content)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("siem.example.com/hook", "does not begin with http:// or https://"),
        ("ftp://siem.example.com/", "does not begin with http:// or https://"),
        ("https://", "without a host"),
        ("https://:443/hook", "without a host"),
        ("https://[::1/hook", "that is not a URL"),
        ("https://siem.example.com:port/", "that is not a URL"),
        ("https://siem.example.com:99999/", "that is not a URL"),
        ("https://astray:hunter2@siem.example.com/", "credentials in its address"),
    ],
)
def test_an_address_nobody_can_be_reached_at_is_refused(url: str, said: str) -> None:
    """When the configuration is read, and without repeating what may be secret."""
    with pytest.raises(ConfigError, match="the endpoint siem has") as caught:
        Endpoint("siem", url, (SECRET,))

    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_every_problem_of_an_endpoint_is_named() -> None:
    """Address, secret and times."""
    with pytest.raises(ConfigError) as caught:
        Endpoint("siem", "", (), timeout_s=0.0, expires_after_s=float("nan"))

    assert len(caught.value.problems) == 4


def test_a_plain_address_can_be_told() -> None:
    """So that a warning can be given where it is not loopback."""
    assert Endpoint("siem", "http://127.0.0.1:8000/", (SECRET,)).is_plain
    assert not Endpoint("siem", "HTTPS://siem.example.com", (SECRET,)).is_plain
