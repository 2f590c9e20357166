"""A live run: everything opened, started, watched over and closed in its order."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from astray.alerts.blindness import silence_finding
from astray.alerts.ocsf import finding, undelivered
from astray.alerts.review import review_finding
from astray.baseline.judgement import Judgement
from astray.config import Config, Webhook
from astray.decide.decider import Ruling
from astray.decide.decision import Decision
from astray.decide.review import Review
from astray.detectors.models import check_detectors
from astray.errors import AstrayError, ConfigError, StoreError
from astray.flow.alerting import Alerts
from astray.flow.cluster import Cluster
from astray.flow.counters import Counters
from astray.flow.dataflow import build_flow
from astray.flow.engine import run_flow
from astray.flow.health import Health, Stage, Vitals
from astray.flow.kafka.address import is_kafka
from astray.flow.kafka.connecting import Kafka, connect
from astray.flow.linesfile import output_problems
from astray.flow.listening import Watch
from astray.flow.metrics import metrics_page
from astray.flow.naming import STDIN, check_sources
from astray.flow.past import past_of
from astray.flow.reading import Reading
from astray.flow.recovery import Recovery, open_recovery
from astray.flow.retention import Retention
from astray.flow.serving import Pages, PageServer, listening_problem
from astray.flow.sinks import Calling, RejectsFile
from astray.flow.sources import Sources
from astray.flow.state import naming_damage
from astray.flow.steps import Context
from astray.flow.stopping import asked_beside, asked_to_stop, end_unbegun
from astray.flow.verdicts import VERDICTS, StoreVerdicts
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
_GAVE_UP = 3
_CLUSTER_STOP_S = 20.0
"""So long a process of a cluster waits for the others to stop, too, before it gives up."""

_NOT_SHARED = (
    "[store]: several processes need a case store that they can share: "
    "postgresql+psycopg://USER@HOST/DATABASE; SQLite is one process's"
)


def _ignore(_: bytes) -> None:
    """Show an alert to nobody."""


@dataclass(frozen=True)
class Live:
    """What a live run is about; `show` is called with every alert.

    `verdicts` are known besides those of the case store.
    """

    config: Config
    sources: Sequence[str]
    recovery: Path | None = None
    reading: Reading = field(default_factory=Reading)
    counters: Counters = field(default_factory=Counters)
    show: Callable[[bytes], None] = _ignore
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    vitals: Vitals = field(default_factory=Vitals)
    cluster: Cluster | None = None
    verdicts: tuple[Judgement, ...] = ()

    def run(self) -> None:
        """Run until the sources end or somebody asks to stop; what is due is delivered then.

        Raises
        ------
        ConfigError
            Sources, secrets or files that cannot be used; everything is named at once.
        AstrayError
            What else keeps it from running, or broke it.
        """
        config, vitals = self.config, self.vitals
        with ExitStack() as stack:
            stack.enter_context(_stopping(self.reading))
            if self.cluster is not None:
                stack.enter_context(asked_beside(partial(_end_alone, self.reading)))
            endpoints, kafka = self._ready()
            vitals.stage = Stage.OPENING
            recovery = None
            if self.recovery is not None:
                recovery = stack.enter_context(open_recovery(self.recovery, config, self.cluster))
            store = stack.enter_context(Store.open(config.store.url, environment=self.environment))
            stack.enter_context(vitals.having(store))
            alerts = stack.enter_context(
                Alerts(store, _path(config.alerts.file), self.show, kafka.publishing(store))
            )
            stack.enter_context(Retention(store, config.store, alerts, self.counters))
            dispatcher = stack.enter_context(_dispatching(self, store, endpoints))
            record = _Record(store, WebhookOutbox(endpoints, finding), alerts, dispatcher, self)
            silent_after_s = config.blindness.silent_after_s
            watch = Watch(self.reading.listening, store, silent_after_s, alerts.wake)
            stack.enter_context(watch)
            context = self._context(kafka.names, store, recovery)
            letters = kafka.letters(self.reading)
            rejects = RejectsFile(_path(config.rejects.file), letters, durable=context.durable)
            feeds = kafka.feeds(self.reading, stack)
            stack.enter_context(kafka.verdicts(store, self.counters))
            lasts = self.reading.follow or bool(feeds)
            verdicts = partial(StoreVerdicts, store, self.reading, lasts=lasts)
            source = Sources(kafka.files, self.reading, feeds, {VERDICTS: verdicts})
            flow = build_flow(context, source, Calling(record), rejects)
            stack.enter_context(vitals.running())
            with naming_damage(self.recovery):
                run_flow(flow, config.recovery.interval_s, recovery, self.cluster)
            record.settle()
        self.reading.raise_fault()

    def _context(self, names: Sequence[str], store: Store, recovery: Recovery | None) -> Context:
        self.reading.clustered = self.cluster is not None
        stop = self.reading.stop if self.reading.clustered else None
        pace = self.reading.pace
        return Context(
            self.config, names, self.counters, durable=recovery is not None,
            files=recovery.files if recovery else None, stop=stop, pace=pace,
            judgements=self.verdicts, placed=store.place_verdict,
        )  # fmt: skip

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Tell how the run is while it starts, lasts and stops, where that is configured.

        Enter it before anything that takes time, and run inside. Yields where it is told,
        empty: nowhere.
        """
        address = self.config.health.address
        if address is None:
            yield ""
            return
        health = Health(self.vitals, self.reading, self.config.health.stuck_after_s)
        pages: Pages = {
            "/livez": health.live_page,
            "/readyz": health.ready_page,
            "/metrics": metrics_page(self.config, self.counters, self.reading, health),
        }
        with PageServer(address, pages) as server:
            yield server.url

    def check(self) -> None:
        """Raise a `ConfigError` with all that keeps it from running; before `serving`."""
        problem = listening_problem(self.config.health.address)
        try:
            self._ready()
        except ConfigError as error:
            raise ConfigError([*error.problems, *filter(None, [problem])]) from None
        if problem:
            raise ConfigError([problem])

    def _ready(self) -> tuple[list[Endpoint], Kafka]:
        """Return what it talks to; raises a `ConfigError` with all that keeps it from running."""
        outputs = (self.config.alerts.file, self.config.rejects.file)
        files = [name for name in self.sources if not is_kafka(name)]
        read = [Path(name) for name in files if name != STDIN]
        problems = output_problems(map(_path, outputs), read)
        endpoints, kafka = [], Kafka(self.config)
        for check in (
            partial(check_detectors, self.config),
            partial(check_sources, files, follow=self.reading.follow),
        ):
            try:
                check()
            except ConfigError as error:
                problems.extend(error.problems)
        try:
            kafka = connect(self.config, self.sources, self.environment)
        except ConfigError as error:
            problems.extend(error.problems)
        try:
            shared = Store.shared(self.config.store.url, environment=self.environment)
            if self.cluster is not None and not shared:
                problems.append(_NOT_SHARED)
            if self.cluster is not None and STDIN in self.sources:
                problems.append("-: several processes cannot share standard input")
        except AstrayError as error:
            problems.append(str(error))
        for webhook in self.config.webhook:
            try:
                endpoints.append(endpoint_of(webhook, self.config, self.environment))
            except ConfigError as error:
                problems.extend(error.problems)
        if problems:
            raise ConfigError(problems)
        return endpoints, kafka


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
        within_s = live.config.delivery.act_within_s
        self._past = past_of(store, live.counters, within_s, live.recovery, live.cluster)
        self._counters = live.counters
        policies = live.config.policies
        thresholds = {of.as_score for each in policies for of in (each.alert, each.suspend)}
        self._counters.act_at(thresholds)

    def __call__(self, ruling: Ruling) -> None:
        for scored in ruling.scored:
            self._counters.end_sessions(scored)
        self._past.hear(ruling)
        if ruling.silences and self._store.record_silences(
            ruling.silences, silence_finding, time.time()
        ):
            self._alerts.wake()
        if ruling.reviews:
            self._ask(ruling.reviews)
        if ruling.decisions:
            self._decide(ruling.decisions)
        if ruling.left:  # now their cases are there, also of those that began in this batch
            self._store.record_left(ruling.left, time.time())

    def _decide(self, taken: Sequence[Decision]) -> None:
        decisions = self._past.judged(taken)
        fresh = self._store.record(decisions, self._outbox, time.time())
        for decision in fresh:
            self._counters.decisions[decision.level] += 1
            if decision.withheld:
                self._counters.withheld[decision.withheld] += 1
        if self._dispatcher and any(decision.suspends for decision in fresh):
            self._dispatcher.wake()
        if fresh:
            self._alerts.wake()

    def _ask(self, reviews: Sequence[Review]) -> None:
        fresh = self._store.record_reviews(reviews, review_finding, time.time())
        floods = sum(review.is_flood for review in fresh)
        self._counters.floods += floods
        self._counters.reviews += len(fresh) - floods
        if fresh:
            self._alerts.wake()

    def settle(self) -> None:
        """Leave nothing to be written, after the last ruling."""
        self._past.settle()


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
    live: Live, store: Store, endpoints: Sequence[Endpoint]
) -> Iterator[DispatcherThread | None]:
    """Deliver while the run lasts, and what is due for a bounded time after it."""
    if not endpoints:
        yield None
        return
    config, vitals = live.config, live.vitals
    policy = RetryPolicy(config.delivery.delays_s, _JITTER)
    with HttpTransport() as transport:
        dispatcher = Dispatcher(store, endpoints, transport, policy, report=undelivered)
        thread = DispatcherThread(dispatcher)
        vitals.dispatcher, vitals.deliveries = dispatcher, thread
        thread.start()
        try:
            yield thread
        finally:
            thread.stop(config.delivery.flush_s)
            with suppress(StoreError):  # it says what is wrong with it where it matters
                live.counters.undelivered = store.counts(time.time()).outbox


def _stopping(reading: Reading) -> AbstractContextManager[None]:
    """Let SIGTERM and SIGINT end the sources; a second one ends the process."""

    def stop(number: int) -> None:
        signal.signal(number, signal.SIG_DFL)
        reading.stop.set()
        if reading.clustered:
            _give_up_after(_CLUSTER_STOP_S)

    return asked_to_stop(stop)


def _end_alone(reading: Reading) -> None:
    """End a process of a cluster that is asked to stop while it waits for the others."""
    if not reading.turned_s:
        end_unbegun()


def _give_up_after(seconds: float) -> None:
    """End the process if it has not ended by then: a cluster can hang on one who is gone.

    Nothing is lost that is not in the recovery store; the next start goes on from there.
    """
    timer = threading.Timer(seconds, os._exit, (_GAVE_UP,))
    timer.daemon = True
    timer.start()


def _path(name: str | None) -> Path | None:
    return Path(name) if name else None
