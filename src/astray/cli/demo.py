"""`astray demo`: the main job on a simulated fleet, from events to suspended sessions."""

import secrets
import tempfile
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from astray.cli.common import prepare, reporting
from astray.cli.run import with_thresholds
from astray.cli.screen import Screen, told
from astray.config import Config, load_config
from astray.decide.decision import Level
from astray.flow.counters import Counters
from astray.flow.live import Live
from astray.lab.simulate import (
    ATTACKS,
    Recording,
    SimulationOptions,
    parse_attacks,
    simulate,
    write,
)
from astray.respond import Receiver, secret_from
from astray.store import Case, Store

_SECRET = "ASTRAY_DEMO_SECRET"  # noqa: S105 - a variable's name
_ATTACKS = "all=16,slow_abuse=2,patient_poisoning=2"
_ALERT_AT, _SUSPEND_AT, _NEVER = 50.0, 60.0, 120.0
_SHOWN_WHOLE, _SHOWN_BRIEFLY = 3, 12
_CASES_MAX = 10_000
_ARRIVAL_S = 10.0
_FAILED = 1


@reporting
def demo(
    agents: Annotated[int, typer.Option(help="How many agents to simulate.")] = 120,
    days: Annotated[float, typer.Option(help="How many days of theirs.")] = 24.0,
    seed: Annotated[int, typer.Option(help="Another seed is another fleet.")] = 1,
) -> None:
    """Simulate a fleet, attack it, and watch sessions being suspended; needs no server."""
    screen = Screen("off")
    prepare(screen)
    screen.say(f"simulating {agents} agents for {days:g} days, and attacks on some of them ...")
    options = SimulationOptions(
        agents=agents, days=days, seed=seed, attacks=parse_attacks(_ATTACKS)
    )
    recording = simulate(options)
    with tempfile.TemporaryDirectory(prefix="astray-demo-") as scratch:
        arrived = _watch(screen, recording, Path(scratch))
    if not arrived:
        raise typer.Exit(_FAILED)


