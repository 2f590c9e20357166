"""`astray run`: watch a stream."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from astray.cli.common import ConfigFile, StoreUrl, note_problems, prepare, reporting, stoppable
from astray.cli.screen import Screen
from astray.config import Config, Threshold, load_config, with_policies
from astray.decide.wording import counted
from astray.errors import ConfigError
from astray.flow.cluster import PROCESSES_MAX, Cluster, cluster_of
from astray.flow.counters import Counters
from astray.flow.live import Live
from astray.flow.reading import Reading
from astray.flow.supervisor import Supervisor, hang_on
from astray.flow.verdicts import read_verdicts

SECRET_PLACE = "env:ASTRAY_WEBHOOK_SECRET"  # noqa: S105 - where it is, not what it is
_SCORE_MAX = 120.0
_COMMAND = [sys.executable, "-m", "astray", *sys.argv[1:]]
"""How a process like this one is started."""


Sources = Annotated[
    list[str],
    typer.Option(
        metavar="SOURCE",
        help="A .jsonl or .jsonl.gz file, a directory of them, - for standard input, or "
        "kafka://BROKER:PORT/TOPIC; kafka:// alone is what \\[source.kafka] says. May be given "
        "several times.",
    ),
]
WebhookUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Where suspensions go; signed with the configured secret or, without one, "
        "with ASTRAY_WEBHOOK_SECRET (whsec_...).",
    ),
]
AlertsFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="Append alerts here, one a line.")
]
RejectsFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="Keep lines here that are no events.")
]
RecoveryDirectory = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Keep the state here, and go on from it.")
]
VerdictsFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Verdicts besides those of the case store, one a line."),
]
HealthAddress = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Serve /livez, /readyz and /metrics here."),
]
Processes = Annotated[
    int, typer.Option(min=1, max=PROCESSES_MAX, help="Share the work on this machine.")
]
ClusterAddresses = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT,...",
        help="Share the work with these processes, which know the same list.",
    ),
]
ProcessNumber = Annotated[
    int | None, typer.Option(metavar="N", help="Which one of --cluster this is, from 0.")
]


@reporting
@stoppable
def run(
    source: Sources,
    config: ConfigFile = None,
    store: StoreUrl = None,
    webhook: WebhookUrl = None,
    mode: Annotated[str | None, typer.Option(help="observe or enforce.")] = None,
    alert_at: Annotated[float | None, typer.Option(help="Alert from this score on.")] = None,
    suspend_at: Annotated[float | None, typer.Option(help="Suspend from this score on.")] = None,
    alerts: AlertsFile = None,
    rejects: RejectsFile = None,
    recovery: RecoveryDirectory = None,
    health: HealthAddress = None,
    verdicts: VerdictsFile = None,
    processes: Processes = 1,
    cluster: ClusterAddresses = None,
    process: ProcessNumber = None,
    *,
    follow: Annotated[bool, typer.Option(help="Go on reading files that grow.")] = False,
    lifeline: Annotated[bool, typer.Option("--lifeline", hidden=True)] = False,
) -> None:
    """Watch a stream: learn what agents do, alert, and have sessions suspended."""
    overrides = _overrides(store=store, alerts=alerts, rejects=rejects, health=health)
    configured = load_config(config, overrides)
    if webhook is not None:
        secret = configured.webhook[0].secret if configured.webhook else SECRET_PLACE
        overrides["webhook"] = [{"url": webhook, "secret": secret}]
        configured = load_config(config, overrides)
    configured = with_thresholds(configured, mode, alert_at, suspend_at)
    member = _member(processes, cluster, process, is_local=lifeline)
    is_first = member is None or member.is_first
    screen = Screen(configured.alerts.stdout if is_first else "off")
    reading = Reading(follow=follow)
    if lifeline:
        hang_on(reading.stop)
    told = read_verdicts(verdicts)
    live = Live(
        configured, source, recovery, reading,
        show=screen.alert, cluster=member, verdicts=told.judgements,
    )  # fmt: skip
    live.check()
    if is_first:
        note_problems(told, screen, live.counters)
    if processes > 1:
        prepare(screen)
        raise typer.Exit(Supervisor(_COMMAND, processes, configured.health, screen.say).run())
    _run(live, screen)


def _run(live: Live, screen: Screen) -> None:
    with live.serving() as url:
        if url:
            screen.say(f"health and metrics are served at {url}")
        prepare(screen)
        started_s = time.monotonic()
        with screen.progress(live.reading, live.counters):
            live.run()
    _last_words(screen, live.counters, time.monotonic() - started_s)


def _member(
    processes: int, addresses: str | None, process: int | None, *, is_local: bool
) -> Cluster | None:
    """Return the cluster that a process is one of, or that it is going to start."""
    if addresses is not None:
        if processes > 1:
            raise ConfigError(["--processes and --cluster: one or the other"])
        return replace(cluster_of(addresses, process), is_local=is_local)
    if process is not None:
        raise ConfigError(["--process: only with --cluster"])
    return Cluster(("",) * processes, 0) if processes > 1 else None


def _overrides(
    *, store: str | None, alerts: str | None, rejects: str | None, health: str | None
) -> dict[str, Any]:
    given = {
        "store": ("url", store),
        "alerts": ("file", alerts),
        "rejects": ("file", rejects),
        "health": ("listen", health),
    }
    return {section: {key: value} for section, (key, value) in given.items() if value is not None}


def with_thresholds(
    config: Config, mode: str | None, alert_at: float | None, suspend_at: float | None
) -> Config:
    """Return the configuration with the command line's thresholds and mode in every policy."""
    problems = [
        f"{option}: a score lies above 0 and up to {_SCORE_MAX:g}, not at {score:g}"
        for option, score in (("--alert-at", alert_at), ("--suspend-at", suspend_at))
        if score is not None and not 0 < score <= _SCORE_MAX
    ]
    if mode not in (None, "observe", "enforce"):
        problems.append(f"--mode: observe or enforce, not {mode}")
    if problems:
        raise ConfigError(problems)
    changes: dict[str, Any] = {}
    if mode is not None:
        changes["mode"] = mode
    if alert_at is not None:
        changes["alert"] = Threshold(score=alert_at)
    if suspend_at is not None:
        changes["suspend"] = Threshold(score=suspend_at)
    return with_policies(config, **changes) if changes else config


def _last_words(screen: Screen, counters: Counters, elapsed_s: float) -> None:
    rate = counters.events / max(elapsed_s, 1e-9)
    decided = ", ".join(f"{count:,} {level}" for level, count in counters.decisions.items())
    rejected = ", ".join(f"{count:,} {reason}" for reason, count in counters.rejects.items())
    screen.say(
        f"{counters.events:,} events of {counters.agents:,} agents in {elapsed_s:.1f} s "
        f"({rate:,.0f}/s), {counters.sessions:,} sessions ended; decisions: {decided or 'none'}; "
        f"rejects: {rejected or 'none'}"
    )
    if counters.undelivered:
        left = counted(counters.undelivered, "webhook", "webhooks")
        screen.say(f"{left} nobody has taken yet: the next run with this case store goes on")
