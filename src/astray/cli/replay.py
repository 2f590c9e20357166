"""`astray replay`: what would have come of a recording."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from astray.cli.common import ConfigFile, note_problems, prepare, reporting, together
from astray.cli.report import check_outputs, write
from astray.cli.screen import Screen
from astray.config import load_config
from astray.detectors.models import checked
from astray.flow.naming import check_sources
from astray.flow.verdicts import verdict_lines
from astray.lab.about import sessions_of
from astray.lab.labels import Labels, read_labels
from astray.lab.replay import FALSE_RATES
from astray.lab.replay import replay as replayed

_SHARES = ("recall_at", "prevented_at")


@reporting
def replay(
    events: Annotated[
        list[Path],
        typer.Argument(
            metavar="EVENTS...",
            help="A .jsonl or .jsonl.gz file, or a directory; several are one stream, read side "
            "by side.",
        ),
    ],
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="LABELS",
            help="The answers: measure detection too. May be given several times.",
        ),
    ] = None,
    config: ConfigFile = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="OUT.jsonl", help="Write one line per session.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="OUT.json", help="Write the numbers.")
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep lines here that are no events.")
    ] = None,
    verdicts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What people said of its cases, one verdict a line."),
    ] = None,
) -> None:
    """Replay a recording through the same dataflow, as fast as it goes; nothing is sent."""
    screen = Screen("off")
    configured, known, given, *_ = together(
        lambda: checked(load_config(config)),
        lambda: _answers(labels or []),
        lambda: verdict_lines(verdicts),
        lambda: check_sources(list(map(str, events)), follow=False),
        lambda: check_outputs(  # now rather than after the work
            scores, json, rejects, inputs=[*events, *(labels or []), config, verdicts]
        ),
    )
    prepare(screen)
    cases = given.cases_alone
    told = given.told(sessions_of(cases, list(map(str, events))) if cases else None)
    judgements = told.judgements if verdicts is not None else None
    result = replayed(events, configured, known, rejects, verdicts=judgements)
    note_problems(told, screen, result.counters)
    summary = result.summary(known)
    if scores is not None:
        write(scores, b"".join(session.as_json() for session in result.sessions))
    if json is not None:
        numbers = summary | {"notices": result.findings()}
        write(json, orjson.dumps(numbers, option=orjson.OPT_INDENT_2) + b"\n")
    by_attack = summary.get("quality", {}).pop("by_attack", {})
    screen.console.print(_table(summary))
    if by_attack:
        screen.console.print(_attacks(by_attack))


def _answers(files: Sequence[Path]) -> Labels | None:
    """Return the labels of all files; without files there are no answers."""
    found = together(*(partial(read_labels, file) for file in files))
    return {name: label for labels in found for name, label in labels.items()} if files else None


def _table(summary: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    quality = summary.pop("quality", None)
    verdicts = summary.pop("verdicts", None)
    for name, value in summary.items():
        table.add_row(
            name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value)
        )
    if verdicts is not None:
        became = (f"{count:,} {name.replace('_', ' ')}" for name, count in verdicts.items())
        table.add_row("verdicts", ", ".join(became))
    for name, value in (quality or {}).items():
        table.add_row(f"quality: {name.replace('_', ' ')}", _number(value))
    return table


def _attacks(by_attack: dict[str, Any]) -> Table:
    """Return what was caught of each kind at false rates, and what of that in time."""
    table = Table(box=None, padding=(0, 1))
    table.add_column("attack", no_wrap=True)
    table.add_column("sessions")
    for rate in FALSE_RATES:
        table.add_column(f"at {rate:.1%}")
        table.add_column("in time")
    for kind, found in by_attack.items():
        shares = (found[name][f"{rate}"] for rate in FALSE_RATES for name in _SHARES)
        table.add_row(escape(kind), f"{found['sessions']:,}", *map(_percent, shares))
    return table


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.0%}"


def _number(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name}: {_number(inner)}" for name, inner in value.items())
    if not isinstance(value, float):
        return str(value)
    return "-" if math.isnan(value) else f"{value:.4g}"
