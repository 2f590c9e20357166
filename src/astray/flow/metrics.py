"""/metrics: what a run counts, in the form of Prometheus.

Numbers are read when somebody asks and cost the stream nothing. Labels have few values, all
of them from the configuration or a closed list: agents, tenants and sessions are in alerts.
What the case store holds is told by every process that shares it: take the maximum, not the
sum.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate, product
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from astray.baseline.buffers import (
    N_CUT,
    N_EVICTED,
    N_JUDGED,
    N_OPENED,
    N_PENDING_LOST,
    N_QUARANTINED,
    N_REDELIVERED,
    N_RELEASED,
    N_UNKEPT,
    N_UNMATCHED,
)
from astray.config import Config
from astray.decide.decision import Level, Withheld
from astray.decide.silence import Kind
from astray.errors import SourceError, StoreError
from astray.events.schema import Reason
from astray.flow.counters import SCORE_EDGES, Counters
from astray.flow.health import Asked, Health
from astray.flow.naming import files_in
from astray.flow.progress import Progress
from astray.flow.reading import Reading
from astray.flow.serving import Page
from astray.respond import Outcome
from astray.store import TABLES, Counts, DeliveryState, Store, SuspensionState

AGES: Final = ("young", "growing", "settled")
"""The age classes of agents: with fewer than 5 sessions, with fewer than 31, and with more."""

_MICROS = 1e6
_SHARD_COUNTS: Final = {
    "astray_events_redelivered": (N_REDELIVERED, "Events known already, which count for nothing."),
    "astray_sessions_opened": (N_OPENED, "Sessions that have begun."),
    "astray_sessions_cut": (N_CUT, "Sessions as long as sessions.events_max, judged in pieces."),
    "astray_sessions_quarantined": (N_QUARANTINED, "Sessions too odd to learn from."),
    "astray_sessions_released": (N_RELEASED, "Sessions out of quarantine by time or by peers."),
    "astray_sessions_unkept": (N_UNKEPT, "Sessions that nobody can judge for want of room."),
    "astray_verdicts": (N_JUDGED, "Verdicts that took effect, shard by shard."),
    "astray_verdicts_unmatched": (N_UNMATCHED, "Verdicts about no session that is kept there."),
    "astray_lessons_lost": (N_PENDING_LOST, "Items that peers have not learnt for want of room."),
    "astray_agents_evicted": (N_EVICTED, "Agents forgotten: baseline.agents_max is reached."),
}
"""What the hot loop counts, which is in the state: told since the run began."""


@dataclass(frozen=True, eq=False)
class Metrics(Collector):
    """Reads a run's numbers, when asked."""

    config: Config
    counters: Counters
    reading: Reading
    health: Health
    held: Asked[Counts]

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; called at every scrape, on its own thread."""
        yield from self._run()
        yield from self._stream()
        yield from self._lag()
        yield from self._shards()
        yield from self._snapshots()
        yield from self._scores()
        yield from self._references()
        yield from self._decisions()
        yield from self._webhooks()
        yield from self._store()

    def _run(self) -> Iterator[Metric]:
        config = self.config
        yield InfoMetricFamily(
            "astray_build",
            "The version of astray, and the hashes of what scores depend on and of everything "
            "that is configured.",
            {
                "version": version("astray"),
                "model": config.model_hash,
                "config": config.config_hash,
            },
        )
        yield _gauge(
            "astray_ready", "Whether nothing keeps the run from being ready.", self.health.is_ready
        )
        yield _gauge(
            "astray_loop_idle_seconds",
            "Seconds since the loop that reads and scores last turned.",
            self.health.idle_s,
        )

    def _stream(self) -> Iterator[Metric]:
        counters = self.counters
        yield _count("astray_events", "Events that were read.", counters.events)
        yield _counts(
            "astray_rejects",
            "Lines that are no events, by reason.",
            "reason",
            _filled(counters.rejects, Reason),
        )
        if counters.latest_us:
            yield _gauge(
                "astray_last_event_timestamp_seconds",
                "The latest time of an event in the last batch, in seconds since 1970.",
                counters.latest_us / _MICROS,
            )

    def _lag(self) -> Iterator[Metric]:
        lag = {name: _unread(name, seen) for name, seen in dict(self.reading.progress).items()}
        yield _gauges(
            "astray_source_lag_bytes",
            "Bytes of a file, or of a directory's files, that have not been read yet.",
            "source",
            {name: unread for name, unread in lag.items() if unread is not None},
        )
        yield _gauges(
            "astray_source_last_read_timestamp_seconds",
            "When something was last read of a source, in seconds since 1970.",
            "source",
            dict(self.reading.heard_s),
        )
        backlogs = dict(self.reading.backlogs)
        yield _gauges(
            "astray_source_lag_messages",
            "Messages of a Kafka partition that have not been read yet.",
            "source",
            {name: backlog.lag for name, backlog in backlogs.items() if backlog.end >= 0},
        )
        yield _counts(
            "astray_source_messages_lost",
            "Messages of a Kafka partition that were gone before they could be read.",
            "source",
            {name: backlog.lost for name, backlog in backlogs.items()},
        )

    def _shards(self) -> Iterator[Metric]:
        watched = list(self.counters.shards.values())
        yield _gauge("astray_agents", "Agents that have a baseline.", self.counters.agents)
        for name, (counter, text) in _SHARD_COUNTS.items():
            yield _count(name, text, sum(one.count(counter) for one in watched))
        yield _gauge(
            "astray_state_bytes",
            "Bytes of memory that baselines and open sessions take.",
            sum(one.size_bytes for one in watched),
        )
        yield _gauge(
            "astray_decider_state_bytes",
            "Bytes of memory that references, rhythms, agents' latest ranks and what waits take.",
            sum(one.size_bytes for one in list(self.counters.deciders)),
        )

    def _snapshots(self) -> Iterator[Metric]:
        snapshots = self.counters.snapshots
        yield SummaryMetricFamily(
            "astray_snapshot_seconds",
            "Seconds that the loop has paused to make a shard's or a decider's state durable.",
            count_value=snapshots.count,
            sum_value=snapshots.seconds,
        )
        yield _gauge(
            "astray_snapshot_longest_seconds",
            "The longest such pause since the start, in seconds.",
            snapshots.longest_s,
        )
        yield _count(
            "astray_snapshot_bytes", "Bytes of all states made durable.", snapshots.size_bytes
        )

    def _scores(self) -> Iterator[Metric]:
        counters = self.counters
        tallies = accumulate(counters.scores.tolist())
        names = (*(f"{edge:.1f}" for edge in SCORE_EDGES), "+Inf")
        yield HistogramMetricFamily(
            "astray_session_score",
            "The scores of ended sessions: 20 * log10(N) for 1 in N.",
            buckets=list(zip(names, tallies, strict=True)),
            sum_value=counters.scores_sum,
        )
        yield _count("astray_sessions", "Sessions that have ended.", counters.sessions)
        reached = {f"{score:g}": count for score, count in counters.reaching.items()}
        yield _counts(
            "astray_sessions_reaching",
            "Ended sessions that have reached a score at which a policy alerts or suspends.",
            "score",
            reached,
        )
        yield _gauges(
            "astray_sessions_reaching_nominal_ratio",
            "The share of benign sessions that reach this score by its definition: at most "
            "that of astray_sessions_total should, in the long run.",
            "score",
            {f"{score:g}": 10 ** (-score / 20) for score in counters.reaching},
        )

    def _references(self) -> Iterator[Metric]:
        deciders = list(self.counters.deciders)
        tenants = [sizes for decider in deciders for sizes in decider.reference_sessions()]
        by_age = list(zip(*tenants, strict=True)) or [()] * len(AGES)
        yield _gauge("astray_tenants", "Tenants that have a reference.", len(tenants))
        yield _gauges(
            "astray_reference_sessions",
            "Past sessions that sessions are ranked against, by age class of the agent, of "
            "all tenants.",
            "age",
            {age: sum(sizes) for age, sizes in zip(AGES, by_age, strict=True)},
        )
        yield _gauges(
            "astray_reference_certified_ratio",
            "The smallest share of benign sessions that a score can be certified for, by age "
            "class of the agent, in the longest reference of a tenant.",
            "age",
            {age: 1 / (max(sizes, default=0) + 1) for age, sizes in zip(AGES, by_age, strict=True)},
        )

    def _decisions(self) -> Iterator[Metric]:
        yield _counts(
            "astray_decisions",
            "Decisions that were new to the case store, by the level that was reached.",
            "level",
            _filled(self.counters.decisions, Level),
        )
        yield _counts(
            "astray_withheld",
            "Suspensions that were withheld, by reason; observe: by the mode of the policy alone.",
            "reason",
            _filled(self.counters.withheld, (why for why in Withheld if why)),
        )
        for name, count, what in (
            ("astray_reviews", self.counters.reviews, "agents that do not behave as they used to"),
            ("astray_floods", self.counters.floods, "many agents that do the same at once"),
        ):
            yield _count(name, f"Reviews of {what}, new to the case store.", count)
        text = "Floods, and what tells them, that were lost for want of room, by reason."
        yield _counts("astray_floods_lost", text, "reason", self.counters.floods_lost)

    def _webhooks(self) -> Iterator[Metric]:
        dispatcher = self.health.vitals.dispatcher
        failing = dispatcher.failing if dispatcher is not None else []
        names = [webhook.name for webhook in self.config.webhook]
        yield _gauges(
            "astray_webhook_breaker_open",
            "Whether nothing gets through to a webhook's receiver, so that only probes go out.",
            "webhook",
            {name: name in failing for name in names},
        )
        attempts = CounterMetricFamily(
            "astray_webhook_attempts",
            "Attempts to deliver to a webhook's receiver that have ended, by outcome.",
            labels=["webhook", "outcome"],
        )
        ended = dict(dispatcher.attempts) if dispatcher is not None else {}
        for name, outcome in product(names, Outcome):
            attempts.add_metric([name, outcome], ended.get((name, outcome), 0))
        yield attempts

    def _store(self) -> Iterator[Metric]:
        try:
            held: Counts | None = self.held.ask()
        except StoreError:
            held = None
        yield _gauge("astray_store_up", "Whether the case store answers.", held is not None)
        yield _counts(
            "astray_store_removed_rows",
            "Rows that were removed from the case store, old and closed as they were, by table.",
            "table",
            _filled(self.counters.removed, TABLES),
        )
        if held is not None:
            yield from _held(held, [webhook.name for webhook in self.config.webhook])


def metrics_page(
    config: Config, counters: Counters, reading: Reading, health: Health
) -> "MetricsPage":
    """Return what answers /metrics."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    held = Asked(health.vitals, _counts_now)
    registry.register(Metrics(config, counters, reading, health, held))
    return MetricsPage(registry)


