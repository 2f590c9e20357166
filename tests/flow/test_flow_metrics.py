"""Metrics: every one of them is there, is right, and says nothing of who is watched."""

import gzip
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import orjson
import pytest
from bytewax.testing import TestingSource
from prometheus_client import parser as plain
from prometheus_client.openmetrics import parser as openmetrics

from astray.alerts.ocsf import finding, undelivered
from astray.baseline.buffers import N_OPENED, N_REDELIVERED
from astray.config import load_config
from astray.decide.decider import SCORED, Decider
from astray.decide.floods import Lost
from astray.events import Chunk, Event
from astray.flow.counters import SCORE_EDGES, Counters
from astray.flow.dataflow import build_flow
from astray.flow.engine import run_flow
from astray.flow.health import Health, Stage, Vitals
from astray.flow.lines import CHUNK_BYTES_MAX
from astray.flow.metrics import metrics_page
from astray.flow.progress import Backlog, Progress
from astray.flow.recovery import open_recovery
from astray.flow.sinks import Calling, Collector, RejectsFile
from astray.flow.sources import Reading, Sources, reader_of
from astray.flow.steps import Context
from astray.respond import Dispatcher, Endpoint, RetryPolicy, WebhookOutbox
from astray.store import TABLES, Store
from astray.testing import ScriptedTransport, make_decision, make_secret
from running import lines
from strategies import NOW_US

CONFIG = load_config(
    overrides={
        "default_policy": {"alert": {"score": 40.0}, "suspend": {"budget_per_million": 1000}},
        "webhook": [{"name": "idp", "url": "https://idp.example", "secret": "env:SECRET"}],
    }
)
DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "astray.json"
_HOUR_US = 3_600_000_000

METRICS = {
    "astray_build_info", "astray_ready", "astray_loop_idle_seconds",
    "astray_events_total", "astray_rejects_total", "astray_last_event_timestamp_seconds",
    "astray_source_last_read_timestamp_seconds",
    "astray_source_lag_bytes", "astray_source_lag_messages", "astray_source_messages_lost_total",
    "astray_agents", "astray_events_redelivered_total", "astray_sessions_opened_total",
    "astray_sessions_cut_total", "astray_sessions_quarantined_total", "astray_lessons_lost_total",
    "astray_agents_evicted_total", "astray_sessions_released_total",
    "astray_sessions_unkept_total", "astray_verdicts_total", "astray_verdicts_unmatched_total", "astray_state_bytes", "astray_snapshot_seconds_count",
    "astray_snapshot_seconds_sum", "astray_snapshot_longest_seconds", "astray_snapshot_bytes_total",
    "astray_session_score_bucket", "astray_session_score_count", "astray_session_score_sum",
    "astray_sessions_total", "astray_sessions_reaching_total",
    "astray_sessions_reaching_nominal_ratio", "astray_tenants", "astray_reference_sessions",
    "astray_reference_certified_ratio", "astray_decisions_total", "astray_withheld_total",
    "astray_webhook_breaker_open", "astray_store_up", "astray_cases", "astray_suspensions",
    "astray_deliveries", "astray_outbox_deliveries", "astray_outbox_oldest_seconds",
    "astray_webhook_disabled", "astray_silences", "astray_webhook_attempts_total",
    "astray_decider_state_bytes", "astray_store_removed_rows_total", "astray_reviews_total",
    "astray_floods_total", "astray_floods_lost_total",
}  # fmt: skip

LABELS = {
    "version", "model", "config", "reason", "source", "le", "score", "age", "level", "webhook",
    "state", "kind", "outcome", "table",
}  # fmt: skip


class Site:
    """A run as its metrics see it."""

    def __init__(self, vitals: Vitals | None = None) -> None:
        self.counters, self.reading, self.vitals = Counters(), Reading(), vitals or Vitals()
        health = Health(self.vitals, self.reading, 60.0)
        self.page = metrics_page(CONFIG, self.counters, self.reading, health)

    def scraped(self) -> dict[tuple, float]:
        """Return every value by its name and its labels' values."""
        text = self.page("").body.decode()
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in plain.text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, *key: str) -> float:
        """Return one value."""
        return self.scraped()[key]


