"""`astray state`: what a run has learnt, to look into and to carry elsewhere."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer

from astray.cli.common import ConfigFile, reporting
from astray.cli.screen import Screen
from astray.config import load_config
from astray.events.clock import iso
from astray.flow.reshard import reshard_state
from astray.flow.state import Described, Inspected, export_state, import_state, inspect_state

state_app = typer.Typer(
    no_args_is_help=True, help="Look into recovery directories, copy and divide them."
)
_DAMAGED = 1

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A recovery directory.")]

Epoch = Annotated[
    int | None, typer.Option(help="One that can still be gone back to; without it, the last.")
]


@state_app.command()
@reporting
def inspect(
    directory: Directory,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show what is in a recovery directory that no run is using; exit code 1: some is damaged."""
    found = inspect_state(directory)
    if json:
        typer.echo(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2))
    else:
        _show(found)
    if found.damaged:
        raise typer.Exit(_DAMAGED)


def _show(found: Inspected) -> None:
    screen = Screen("off")
    address = found.address
    screen.say(
        f"schema version {address.get('schema_version')}, {address.get('shards')} shards by "
        f"{address.get('shard_by')}; a run goes on at epoch {found.epoch}; one can go back to "
        f"epoch {', '.join(map(str, found.epochs)) or 'none'}"
    )
    if found.after_us:
        screen.say(f"begun when events up to {iso(found.after_us)} had been heard of already")
    for state in found.states:
        if state.holds or state.damage:
            size = f"{state.size:,} bytes"
            screen.say(f"{state.key:<12} epoch {state.epoch:<8} {size:>20}  {_told(state)}")
    for name, (file, offset, _) in sorted(found.sources.items()):
        screen.say(f"{name}: read up to {offset:,}{f' of {file}' if file else ''}")


def _told(state: Described) -> str:
    if state.damage:
        return f"DAMAGED: {state.damage}"
    return ", ".join(_said(name, value) for name, value in state.holds.items())


def _said(name: str, value: object) -> str:
    said = name.replace("_", " ")
    return f"{said} {value:,}" if isinstance(value, int) else f"{said} {value or '-'}"


@state_app.command("export")
@reporting
def export(
    directory: Directory,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    epoch: Epoch = None,
) -> None:
    """Write the whole state, and how far its sources were read, to one file."""
    told = export_state(directory, file, epoch)
    Screen("off").say(f"{file}: {told.states} states of epoch {told.epoch}, {told.size:,} bytes")


@state_app.command("import")
@reporting
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` has written.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new recovery directory.")],
) -> None:
    """Make a recovery directory of an exported state; a run goes on with it as it would have."""
    told = import_state(file, directory)
    Screen("off").say(f"{directory}: {told.states} states; a run goes on at epoch {told.epoch}")


@state_app.command()
@reporting
def reshard(
    directory: Directory,
    target: Annotated[Path, typer.Argument(metavar="NEWDIR", help="A new recovery directory.")],
    config: ConfigFile = None,
    epoch: Epoch = None,
) -> None:
    """Divide what was learnt among the shards of a configuration; a run goes on with NEWDIR."""
    told = reshard_state(directory, target, load_config(config), epoch)
    Screen("off").say(
        f"{target}: {told.before} have become {told.after}; {told.agents:,} agents and "
        f"{told.open_sessions:,} open sessions; a run goes on at epoch {told.epoch}"
    )
