"""Takes what the store has for the outside to its receivers, at least once."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from astray.errors import StoreError
from astray.respond.breaker import Breaker
from astray.respond.endpoint import Endpoint
from astray.respond.retry import Outcome, RetryPolicy, outcome_of
from astray.respond.transport import Response, Transport, TransportError
from astray.respond.webhook import sign
from astray.store import Delivery, DeliveryState, Result, Store

LANE_MAX: Final = 4
"""Attempts in flight for one endpoint at a time."""

OVERDUE_MAX: Final = 200
"""Expired deliveries looked at in one transaction."""

TIMEOUTS_MAX: Final = 4
"""An attempt has steps with a timeout each; one that lasts longer than all of them hangs."""

LEAD: Final = "deliveries"
"""What the right to deliver is called: of all processes on one store, one has it."""

LEAD_EVERY_S: Final = 1.0
"""So often a process without the lead asks whether it is free."""

LOOK_EVERY_S: Final = 5.0
"""Without being woken the host looks into the store so often: others may have changed it."""

LOOK_SHARED_EVERY_S: Final = 0.2
"""The same where other processes record suspensions, and cannot wake this one."""

Report = Callable[[str, bytes, str], bytes | None]
"""Writes the alert "suspension not delivered" from webhook id, body and reason; None: no alert."""


@dataclass(slots=True)
class _Lane:
    """One endpoint's way out; no other endpoint waits for it."""

    endpoint: Endpoint
    breaker: Breaker = field(default_factory=Breaker)
    flying: set[str] = field(default_factory=set)

    def room(self, now_s: float) -> int:
        """Return how many attempts may start now."""
        if self.breaker.probe_at_s is None:
            return LANE_MAX - len(self.flying)
        return 1 if now_s >= self.breaker.probe_at_s and not self.flying else 0


@dataclass(frozen=True, slots=True)
class _Flight:
    """One attempt under way."""

    delivery: Delivery
    lane: _Lane
    started_s: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """How an attempt ended; `status` None: without an answer."""

    status: int | None
    error: str
    asked_s: float | None
    took_s: float