@pytest.fixture
def site():
    """Make a run that has something of everything."""
    site = Site()
    site.counters.latest_us = NOW_US
    site.counters.act_at([40.0, 60.0])
    site.reading.backlogs["kafka:actions/3"] = Backlog(position=40, end=100, lost=5)
    site.reading.progress[__file__] = Progress()
    site.reading.heard_s[__file__] = NOW_US / 1e6
    with Store.open("sqlite://") as store, site.vitals.having(store):
        yield site


def families_of(page, parse):
    """Return what Prometheus's own parser makes of a page."""
    return list(parse(page.body.decode()))


def test_every_metric_is_there(site):
    """Those of the list, and no others but the process's own."""
    names = {name for name, *_ in site.scraped()}

    assert {name for name in names if not name.startswith("process_")} == METRICS
    assert "process_resident_memory_bytes" in names


@pytest.mark.parametrize(
    ("accept", "parse"),
    [
        ("", plain.text_string_to_metric_families),
        ("application/openmetrics-text; version=1.0.0", openmetrics.text_string_to_metric_families),
    ],
    ids=["plain", "openmetrics"],
)
def test_metrics_keep_to_the_rules(accept, parse, site):
    """Counters end in _total, units are base units, help is a sentence, labels are of a list."""
    page = site.page(accept)
    own = [one for one in families_of(page, parse) if one.name.startswith("astray_")]

    for family in own:
        unsuffixed = family.name.removesuffix("_total")
        assert re.fullmatch(r"[A-Z][^\n]*\.", family.documentation), family.name
        assert not re.search(r"_(ms|us|kb|mb|percent)(_|$)", unsuffixed), family.name
        assert {label for sample in family.samples for label in sample.labels} <= LABELS
        for sample in family.samples:
            assert (family.type == "counter") == sample.name.endswith("_total"), sample.name
    assert len(own) > 30
    assert page.content_type.startswith(accept.split(";")[0] or "text/plain; version=")


def test_reviews_are_counted(site):
    """As many as were new to the case store."""
    site.counters.reviews, site.counters.floods = 3, 2

    assert site.value("astray_reviews_total") == 3
    assert site.value("astray_floods_total") == 2


def test_what_is_lost_of_floods_is_counted(site):
    """Over all deciders, by reason."""
    site.counters.deciders += [Decider(CONFIG), Decider(CONFIG)]
    for decider in site.counters.deciders:
        decider.floods.lost[Lost.SWARMS] += 2

    assert site.value("astray_floods_lost_total", "swarms") == 4
    assert site.value("astray_floods_lost_total", "at_once") == 0


def labels_by_metric(site):
    """Return the labels of every metric, those that Prometheus adds among them."""
    page = site.page("")
    return {
        sample.name: {*sample.labels, "instance", "job"}
        for family in families_of(page, plain.text_string_to_metric_families)
        for sample in family.samples
    }


def test_the_dashboard_shows_exactly_the_metrics_that_are_there(site):
    """None of its questions is in vain, and nothing that is told is left out."""
    dashboard = orjson.loads(DASHBOARD.read_bytes())
    known, shown = labels_by_metric(site), set()
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            asked = target["expr"]
            names = set(re.findall(r"\b(?:astray|process)_\w+", asked))
            labels = ",".join(re.findall(r"\b(?:by|on) \(([^)]+)\)", asked)).split(",")
            legend = re.findall(r"{{(\w+)}}", target["legendFormat"])
            both = {*filter(None, map(str.strip, labels)), *legend}
            assert both <= set().union(*(known[name] for name in names)), asked
            assert asked.count("(") == asked.count(")"), asked
            shown |= names

    assert {name for name in shown if name.startswith("astray_")} == METRICS
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_what_has_not_happened_is_zero(site):
    """A first time is seen as a rise, which it would not be out of nothing."""
    values = site.scraped()

    for name, labels in {
        "astray_decisions_total": {"alert", "withheld", "suspend"},
        "astray_cases": {"alert", "withheld", "suspend"},
        "astray_withheld_total": {
            "observe",
            "uncertified",
            "young",
            "never_suspend",
            "breaker",
            "past",
        },
        "astray_floods_lost_total": {"kinds", "swarms", "at_once", "tenants", "newcomers"},
        "astray_suspensions": {"requested", "delivered", "failed", "expired", "released"},
        "astray_deliveries": {"pending", "delivered", "failed", "expired"},
        "astray_silences": {"source", "agent", "action", "agents", "actions"},
        "astray_store_removed_rows_total": set(TABLES),
        "astray_reference_sessions": {"young", "growing", "settled"},
    }.items():
        assert {key[1]: value for key, value in values.items() if key[0] == name} == dict.fromkeys(
            labels, 0.0
        )
    assert values["astray_rejects_total", "not_json"] == 0.0


