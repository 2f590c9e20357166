"""The one way out: a POST, its answer, or why there was none."""

import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

import httpx

from astray.respond.retry import retry_after_s

ANSWER_BYTES_MAX: Final = 64 * 1024
CONNECTIONS_MAX: Final = 64
KEEPALIVE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: its status, the time it asks for, and how long it took to come."""

    status: int
    retry_after_s: float | None = None
    took_s: float = 0.0


class TransportError(Exception):
    """There was no answer, after `took_s` seconds; the receiver may have acted all the same."""

    def __init__(self, message: str, took_s: float = 0.0) -> None:
        self.took_s = took_s
        super().__init__(message)


class Transport(Protocol):
    """Where webhooks leave; several threads use it at once."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Response:
        """Post a JSON body and return the answer, or raise `TransportError`."""
        ...


class HttpTransport:
    """HTTP/1.1 over connections that are kept for the next webhook.

    TLS is verified, with `ca_file` also against an authority of one's own. Redirections are
    not followed. The environment has no say: no proxy, no `.netrc`.

    Raises
    ------
    OSError
        `ca_file` cannot be read or holds no certificate.
    """

    def __init__(self, *, ca_file: str | None = None) -> None:
        self._client = httpx.Client(
            verify=_context(ca_file),
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(
                max_connections=CONNECTIONS_MAX,
                max_keepalive_connections=CONNECTIONS_MAX,
                keepalive_expiry=KEEPALIVE_S,
            ),
        )

    def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Response:
        """Post a JSON body and return the answer.

        `timeout_s` bounds each step: connecting, sending, waiting for the answer.

        Raises
        ------
        TransportError
            No answer: refused, timed out, broken off, not to be verified.
        """
        started_s = time.monotonic()
        try:
            with self._client.stream(
                "POST", url, content=body, headers=_json(headers), timeout=timeout_s
            ) as answer:
                took_s = time.monotonic() - started_s
                _drain(answer, started_s + timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = f"{type(error).__name__}: {error}"
            raise TransportError(reason, time.monotonic() - started_s) from error
        return Response(answer.status_code, _asked_s(answer.headers), took_s)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _context(ca_file: str | None) -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _json(headers: Mapping[str, str]) -> dict[str, str]:
    return {"content-type": "application/json", "user-agent": "astray", **headers}


def _drain(answer: httpx.Response, deadline_s: float) -> None:
    """Read a short body, so that the connection can be used again; a long one costs it.

    The status has said everything: what happens to the body afterwards changes nothing.
    """
    read_bytes = 0
    with suppress(httpx.HTTPError):
        for chunk in answer.iter_raw():
            read_bytes += len(chunk)
            if read_bytes > ANSWER_BYTES_MAX or time.monotonic() > deadline_s:
                return


def _asked_s(headers: httpx.Headers) -> float | None:
    return retry_after_s(headers.get("retry-after", ""), headers.get("date", ""))