class Dispatcher:
    """Delivers what is due, records what became of it, and says when to call again.

    A delivery is posted under the same id until it is answered or expires, and it is
    marked only after the answer: a crash in between leads to a repeat of that id, never to
    a loss. One thread calls it; attempts run on a pool of `LANE_MAX` threads an endpoint,
    which do nothing but post. `landed` is called, on any thread, when an attempt ends.

    Of several processes that share the store one delivers, the one that has the lead; the
    others idle. One that loses the lead starts nothing more, and the next one leaves alone
    what the last may still be attempting: that is held in the store until it is answered,
    or for as long as an attempt can last.

    `report` is asked for an alert when a delivery ends without success; it is recorded
    together with the end. `attempts` counts those that have ended, by endpoint and outcome, for
    whoever wants to know. `spread` draws from [0, 1) where a delay lies within its jitter.
    """

    def __init__(
        self,
        store: Store,
        endpoints: Sequence[Endpoint],
        transport: Transport,
        policy: RetryPolicy,
        *,
        report: Report,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._lanes = [_Lane(endpoint) for endpoint in endpoints]
        self._transport = transport
        self._policy = policy
        self._report = report
        self._spread = spread
        self._lead = store.lead(LEAD)
        self._leads = False
        self._pool = ThreadPoolExecutor(
            max_workers=max(1, LANE_MAX * len(self._lanes)), thread_name_prefix="astray-webhook"
        )
        self._flights: dict[Future[_Answer], _Flight] = {}
        self.attempts: Counter[tuple[str, Outcome]] = Counter()
        self.landed: Callable[[], None] = _nobody_waits

    def run_once(self, now_s: float) -> float | None:
        """Deliver everything that is due at `now_s` (wall clock, seconds) and wait for it.

        Returns the seconds until something else is due, None when nothing waits.

        Raises
        ------
        StoreError
            The store cannot be read or written; calling again carries on.
        """
        while True:
            wait_s = self.start(now_s)
            if not self._flights:
                return wait_s
            wait(self._flights, return_when=FIRST_COMPLETED)

    def start(self, now_s: float) -> float | None:
        """Record the attempts that have ended, start what is due; wait for nothing.

        Returns the seconds until something is due apart from the attempts under way, whose
        end `landed` announces; None when nothing is. Raises as `run_once` does.
        """
        self.land()
        if not self._takes_lead():
            return LEAD_EVERY_S
        for lane in self._lanes:
            self._fill(lane, now_s)
        self._expire(now_s)
        return self._wait_s(now_s)

    def land(self) -> None:
        """Record the attempts that have ended. Raises as `run_once` does."""
        done = [future for future in self._flights if future.done()]
        if not done:
            return
        # An attempt is forgotten only when it is on record: after a failure of the store
        # the next call records it, and the receiver gets no repeat.
        ended = {future: (self._flights[future], _answer_of(future)) for future in done}
        self._store.settle([self._result(flight, answer) for flight, answer in ended.values()])
        for future, (flight, answer) in ended.items():
            del self._flights[future]
            flight.lane.flying.discard(flight.delivery.webhook_id)
            self.attempts[flight.lane.endpoint.name, outcome_of(answer.status)] += 1
            self._learn(flight, answer)

    @property
    def is_leading(self) -> bool:
        """Whether, when it last looked, it was the one of all processes that delivers."""
        return self._leads

    @property
    def look_every_s(self) -> float:
        """How often to call `start` at least, although nothing seems to be due."""
        if not self._leads:
            return LEAD_EVERY_S
        return LOOK_SHARED_EVERY_S if self._store.is_shared else LOOK_EVERY_S

    @property
    def is_flying(self) -> bool:
        """Whether attempts are under way or not yet on record."""
        return bool(self._flights)

    @property
    def failing(self) -> list[str]:
        """The names of the endpoints that nothing gets through to."""
        return [lane.endpoint.name for lane in self._lanes if lane.breaker.is_open]

    def close(self) -> None:
        """Start nothing more and let another process lead.

        Attempts under way end by themselves and are not recorded.
        """
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._leads = False
        self._lead.release()

    def _takes_lead(self) -> bool:
        try:
            self._leads = self._lead.is_held()
        except StoreError:
            self._leads = False
            raise
        return self._leads

    def _fill(self, lane: _Lane, now_s: float) -> None:
        room = lane.room(now_s)
        if not room:
            return
        look = self._store.probes if lane.breaker.is_open else self._store.due
        found = look(lane.endpoint.name, now_s, room + len(lane.flying))
        waiting = [item for item in found if item.webhook_id not in lane.flying][:room]
        if lane.breaker.is_open and not waiting:
            lane.breaker.reset()
        for delivery in self._held(waiting, lane, now_s):
            lane.flying.add(delivery.webhook_id)
            future = self._pool.submit(self._attempt, delivery, lane.endpoint, now_s)
            self._flights[future] = _Flight(delivery, lane, now_s)
            future.add_done_callback(lambda _: self.landed())

    def _held(self, waiting: list[Delivery], lane: _Lane, now_s: float) -> list[Delivery]:
        """Return those of the deliveries that no other process may be attempting."""
        until_s = now_s + TIMEOUTS_MAX * lane.endpoint.timeout_s
        held = self._store.hold([item.webhook_id for item in waiting], now_s, until_s)
        return [item for item in waiting if item.webhook_id in held]

    def _attempt(self, delivery: Delivery, endpoint: Endpoint, now_s: float) -> _Answer:
        headers = sign(endpoint.secrets, delivery.webhook_id, now_s, delivery.body)
        try:
            response = self._transport.post(
                endpoint.url, delivery.body, headers, endpoint.timeout_s
            )
        except TransportError as error:
            return _Answer(None, str(error), None, error.took_s)
        return _answered(response)

    def _result(self, flight: _Flight, answer: _Answer) -> Result:
        webhook_id, at_s = flight.delivery.webhook_id, flight.started_s + answer.took_s
        outcome = outcome_of(answer.status)
        if outcome is Outcome.DELIVERED:
            return Result(webhook_id, DeliveryState.DELIVERED, at_s, answer.status)
        if outcome is Outcome.RETRY:
            delay_s = self._policy.next_delay_s(
                flight.delivery.attempts + 1, self._spread(), answer.asked_s
            )
            return Result(
                webhook_id,
                DeliveryState.PENDING,
                at_s,
                answer.status,
                answer.error,
                next_attempt_s=at_s + delay_s,
            )
        return Result(
            webhook_id,
            DeliveryState.FAILED,
            at_s,
            answer.status,
            answer.error,
            alert=self._report(webhook_id, flight.delivery.body, answer.error),
        )

    def _learn(self, flight: _Flight, answer: _Answer) -> None:
        """Let an outcome bear on the other deliveries to the same endpoint."""
        lane, at_s = flight.lane, flight.started_s + answer.took_s
        outcome = outcome_of(answer.status)
        if outcome is Outcome.RETRY:
            lane.breaker.failed(at_s, answer.asked_s)
        elif outcome is Outcome.GONE:
            self._store.disable_endpoint(lane.endpoint.name, answer.error, at_s)
        elif outcome is Outcome.DELIVERED and lane.breaker.succeeded():
            self._store.hurry(lane.endpoint.name, at_s)

    def _expire(self, now_s: float) -> None:
        """Mark what has expired; attempts under way may yet succeed, unless they hang."""
        while overdue := self._overdue(now_s):
            self._store.settle(
                [
                    Result(
                        delivery.webhook_id,
                        DeliveryState.EXPIRED,
                        now_s,
                        alert=self._report(
                            delivery.webhook_id, delivery.body, _expiry_reason(delivery)
                        ),
                    )
                    for delivery in overdue
                ]
            )

    def _overdue(self, now_s: float) -> list[Delivery]:
        flying = {
            flight.delivery.webhook_id
            for flight in self._flights.values()
            if now_s < flight.started_s + TIMEOUTS_MAX * flight.lane.endpoint.timeout_s
        }
        found = self._store.overdue(now_s, OVERDUE_MAX + len(flying))
        return [delivery for delivery in found if delivery.webhook_id not in flying]

    def _wait_s(self, now_s: float) -> float | None:
        times_s = [self._next_s(lane, now_s) for lane in self._lanes]
        times_s.append(self._store.next_expiry_s(now_s))
        waits_s = [max(0.0, time_s - now_s) for time_s in times_s if time_s is not None]
        return min(waits_s, default=None)

    def _next_s(self, lane: _Lane, now_s: float) -> float | None:
        """Return when a lane has something to start; a full one has not until one lands."""
        if lane.breaker.is_open:
            return None if lane.flying else lane.breaker.probe_at_s
        if len(lane.flying) >= LANE_MAX:
            return None
        return self._store.next_due_s(lane.endpoint.name, now_s)


def _answered(response: Response) -> _Answer:
    error = "" if outcome_of(response.status) is Outcome.DELIVERED else _phrase(response.status)
    return _Answer(response.status, error, response.retry_after_s, response.took_s)


def _answer_of(future: Future[_Answer]) -> _Answer:
    """Return an attempt's answer; one that broke for a reason of its own is like no answer.

    A transport is written by others, too. An error that it does not name must hold up
    neither the other deliveries nor the thread that makes them.
    """
    error = future.exception()
    if error is None:
        return future.result()
    return _Answer(None, f"{type(error).__name__}: {error}", None, 0.0)


def _expiry_reason(delivery: Delivery) -> str:
    tries = "one attempt" if delivery.attempts == 1 else f"{delivery.attempts} attempts"
    return f"expired after {tries}" if delivery.attempts else "expired before any attempt"


def _phrase(status: int) -> str:
    try:
        return f"answered {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"answered {status}"


def _nobody_waits() -> None:
    """Do nothing: `run_once` waits by itself."""
