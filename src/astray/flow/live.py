"""A live run: everything opened, started, watched over and closed in its order."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from astray.alerts.ocsf import finding, undelivered
from astray.config import Config, Webhook
from astray.decide.decider import Ruling
from astray.errors import ConfigError
from astray.flow.alerting import Alerts
from astray.flow.counters import Counters
from astray.flow.dataflow import build_flow
from astray.flow.engine import run_flow
from astray.flow.linesfile import output_problems
from astray.flow.recovery import open_recovery
from astray.flow.sinks import Calling, RejectsFile
from astray.flow.sources import Reading, Sources, check_sources
from astray.flow.steps import Context
from astray.respond import (
    Dispatcher,
    DispatcherThread,
    Endpoint,
    HttpTransport,
    RetryPolicy,
    WebhookOutbox,
    secret_from,
)
from astray.store import Store

_JITTER = 0.2


def _ignore(_: bytes) -> None:
    """Show an alert to nobody."""


@dataclass(frozen=True)
class Live:
    """What a live run is about; `show` is called with every alert."""

    config: Config
    sources: Sequence[str]
    recovery: Path | None = None
    reading: Reading = field(default_factory=Reading)
    counters: Counters = field(default_factory=Counters)
    show: Callable[[bytes], None] = _ignore
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def run(self) -> None:
        """Run until the sources end or somebody asks to stop; what is due is delivered then.

        Raises
        ------
        ConfigError
            Sources, secrets or files that cannot be used; everything is named at once.
        AstrayError
            What else keeps it from running, or broke it.
        """
        endpoints = self.check()
        config = self.config
        with ExitStack() as stack:
            recovery = None
            if self.recovery is not None:
                recovery = stack.enter_context(open_recovery(self.recovery, config))
            store = stack.enter_context(Store.open(config.store.url))
            alerts = stack.enter_context(Alerts(store, _path(config.alerts.file), self.show))
            dispatcher = stack.enter_context(_dispatching(config, store, endpoints))
            record = _Record(store, WebhookOutbox(endpoints, finding), alerts, dispatcher, self)
            stack.enter_context(_stopping(self.reading))
            context = Context(config, self.sources, self.counters, durable=recovery is not None)
            rejects = RejectsFile(_path(config.rejects.file), durable=context.durable)
            flow = build_flow(
                context, Sources(self.sources, self.reading), Calling(record), rejects
            )
            run_flow(flow, config.recovery.interval_s, recovery)
        self.reading.raise_fault()

    def check(self) -> list[Endpoint]:
        """Return the endpoints; raises a `ConfigError` with all that keeps it from running."""
        outputs = (self.config.alerts.file, self.config.rejects.file)
        problems = output_problems(map(_path, outputs))
        endpoints = []
        try:
            check_sources(self.sources, follow=self.reading.follow)
        except ConfigError as error:
            problems.extend(error.problems)
        for webhook in self.config.webhook:
            try:
                endpoints.append(endpoint_of(webhook, self.config, self.environment))
            except ConfigError as error:
                problems.extend(error.problems)
        if problems:
            raise ConfigError(problems)
        return endpoints


class _Record:
    """Records rulings; called by the engine for every one, again after a crash."""

    def __init__(
        self,
        store: Store,
        outbox: WebhookOutbox,
        alerts: Alerts,
        dispatcher: DispatcherThread | None,
        live: Live,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._alerts = alerts
        self._dispatcher = dispatcher
        self._counters = live.counters

    def __call__(self, ruling: Ruling) -> None:
        for scored in ruling.scored:
            self._counters.sessions += int((~scored["live"]).sum())
        if not ruling.decisions:
            return
        fresh = self._store.record(ruling.decisions, self._outbox, time.time())
        for decision in fresh:
            self._counters.decisions[decision.level] += 1
        if self._dispatcher and any(decision.suspends for decision in fresh):
            self._dispatcher.wake()
        if fresh:
            self._alerts.wake()


def endpoint_of(webhook: Webhook, config: Config, environment: Mapping[str, str]) -> Endpoint:
    """Return the endpoint of a configured webhook, with its secrets.

    Raises
    ------
    ConfigError
        A secret is not there or not one, or the address cannot be used.
    """
    places = (webhook.secret,) if isinstance(webhook.secret, str) else webhook.secret
    return Endpoint(
        name=webhook.name,
        url=webhook.url,
        secrets=tuple(secret_from(place, environment) for place in places),
        timeout_s=webhook.timeout_s or config.delivery.timeout_s,
        expires_after_s=webhook.expires_s or config.delivery.expires_s,
    )


@contextmanager
def _dispatching(
    config: Config, store: Store, endpoints: Sequence[Endpoint]
) -> Iterator[DispatcherThread | None]:
    """Deliver while the run lasts, and what is due for a bounded time after it."""
    if not endpoints:
        yield None
        return
    policy = RetryPolicy(config.delivery.delays_s, _JITTER)
    with HttpTransport() as transport:
        thread = DispatcherThread(
            Dispatcher(store, endpoints, transport, policy, report=undelivered)
        )
        thread.start()
        try:
            yield thread
        finally:
            thread.stop(config.delivery.flush_s)


@contextmanager
def _stopping(reading: Reading) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the sources; a second one ends the process."""
    if threading.current_thread() is not threading.main_thread():  # only it may take signals
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        reading.stop.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None