def test_the_build_says_what_runs(site):
    """Version and hashes, as in decisions."""
    hashes = (CONFIG.config_hash, CONFIG.model_hash, "0.1.0")

    assert site.value("astray_build_info", *hashes) == 1.0


def test_lag_of_a_partition_is_in_messages(site):
    """And what was lost is counted; where the end is not known yet, there is no lag."""
    site.reading.backlogs["kafka:actions/4"] = Backlog(position=7)

    values = site.scraped()

    assert values["astray_source_lag_messages", "kafka:actions/3"] == 60.0
    assert values["astray_source_messages_lost_total", "kafka:actions/3"] == 5.0
    assert ("astray_source_lag_messages", "kafka:actions/4") not in values


def event_lines(count):
    """Return lines of events."""
    return lines(Event(ts_us=NOW_US - 10**12 + n, agent="a", action="read") for n in range(count))


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_lag_of_a_directory_is_in_bytes_on_disk(suffix, tmp_path):
    """It shrinks file by file as they are read, and grows with what comes."""
    site, name = Site(), str(tmp_path)
    site.reading.follow = suffix == ".jsonl"
    data = event_lines(20)
    for number in range(3):
        content = gzip.compress(data, mtime=0) if suffix.endswith(".gz") else data
        (tmp_path / f"{number}{suffix}").write_bytes(content)
    size = len(content)
    lags = []

    with closing(Sources([name], site.reading).build_part("read", reader_of(name), None)) as reader:
        lags.append(site.value("astray_source_lag_bytes", name))
        for _ in range(12):
            if lags[-1]:
                reader.next_batch()
                lags.append(site.value("astray_source_lag_bytes", name))
        (tmp_path / f"3{suffix}").write_bytes(content)
        lags.append(site.value("astray_source_lag_bytes", name))

    assert list(dict.fromkeys(lags)) == [3 * size, 2 * size, size, 0.0]
    assert lags[-1] == size


