"""`astray webhook listen`: a receiver to try things with, which verifies and prints."""

import os
import queue
import signal
import threading
from collections.abc import Sequence
from typing import Annotated, Any

import orjson
import typer

from astray.cli.common import reporting
from astray.cli.run import SECRET_PLACE
from astray.cli.screen import Screen, write_out
from astray.respond import Attempt, Receiver, secret_from

_HOST, _PORT = "127.0.0.1", 8787
_LOOK_EVERY_S = 0.05
_ACCEPTED, _NOT_JSON = 200, 400

Arrived = queue.SimpleQueue[tuple[str, Any]]


@reporting
def listen(
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where to listen; 0 takes any that is free.")
    ] = _PORT,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 takes webhooks from anywhere.")
    ] = _HOST,
) -> None:
    """Receive webhooks here, verify them with ASTRAY_WEBHOOK_SECRET, and print them."""
    screen = Screen("off")
    secret = secret_from(SECRET_PLACE, os.environ)
    arrived: Arrived = queue.SimpleQueue()

    def accept(webhook_id: str, body: bytes) -> int:
        try:
            arrived.put((webhook_id, orjson.loads(body)))
        except orjson.JSONDecodeError:
            return _NOT_JSON
        return _ACCEPTED

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Receiver([secret], accept, host=host, port=port) as receiver:
        screen.say(f"listening at {receiver.url} until Ctrl-C")
        looked_at = 0
        while not stop.wait(_LOOK_EVERY_S):
            attempts = receiver.attempts[looked_at:]
            looked_at += len(attempts)
            _show(screen, arrived, attempts)
    _show(screen, arrived, receiver.attempts[looked_at:])


def _show(screen: Screen, arrived: Arrived, attempts: Sequence[Attempt]) -> None:
    while not arrived.empty():
        webhook_id, payload = arrived.get()
        write_out(orjson.dumps({"webhook_id": webhook_id, "payload": payload}))
    for attempt in attempts:
        if attempt.flaw is not None:
            screen.say(f"refused {attempt.webhook_id!r}: {attempt.flaw}")
