"""Whether a run is alive and ready, and what keeps it from being so.

Alive depends on the run alone: on its loop, never on a source's broker or on who receives
webhooks, as killing the process would help neither of them.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Generic, TypeVar

import orjson

from astray.errors import StoreError
from astray.flow.reading import Reading
from astray.flow.serving import JSON_TYPE, Page
from astray.respond import Dispatcher, DispatcherThread
from astray.store import Store

T = TypeVar("T")

KEPT_S: Final = 1.0
"""What the store has answered is not asked again for so long, however many want to know."""

ANSWER_WAIT_MAX_S: Final = 2.0
"""How long one who asks waits for another's answer."""

FINE: Final = "ok"


class Stage(IntEnum):
    """How far a run has come."""

    COMPILING = 0
    OPENING = 1
    RUNNING = 2
    STOPPING = 3


@dataclass
class Vitals:
    """What is known of a run's health; written by the run, read by those who serve it.

    They take turns at the store.
    """

    stage: Stage = Stage.COMPILING
    store: Store | None = None
    dispatcher: Dispatcher | None = None
    deliveries: DispatcherThread | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def having(self, store: Store) -> Iterator[Store]:
        """Have a store looked at while it is open; who is looking may end before it closes."""
        self.store = store
        try:
            yield store
        finally:
            self.store = None
            if self.turn.acquire(timeout=ANSWER_WAIT_MAX_S):
                self.turn.release()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Be running, and stopping from then on, however the run ends."""
        self.stage = Stage.RUNNING
        try:
            yield
        finally:
            self.stage = Stage.STOPPING


class Asked(Generic[T]):
    """Asks the store one thing, for many: one thread at a time, and not all the time.

    A store that hangs holds up the one that asks it. The others give up after a while.
    """

    def __init__(self, vitals: Vitals, question: Callable[[Store], T]) -> None:
        self._vitals = vitals
        self._question = question
        self._answer: tuple[float, T] | None = None

    def ask(self) -> T:
        """Return the answer, which may be a moment old; raises a `StoreError` without one."""
        if not self._vitals.turn.acquire(timeout=ANSWER_WAIT_MAX_S):
            raise StoreError(f"the case store has not answered for {ANSWER_WAIT_MAX_S:g} s")
        try:
            return self._asked()
        finally:
            self._vitals.turn.release()

    def _asked(self) -> T:
        store = self._vitals.store
        if store is None:
            raise StoreError("the case store is not open")
        now_s = time.monotonic()
        if self._answer is None or now_s - self._answer[0] > KEPT_S:
            self._answer = (now_s, self._question(store))
        return self._answer[1]


@dataclass(frozen=True)
class Health:
    """Judges the vitals; an empty sentence is no complaint."""

    vitals: Vitals
    reading: Reading
    stuck_after_s: float
    clock: Callable[[], float] = time.monotonic
    _store: Asked[None] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_store", Asked(self.vitals, Store.check_writable))

    def live(self) -> dict[str, str]:
        """Return what keeps the run from being alive, by what was checked.

        Before the loop has begun a run is alive: compiling and restoring may take a while.
        """
        idle_s = self.idle_s
        stuck = idle_s > self.stuck_after_s
        return {"loop": f"has not turned for {idle_s:.0f} s" if stuck else ""}

    @property
    def idle_s(self) -> float:
        """Seconds since the loop last turned; 0 before its first turn."""
        return self.clock() - self.reading.turned_s if self.reading.turned_s else 0.0

    def ready(self) -> dict[str, str]:
        """Return what keeps the run from being ready, by what was checked."""
        stage, has_turned = self.vitals.stage, bool(self.reading.turned_s)
        return {
            "kernels": "" if stage > Stage.COMPILING else "are being compiled",
            "store": self._store_complaint(),
            "deliveries": self._deliveries_complaint(),
            # The engine asks the sources for the first time when all state is restored.
            "state": "" if has_turned else "is not restored yet",
            "sources": "" if has_turned else "are not open yet",
            "loop": self.live()["loop"],
            "running": self._end_complaint(),
        }

    def _store_complaint(self) -> str:
        try:
            self._store.ask()
        except StoreError as error:
            return str(error)
        return ""

    def _deliveries_complaint(self) -> str:
        deliveries = self.vitals.deliveries
        if deliveries is None or deliveries.is_healthy:
            return ""
        return str(deliveries.last_error or "are not made")

    def _end_complaint(self) -> str:
        if self.reading.fault is not None:
            return f"stopping: {self.reading.fault}"
        stopping = self.vitals.stage is Stage.STOPPING or self.reading.stop.is_set()
        return "stopping" if stopping else ""

    @property
    def is_ready(self) -> bool:
        """Whether nothing keeps the run from being ready."""
        return not any(self.ready().values())

    def live_page(self, _: str) -> Page:
        """Answer /livez."""
        return _page("live", self.live())

    def ready_page(self, _: str) -> Page:
        """Answer /readyz."""
        return _page("ready", self.ready())


def _page(name: str, complaints: Mapping[str, str]) -> Page:
    fine = not any(complaints.values())
    checks = {check: complaint or FINE for check, complaint in complaints.items()}
    told: dict[str, Any] = {name: fine, "checks": checks}
    return Page(200 if fine else 503, JSON_TYPE, orjson.dumps(told) + b"\n")
