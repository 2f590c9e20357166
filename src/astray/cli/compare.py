"""`astray compare`: two configurations on one recording."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from astray.cli.common import prepare, reporting, together
from astray.cli.report import answers, check_budget
from astray.cli.screen import Screen
from astray.config import load_config
from astray.detectors.models import checked
from astray.flow.naming import check_sources
from astray.lab.card import number
from astray.lab.compare import compare as compared
from astray.lab.compare import moved_bits

_SHOWN = 20


@reporting
def compare(
    a: Annotated[Path, typer.Argument(metavar="A.toml", help="A configuration.")],
    b: Annotated[Path, typer.Argument(metavar="B.toml", help="Another one.")],
    recording: Annotated[
        Path,
        typer.Argument(metavar="RECORDING", help="A .jsonl or .jsonl.gz file, or a directory."),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="LABELS",
            help="The answers; without it NAME.labels.jsonl.gz beside NAME.events.jsonl.gz, "
            "where there is one.",
        ),
    ] = None,
    budget: Annotated[
        float, typer.Option(metavar="N", help="The nominal false ones per million sessions.")
    ] = 1_000.0,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show which sessions two configurations judge differently at a budget, and why."""
    screen = Screen("off")
    first, second, known, *_ = together(
        lambda: checked(load_config(a)),
        lambda: checked(load_config(b)),
        lambda: answers(recording, labels),
        lambda: check_sources([str(recording)], follow=False),
        lambda: check_budget(budget),
    )
    prepare(screen)
    found = compared(((str(a), first), (str(b), second)), recording, known, budget).summary()
    if json:
        typer.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    else:
        _show(screen, found)


def _show(screen: Screen, found: dict[str, Any]) -> None:
    for letter, side in found["sides"].items():
        only = f", {side['only_here']:,} sessions only here" if side["only_here"] else ""
        screen.say(
            f"{letter}: {side['config']}, model {side['model_hash']}: "
            f"{side['reached_per_million']:,.0f} per million of {found['sessions']:,} sessions "
            f"reach a budget of {found['budget_per_million']:g}{only}"
        )
    if found["metrics"]:
        screen.console.print(_metrics(found["metrics"]))
    changed = found["changed"]
    screen.say(f"{len(changed):,} sessions change sides" + (":" if changed else ""))
    for one in changed[:_SHOWN]:
        screen.console.print(_told(one), soft_wrap=True)
    if len(changed) > _SHOWN:
        screen.say(f"... and {len(changed) - _SHOWN:,} more; --json has all of them")


def _metrics(metrics: dict[str, Any]) -> Table:
    table = Table("", "a", "b", "b - a", box=None, padding=(0, 1))
    for name, sides in metrics.items():
        table.add_row(name.replace("_", " "), *map(_sure, sides.values()))
    return table


def _sure(found: dict[str, float]) -> str:
    return f"{number(found['value'])} ({number(found['low'])}, {number(found['high'])})"


def _told(changed: dict[str, Any]) -> str:
    """Return a session that changes sides, with the evidence of both."""
    to = "a to b: reached" if changed["b"]["reached"] else "a to b: no more reached"
    bad = {None: "", True: f", bad: {changed['attack'] or 'unnamed'}", False: ", benign"}
    bits = ", ".join(f"{name} {moved:+.1f}" for name, moved in moved_bits(changed).items())
    scores = f"score {changed['a']['score']:.1f}, then {changed['b']['score']:.1f}"
    tenant = f" of tenant {changed['tenant']}" if changed["tenant"] else ""
    lines = [
        f"{changed['session']} of {changed['agent']}{tenant}{bad[changed['bad']]}",
        f"  {to}; {scores}; bits: {bits or 'as before'}",
    ]
    for letter in "ab":
        lines += [f"  {letter}: {sentence}" for sentence in changed[letter]["evidence"]]
    return escape("\n".join(lines))