def _watch(screen: Screen, recording: Recording, scratch: Path) -> bool:
    """Run the real thing over a recording; return whether all suspensions have arrived."""
    history, today = _divided(recording, scratch)
    environment = {_SECRET: f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"}
    show = _Show(screen)
    with Receiver([secret_from(f"env:{_SECRET}", environment)], show.receive) as receiver:
        config = _config(receiver.url, scratch)
        learnt, counters = Counters(), Counters()
        started_s = time.monotonic()
        quiet = with_thresholds(config, "observe", _NEVER, _NEVER)
        screen.say("history first: learning from the part before the attacks ...")
        learning = Live(
            quiet, [str(history)], scratch / "state", counters=learnt, environment=environment
        )
        _run(screen, learning)
        screen.say(f"a receiver listens at {receiver.url} and verifies signatures; now live:")
        live = Live(
            config, [str(today)], scratch / "state", counters=counters, show=show.alert,
            environment=environment,
        )  # fmt: skip
        _run(screen, live)
        elapsed_s = time.monotonic() - started_s
        with Store.open(config.store.url) as store:
            cases = store.cases(_CASES_MAX)
        suspended = [case for case in cases if case.level is Level.SUSPEND]
        receiver.wait_for(len(suspended), _ARRIVAL_S)
        rate = f"{learnt.events + counters.events:,} in {elapsed_s:.1f} s"
        screen.say(f"events {rate}, {(learnt.events + counters.events) / elapsed_s:,.0f} events/s")
        _summary(screen, recording, counters, cases, receiver)
        return bool(suspended) and len(receiver.deliveries) == len(suspended)


def _run(screen: Screen, live: Live) -> None:
    with screen.progress(live.reading, live.counters):
        live.run()


def _divided(recording: Recording, scratch: Path) -> tuple[Path, Path]:
    """Write a recording as two files: what comes before the first attack, and the rest."""
    whole, history, today = (scratch / f"{name}.jsonl" for name in ("whole", "history", "today"))
    write(recording, whole, scratch / "labels.jsonl")
    first = min(label["first_bad_event"] or "~" for label in recording.labels)
    data = whole.read_bytes()
    whole.unlink()
    cut = data.rfind(b"\n", 0, data.find(f'"{first}"'.encode()) + 1) + 1
    history.write_bytes(data[:cut])
    today.write_bytes(data[cut:])
    return history, today


def _config(url: str, scratch: Path) -> Config:
    overrides = {
        "webhook": [{"name": "demo", "url": url, "secret": f"env:{_SECRET}"}],
        "store": {"url": f"sqlite:///{scratch / 'cases.db'}"},
    }
    return with_thresholds(load_config(None, overrides), "enforce", _ALERT_AT, _SUSPEND_AT)


class _Show:
    """Shows what happens: the first of each kind as a whole, some more in a line, then counts."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def alert(self, body: bytes) -> None:
        """Show an alert."""
        finding = orjson.loads(body)
        level = finding["unmapped"].get("level", "")
        brief = f"{level:>9}  {finding['unmapped'].get('score', 0):3.0f}  {finding['message']}"
        self._tell(level, brief, lambda: told(body))

    def receive(self, webhook_id: str, body: bytes) -> int:
        """Show what the receiver has verified, and accept it."""
        data = orjson.loads(body)["data"]
        agent, session = data["agent"]["id"], data["session"]["id"]
        text = f" receiver  signature good: session {session} of {agent} stopped ({webhook_id})"
        self._tell("receiver", text, lambda: text)
        return 200

    def _tell(self, kind: str, brief: str, whole: Callable[[], Any]) -> None:
        with self._lock:
            self._seen[kind] += 1
            count = self._seen[kind]
            if count <= _SHOWN_WHOLE:
                self._screen.console.print(whole(), markup=False)
            elif count <= _SHOWN_BRIEFLY:
                self._screen.console.print(brief, markup=False, overflow="ellipsis", no_wrap=True)
            elif count == _SHOWN_BRIEFLY + 1:
                self._screen.console.print(f"{kind:>9}  ... more follow, and are counted below")


def _summary(
    screen: Screen,
    recording: Recording,
    counters: Counters,
    cases: list[Case],
    receiver: Receiver,
) -> None:
    bad = {(label["agent"], label["session"]) for label in recording.labels if label["label"]}
    suspended = [case for case in cases if case.level is Level.SUSPEND]
    wrongly = sum((case.agent, case.session) not in bad for case in suspended)
    repeats = sum(received.repeats for received in receiver.deliveries.values())
    table = Table.grid(padding=(0, 2))
    table.add_row("agents learnt", f"{counters.agents:,}")
    table.add_row("sessions", f"{len(recording.labels):,}, of which {counters.sessions:,} live")
    table.add_row("alerts", f"{len(cases):,}, one per session, from score {_ALERT_AT:g} on")
    table.add_row("suspensions", f"{len(suspended):,} sent, from score {_SUSPEND_AT:g} on")
    table.add_row("received", f"{len(receiver.deliveries):,} acknowledged, {repeats} repeats")
    table.add_row(
        "false ones",
        f"{wrongly:,}, {wrongly / max(counters.sessions, 1):.2%} of the live sessions; "
        f"score {_SUSPEND_AT:g} accepts {10 ** (-_SUSPEND_AT / 20):.2%}",
    )
    screen.console.print(table)
    screen.console.print(_caught(recording, cases))


def _caught(recording: Recording, cases: list[Case]) -> Table:
    """Return what was attacked and what was caught of it, and the price in false alarms."""
    levels = {(case.agent, case.session): case.level for case in cases}
    table = Table("attack", "sessions", "alerted", "suspended", box=None, padding=(0, 2))
    for kind in (*ATTACKS, None):
        of_kind = [
            levels.get((label["agent"], label["session"]))
            for label in recording.labels
            if label["attack"] == kind
        ]
        name = kind.replace("_", " ") if kind else "none (false alarms)"
        alerted = sum(level is not None for level in of_kind)
        suspended = sum(level is Level.SUSPEND for level in of_kind)
        table.add_row(name, f"{len(of_kind):,}", f"{alerted:,}", f"{suspended:,}")
    return table