def test_lag_within_a_file_is_what_is_left_of_it(tmp_path):
    """A file that takes many polls is behind by what they have yet to read."""
    site, name = Site(), str(tmp_path)
    data = event_lines(1) * (3 * CHUNK_BYTES_MAX // len(event_lines(1)))
    (tmp_path / "0.jsonl").write_bytes(data)
    lags = []

    with closing(Sources([name], site.reading).build_part("read", reader_of(name), None)) as reader:
        while not lags or lags[-1]:
            read = sum(len(chunk.data) for chunk in reader.next_batch())
            lags.append(site.value("astray_source_lag_bytes", name))
            before = lags[-2] if len(lags) > 1 else len(data)
            assert before - lags[-1] == pytest.approx(read, abs=len(event_lines(1)))

    assert len(lags) >= 3


def test_a_source_that_falls_silent_can_be_seen(tmp_path):
    """When it was last heard of is told for each, and a poll that finds nothing is no news."""
    site, silent, busy_one = Site(), tmp_path / "silent.jsonl", tmp_path / "busy.jsonl"
    site.reading.follow = True
    names = [str(silent), str(busy_one)]
    silent.touch()
    busy_one.touch()
    sources = Sources(names, site.reading)
    readers = [sources.build_part("read", key, None) for key in {*map(reader_of, names)}]
    before_s, name = time.time(), "astray_source_last_read_timestamp_seconds"

    with ExitStack() as stack:
        for reader in readers:
            stack.enter_context(closing(reader))
        busy_one.write_bytes(event_lines(1))
        heard = []
        for _ in range(3):
            for reader in readers:
                reader.next_batch()
            values = site.scraped()
            heard.append({key[1]: value for key, value in values.items() if key[0] == name})

    assert list(heard[0]) == [str(busy_one)]
    assert before_s <= heard[0][str(busy_one)] <= time.time()
    assert heard[0] == heard[1] == heard[2]


def test_lag_of_a_file_that_is_gone_is_unknown(tmp_path):
    """There is no number for it, and the other metrics are there."""
    site, path = Site(), tmp_path / "events.jsonl"
    path.write_bytes(event_lines(1))
    with closing(Sources([str(path)], site.reading).build_part("read", reader_of(str(path)), None)):
        path.unlink()
        values = site.scraped()

    assert not [key for key in values if key[0] == "astray_source_lag_bytes"]
    assert values["astray_events_total",] == 0.0


def scored(*scores, live=False):
    """Return ranked sessions with these scores."""
    rows = np.zeros(len(scores), SCORED)
    rows["score"], rows["live"] = scores, live
    return rows


def test_ended_sessions_are_counted_by_score(site):
    """An edge belongs to the bucket below it, a limit that is met is reached; live ones wait."""
    site.counters.end_sessions(scored(0.0, 20.0, 20.1, 40.0, 59.9, 60.0, 100.0))
    site.counters.end_sessions(scored(99.0, live=True))

    values = site.scraped()

    buckets = [values["astray_session_score_bucket", f"{edge:.1f}"] for edge in SCORE_EDGES]
    assert SCORE_EDGES == (20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120)
    assert buckets == [2.0, 3.0, 4.0, 4.0, 6.0, 6.0, 6.0, 6.0, 7.0, 7.0, 7.0]
    assert values["astray_session_score_bucket", "+Inf"] == 7.0
    assert values["astray_session_score_count",] == values["astray_sessions_total",] == 7.0
    assert values["astray_session_score_sum",] == pytest.approx(300.0)
    assert values["astray_sessions_reaching_total", "40"] == 4.0
    assert values["astray_sessions_reaching_total", "60"] == 2.0


def test_the_nominal_rate_is_that_of_the_score(site):
    """60 is 1 in 1,000: what is realised can be laid beside it."""
    assert site.value("astray_sessions_reaching_nominal_ratio", "40") == pytest.approx(0.01)
    assert site.value("astray_sessions_reaching_nominal_ratio", "60") == pytest.approx(0.001)


def test_without_a_store_the_rest_is_told(site):
    """A store that does not answer takes none of the other metrics with it."""
    with_store = site.scraped()
    site.vitals.store.close()
    site = Site()

    without = site.scraped()

    assert (with_store["astray_store_up",], without["astray_store_up",]) == (1.0, 0.0)
    lost = {name for name, *_ in with_store} - {name for name, *_ in without}
    assert lost >= {"astray_cases", "astray_outbox_deliveries"}
    assert "astray_events_total" not in lost


def test_a_receiver_that_nothing_gets_through_to_is_told(site):
    """That only probes go out, how many webhooks wait for how long, and that one is disabled."""
    endpoint = Endpoint("idp", "https://idp.example", (make_secret(),), 1.0, 3600.0)
    store, policy, now_s = site.vitals.store, RetryPolicy((1.0,), 0.0), time.time() - 60.0
    store.record([make_decision()], WebhookOutbox([endpoint], finding), now_s)
    transport = ScriptedTransport(lambda _: 503)
    site.vitals.dispatcher = Dispatcher(store, [endpoint], transport, policy, report=undelivered)
    before = site.value("astray_webhook_breaker_open", "idp")

    with closing(site.vitals.dispatcher) as dispatcher:
        dispatcher.run_once(now_s)
        dispatcher.run_once(now_s + 10.0)
    store.disable_endpoint("idp", "answered 410 Gone", now_s)
    values = Site(site.vitals).scraped()  # that has not just asked the store

    assert (before, values["astray_webhook_breaker_open", "idp"]) == (0.0, 1.0)
    assert values["astray_webhook_disabled", "idp"] == 1.0
    assert {
        key[1]: value for key, value in values.items() if key[0] == "astray_webhook_attempts_total"
    } == {"delivered": 0.0, "retry": 2.0, "refused": 0.0, "gone": 0.0}
    assert values["astray_outbox_deliveries",] == values["astray_deliveries", "pending"] == 1.0
    assert 60.0 <= values["astray_outbox_oldest_seconds",] < 120.0
    assert values["astray_cases", "suspend"] == values["astray_suspensions", "requested"] == 1.0


def busy(hours, first_hour=0):
    """Return the lines of some agents over hours, each with a session an hour."""
    return lines(
        Event(
            ts_us=NOW_US - 1000 * _HOUR_US + (first_hour + hour) * _HOUR_US + agent * 1000 + step,
            agent=f"agent-{agent}",
            action="read",
            session=f"s{agent}-{first_hour + hour}",
            event_id=f"e{agent}-{first_hour + hour}-{step}",
        )
        for hour in range(hours)
        for agent in range(6)
        for step in range(3)
    )


def run_over(chunks, folder, counters):
    """Run the dataflow over chunks of lines, going on from the state in a folder."""
    context = Context(CONFIG, ["source"], counters, durable=folder is not None)
    source = TestingSource([Chunk("source", 0, data) for data in chunks])
    flow = build_flow(context, source, Calling(Collector()), RejectsFile(None))
    if folder is None:
        run_flow(flow, 10.0)
        return
    with open_recovery(folder, CONFIG) as recovery:
        run_flow(flow, 10.0, recovery)


def test_what_a_run_counts_is_told(tmp_path):
    """Events, rejects, agents, sessions, references and state, after a stream that is known."""
    site = Site()
    site.vitals.stage = Stage.RUNNING
    data = busy(12)

    run_over(
        [data, b"junk\n", data.splitlines(keepends=True)[-1]], tmp_path / "state", site.counters
    )
    values = site.scraped()

    assert values["astray_events_total",] == 12 * 6 * 3 + 1
    assert values["astray_rejects_total", "not_json"] == 1.0
    assert values["astray_events_redelivered_total",] == 1.0
    assert values["astray_agents",] == 6.0
    assert values["astray_sessions_opened_total",] == 72.0
    assert values["astray_last_event_timestamp_seconds",] == pytest.approx(
        (NOW_US - 989 * _HOUR_US) / 1e6, abs=0.01
    )
    assert values["astray_tenants",] == 1.0
    young, growing = (values["astray_reference_sessions", age] for age in ("young", "growing"))
    assert (young, growing > 0, values["astray_reference_sessions", "settled"]) == (30.0, True, 0.0)
    assert values["astray_reference_certified_ratio", "young"] == pytest.approx(1 / 31)
    assert values["astray_reference_certified_ratio", "settled"] == 1.0
    assert values["astray_state_bytes",] > 10_000
    tables = [decider.size_bytes for decider in site.counters.deciders]
    assert values["astray_decider_state_bytes",] == sum(tables) > 10_000
    assert values["astray_snapshot_seconds_count",] >= 2
    longest_s, sum_s = (
        values["astray_snapshot_longest_seconds",],
        values["astray_snapshot_seconds_sum",],
    )
    assert 0 < longest_s < sum_s
    assert values["astray_snapshot_bytes_total",] > 10_000


def test_counts_of_the_state_begin_anew_with_the_run(tmp_path):
    """A counter that came back smaller would look as if all had been counted again."""
    before, after = Site(), Site()
    data = [busy(8), busy(3, first_hour=8)]
    run_over(data[:1], tmp_path / "state", before.counters)

    run_over(data, tmp_path / "state", after.counters)

    assert before.value("astray_sessions_opened_total") == 48.0
    assert after.value("astray_sessions_opened_total") == 18.0
    assert after.value("astray_agents") == 6.0
    kept = {number: int(one.before[N_OPENED]) for number, one in after.counters.shards.items()}
    assert sum(kept.values()) == 48


def test_without_recovery_there_are_no_snapshots():
    """Nothing is dumped where nothing is kept."""
    site = Site()

    run_over([busy(2)], None, site.counters)

    assert site.value("astray_snapshot_seconds_count") == 0.0
    assert site.value("astray_sessions_opened_total") == 12.0


@pytest.mark.slow
def test_metrics_can_be_read_while_the_run_counts(tmp_path):
    """Whoever scrapes all the time breaks nothing, and sees no counter fall."""
    site, done = Site(), threading.Event()

    def scrape():
        seen = []
        while not done.is_set():
            values = site.scraped()
            seen.append([value for key, value in values.items() if key[0].endswith("_total")])
        return seen

    with ThreadPoolExecutor(2) as pool:
        scrapers = [pool.submit(scrape) for _ in range(2)]
        run_over([busy(1, hour) for hour in range(150)], tmp_path / "state", site.counters)
        done.set()
        seen = [scraper.result() for scraper in scrapers]

    for one in seen:
        rises = np.diff([values[: len(one[0])] for values in one], axis=0)
        assert len(one) > 2
        assert (rises >= 0).all()
    assert site.value("astray_sessions_opened_total") == 900.0
    assert site.counters.shards[0].count(N_REDELIVERED) == 0
