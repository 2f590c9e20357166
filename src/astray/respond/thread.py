"""The thread that hosts the dispatcher, and the only place here that looks at the clock."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from astray.errors import StoreError
from astray.respond.dispatcher import Dispatcher

BACK_OFF_MIN_S: Final = 0.1
BACK_OFF_MAX_S: Final = 5.0
STOP_GRACE_S: Final = 1.0
"""On top of the flush: the time a last transaction may take."""

_log = logging.getLogger(__name__)


class DispatcherThread:
    """Runs a dispatcher until it is stopped; a failing store is tried again, with delays.

    `clock` tells the wall clock in seconds.
    """

    def __init__(self, dispatcher: Dispatcher, *, clock: Callable[[], float] = time.time) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._flush_until_s = 0.0
        self._flushed = False
        self._error: BaseException | None = None
        self._healthy = True
        self._back_off_s = BACK_OFF_MIN_S
        self._thread = threading.Thread(target=self._run, name="astray-dispatcher", daemon=True)
        dispatcher.landed = self.wake

    def start(self) -> None:
        """Begin to deliver what the store has."""
        self._thread.start()

    def wake(self) -> None:
        """Look into the store at once: called after something was recorded; any thread may."""
        self._woken.set()

    def stop(self, flush_s: float) -> bool:
        """Deliver what is due for at most `flush_s` seconds, then end.

        Returns whether all was sent that could be. What is left stays in the store for the
        next start; neither a later attempt nor a receiver that is down is waited for.
        """
        self._flush_until_s = time.monotonic() + flush_s
        self._stopping.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(flush_s + STOP_GRACE_S)
        self._dispatcher.close()
        return self._flushed

    @property
    def is_healthy(self) -> bool:
        """Whether it runs and its last look into the store went well."""
        return self._thread.is_alive() and self._healthy

    @property
    def last_error(self) -> BaseException | None:
        """The last error it met, also when it has recovered since; None: none so far."""
        return self._error

    def _run(self) -> None:
        try:
            while not self._flushed and not self._out_of_time():
                self._turn()
            self._land_last()
        finally:
            error = sys.exception()
            if error is not None:  # whatever it is: it must not end unseen
                self._error, self._healthy = error, False

    def _turn(self) -> None:
        stopping = self._stopping.is_set()  # before looking: what was recorded until then is seen
        self._woken.clear()
        try:
            wait_s = self._dispatcher.start(self._clock())
        except StoreError as error:
            self._suffer(error)
            return
        self._healthy, self._back_off_s = True, BACK_OFF_MIN_S
        is_idle = not self._dispatcher.is_flying and (wait_s is None or wait_s > 0)
        self._flushed = is_idle and stopping
        if not self._flushed:
            look_s = self._dispatcher.look_every_s
            self._woken.wait(self._bounded(look_s if wait_s is None else min(wait_s, look_s)))

    def _suffer(self, error: StoreError) -> None:
        self._error, self._healthy = error, False
        _log.error("deliveries wait, next look in %.1f s: %s", self._back_off_s, error)
        wait_s = self._bounded(self._back_off_s)
        if self._stopping.is_set():
            time.sleep(wait_s)
        else:
            # Only stopping cuts it short: events wake, but the store is no better for them.
            self._stopping.wait(wait_s)
        self._back_off_s = min(2 * self._back_off_s, BACK_OFF_MAX_S)

    def _land_last(self) -> None:
        """Record what was answered since the last turn: it must not be repeated."""
        try:
            self._dispatcher.land()
        except StoreError as error:
            self._error, self._healthy = error, False
            _log.error("answers are not on record and will be asked for again: %s", error)

    def _bounded(self, wait_s: float) -> float:
        if not self._stopping.is_set():
            return wait_s
        return max(0.0, min(wait_s, self._flush_until_s - time.monotonic()))

    def _out_of_time(self) -> bool:
        return self._stopping.is_set() and time.monotonic() >= self._flush_until_s
