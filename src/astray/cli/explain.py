"""`astray explain`: a past score derived again, and what it came from."""

from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.table import Table
from rich.text import Text

from astray.cli.casefile import output, printable, say
from astray.cli.common import ConfigFile, note_problems, prepare, reporting
from astray.cli.screen import Screen
from astray.config import Config, load_config
from astray.decide.wording import counted
from astray.detectors.models import checked
from astray.errors import ConfigError
from astray.events import clock
from astray.flow.beginning import Beginning, beginning_of
from astray.flow.counters import Counters
from astray.flow.verdicts import Told, read_verdicts, stored_verdicts
from astray.lab.explain import Explanation, Standing
from astray.lab.explain import explain as explained
from astray.lab.seeking import Kind, Wanted
from astray.store import Store

_COLUMNS = ("share", "of the score", "channel", "item", "new to", "bits", "seen", "usual")
_TENTH = 10

_STANDINGS = {
    Standing.OWN: "its score at this event",
    Standing.EARLIER: "this event raised nothing rare: its score since {}",
    Standing.HIGHEST: "its highest score, at {}",
    Standing.END: "its score at its end",
}
_AT_ITS_END = (
    "nothing rare had risen by {}: what follows is its session at its end, which came of what "
    "happened later, too"
)


@reporting
def explain(
    id_: Annotated[
        str, typer.Argument(metavar="EVENT_ID|SESSION", help="An event's id, or a session's.")
    ],
    events: Annotated[
        list[str],
        typer.Option(
            metavar="FILE",
            help="Where it was read: a .jsonl or .jsonl.gz file, or a directory of them. May be "
            "given several times.",
        ),
    ],
    recovery: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A copy of a recovery directory, to go on from."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="EXPORT", help="What `astray state export` has written, to go on from."
        ),
    ] = None,
    config: ConfigFile = None,
    kind: Annotated[
        Kind | None, typer.Option(help="What the id is of, where it could be both.")
    ] = None,
    agent: Annotated[str | None, typer.Option(help="Whose it is, where several have it.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Of which tenant that agent is.")] = None,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="The case store, which has the verdicts.")
    ] = None,
    verdicts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Verdicts besides those of the case store, one a line."),
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Derive a past score again, to the bit, and say what it came from."""
    screen = Screen("off")
    configured = checked(load_config(config, {"store": {"url": store}} if store else None))
    beginning = beginning_of(events, recovery, state)
    told = read_verdicts(verdicts)
    stored = store is not None or Store.is_there(configured.store.url)
    if stored:
        told += _stored(configured, beginning)
    for note in beginning.told:
        screen.say(note)
    note_problems(told, screen, Counters())
    prepare(screen)
    found = explained(Wanted(id_, kind, agent, tenant), configured, beginning, told.judgements)
    if found is None:
        raise ConfigError(
            [f"{id_}: not ranked since {beginning.state} was kept; take an earlier state, or none"]
        )
    if not stored and verdicts is None:
        screen.say(f"there is no case store {configured.store.url}: no verdict is known")
    if json:
        typer.echo(orjson.dumps(found.as_dict(), option=orjson.OPT_INDENT_2))
    else:
        _show(found)


def _stored(config: Config, beginning: Beginning) -> Told:
    """Return the verdicts of the case store that the state has not heard of."""
    with Store.open(config.store.url, read_only=True) as opened:
        return stored_verdicts(opened, beginning.verdicts)


def _show(found: Explanation) -> None:
    console = output()
    for line in _told(found):
        say(console, line)
    if found.evidence:
        console.print(_table(found))
    for reason in found.evidence:
        say(console, f"  {reason.share:4.0%} {reason.sentence}")


def _told(found: Explanation) -> list[str]:
    event, n = found.event, round(found.n)
    at = f"{event.event_id or 'the event'} ({event.action}, {clock.iso(found.ts_us)})"
    certified = "certified" if found.certified else "not certified"
    standing = _STANDINGS[found.standing].format(at)
    events = counted(found.events, "event", "events")
    begun = f"begun {clock.iso(found.start_us)}, {events} by then"
    is_later = found.kind is Kind.EVENT and found.standing is Standing.END
    lines = [
        *([_AT_ITS_END.format(f"{event.event_id or 'the event'} ({event.action})")] * is_later),
        found.sentence,
        f"score {found.score:.2f} ({certified}; 1 in {n:,}): {standing}",
        f"session {found.session} of {event.agent}, {begun}",
        f"model {found.model}, config {found.config}",
    ]
    if not found.whole:
        lines.append("it began before the state was kept: what it scored until then is not here")
    for decision in found.decisions:
        why = f" ({decision.withheld})" if decision.withheld else ""
        lines.append(
            f"decided at {clock.iso(decision.ts_us)}: {decision.level}{why}, score "
            f"{decision.score:.2f}, {decision.reason}, policy {decision.policy}, {decision.id}"
        )
    return lines


def _table(found: Explanation) -> Table:
    table = Table(*_COLUMNS, box=None, padding=(0, 2, 0, 0), pad_edge=False)
    tenths = _adding_up(found.points())
    for reason, points in zip(found.evidence, tenths, strict=True):
        cells = (
            f"{reason.share:.1%}", f"{points / _TENTH:.1f}", reason.channel, reason.item,
            reason.level, f"{reason.bits:.1f}", reason.seen, reason.usual,
        )  # fmt: skip
        table.add_row(*(Text(printable(cell)) for cell in cells))
    table.add_row("100.0%", f"{sum(tenths) / _TENTH:.1f}")
    return table


def _adding_up(points: list[float]) -> list[int]:
    """Return numbers in tenths that add up to their rounded sum, as the numbers shown must."""
    tenths = [int(each * _TENTH) for each in points]
    missing = round(sum(points) * _TENTH) - sum(tenths)
    by_rest = sorted(range(len(points)), key=lambda at: tenths[at] - points[at] * _TENTH)
    for at in by_rest[:missing]:
        tenths[at] += 1
    return tenths