@dataclass(frozen=True)
class MetricsPage:
    """Answers /metrics, in the form that the scraper asks for."""

    registry: CollectorRegistry

    def __call__(self, accept: str) -> Page:
        """Return the page."""
        encoder, content_type = choose_encoder(accept)
        return Page(200, content_type, encoder(self.registry))


def _counts_now(store: Store) -> Counts:
    return store.counts(time.time())


def _held(held: Counts, webhooks: Iterable[str]) -> Iterator[Metric]:
    yield _gauges(
        "astray_cases",
        "Cases in the case store, by the highest level they have reached.",
        "level",
        _filled(held.cases, Level),
    )
    yield _gauges(
        "astray_silences",
        "Cases of what has fallen silent and is not heard again, by what it is.",
        "kind",
        _filled(held.silences, Kind),
    )
    yield _gauges(
        "astray_suspensions",
        "Requests to stop a session in the case store, by state.",
        "state",
        _filled(held.suspensions, SuspensionState),
    )
    yield _gauges(
        "astray_deliveries",
        "Webhooks in the case store, by state.",
        "state",
        _filled(held.deliveries, DeliveryState),
    )
    yield _gauge("astray_outbox_deliveries", "Webhooks that nobody has taken yet.", held.outbox)
    yield _gauge(
        "astray_outbox_oldest_seconds", "The age of the oldest of them in seconds.", held.oldest_s
    )
    yield _gauges(
        "astray_webhook_disabled",
        "Whether a webhook is disabled until somebody enables it again.",
        "webhook",
        {name: name in held.disabled for name in webhooks},
    )


def _unread(name: str, seen: Progress) -> int | None:
    """Return the bytes of a source that are to be read yet; None: nobody knows."""
    path = Path(name)
    try:
        files = files_in(path) if path.is_dir() else [path]
        sizes = {file.name: file.stat().st_size for file in files}
    except (OSError, SourceError):  # it is being rotated, or gone
        return None
    if path.is_dir():
        sizes = {file: size for file, size in sizes.items() if file >= seen.file}
    return max(sum(sizes.values()) - (seen.position if seen.file in sizes else 0), 0)


def _filled(counts: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    """Return counts with a zero for what has not happened, so that its first time is seen."""
    counted = dict(counts)  # at once: the loop goes on counting meanwhile
    return {**{str(name): 0 for name in names}, **{str(name): n for name, n in counted.items()}}


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _count(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value)


def _counts(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
