"""A run of several processes on one machine: started, stopped and brought back together.

The engine's processes live and die together: when one is killed the others end themselves.
The supervisor does no work of its own, so nothing is lost with it that is not in the
recovery directory; its processes notice that it is gone, and stop.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from astray.config import Health
from astray.flow.cluster import local_addresses
from astray.flow.stopping import asked_to_stop

RESTARTS_MAX = 5
"""So often in a row a run is brought back; one that lasts `STEADY_S` begins a new row."""

STEADY_S = 300.0
DELAYS_S = (0.5, 1.0, 2.0, 5.0, 10.0)
STOP_S = 30.0
"""How long a process may take to end before it is killed."""

CRASH_S = 2.0
"""How long the others may take when one has crashed: asked to stop, they would wait for it."""

_LOOK_EVERY_S = 0.05
_REFUSED = 2
"""A process cannot do what it is asked to before somebody changes something."""

_FAILED = 1


class Supervisor:
    """Runs `command` as so many processes; `say` is told of what goes wrong.

    Process i serves its health at the configured port plus i.
    """

    def __init__(
        self,
        command: Sequence[str],
        processes: int,
        health: Health,
        say: Callable[[str], None],
    ) -> None:
        self._command = list(command)
        self._health = health
        self._processes = processes
        self._say = say
        self._stopping = threading.Event()

    def run(self) -> int:
        """Run until all have ended well, or cannot be brought back; return the exit code."""
        restarts = 0
        with asked_to_stop(lambda _: self._stopping.set()):
            while True:
                started_s = time.monotonic()
                codes = self._run_once()
                if _REFUSED in codes:
                    return _REFUSED  # it has been said why, and it would be again
                if any(codes) and self._stopping.is_set():
                    told = f"a process had ended badly ({_told(codes)})"
                    self._say(f"stopped; {told}: the next start goes on from the last snapshot")
                if not any(codes) or self._stopping.is_set():
                    return 0
                steady = time.monotonic() - started_s > STEADY_S
                restarts = 1 if steady else restarts + 1
                if restarts > RESTARTS_MAX:
                    self._say(f"ended {restarts} times in a row; not brought back any more")
                    return _FAILED
                delay_s = DELAYS_S[restarts - 1]
                self._say(f"a process has ended ({_told(codes)}); all begin again in {delay_s:g} s")
                self._stopping.wait(delay_s)

    def _run_once(self) -> list[int]:
        """Start all processes; return their exit codes once all have ended."""
        addresses = ",".join(local_addresses(self._processes))
        alive, held = os.pipe()  # nobody writes: the end of it is the end of the supervisor
        try:
            children = [
                subprocess.Popen(  # noqa: S603 - ourselves
                    [*self._command, *self._options(addresses, process)],
                    stdin=alive,
                    start_new_session=True,  # Ctrl-C is ours to pass on
                )
                for process in range(self._processes)
            ]
            return self._watched(children)
        finally:
            os.close(alive)
            os.close(held)

    def _options(self, addresses: str, process: int) -> list[str]:
        own = ["--processes", "1", "--cluster", addresses, "--process", str(process), "--lifeline"]
        if self._health.address is None:
            return own
        host, port = self._health.address
        return [*own, "--health", f"{host}:{port + process if port else 0}"]

    def _watched(self, children: Sequence[subprocess.Popen[bytes]]) -> list[int]:
        asked_s = 0.0
        while any(child.poll() is None for child in children):
            codes = [child.poll() for child in children]
            crashed = any(code not in (None, 0, _REFUSED) for code in codes)
            if (self._stopping.is_set() or any(codes)) and not asked_s:
                asked_s = time.monotonic()
                if not crashed:
                    _signal(children, signal.SIGTERM)
            if asked_s and time.monotonic() - asked_s > (CRASH_S if crashed else STOP_S):
                _signal(children, signal.SIGKILL)
            time.sleep(_LOOK_EVERY_S)
        return [child.returncode for child in children]


def hang_on(stop: threading.Event) -> None:
    """Stop when the supervisor is gone, as the end of standard input tells."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)
        stop.set()

    threading.Thread(target=wait, name="astray-lifeline", daemon=True).start()


def _signal(children: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for child in children:
        if child.poll() is None:
            child.send_signal(number)


def _told(codes: Sequence[int]) -> str:
    return ", ".join(
        f"signal {-code}" if code < 0 else f"exit code {code}" for code in codes if code
    )
