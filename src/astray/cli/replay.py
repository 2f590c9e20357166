"""`astray replay`: what would have come of a recording."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from astray.cli.common import ConfigFile, prepare, reporting
from astray.cli.screen import Screen
from astray.config import load_config
from astray.errors import ConfigError
from astray.flow.linesfile import output_problems
from astray.flow.naming import check_sources
from astray.lab.labels import read_labels
from astray.lab.replay import replay as replayed


@reporting
def replay(
    events: Annotated[
        Path, typer.Argument(metavar="EVENTS", help="A .jsonl or .jsonl.gz file, or a directory.")
    ],
    labels: Annotated[
        Path | None, typer.Option(metavar="LABELS", help="The answers: measure detection too.")
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
) -> None:
    """Replay a recording through the same dataflow, as fast as it goes; nothing is sent."""
    screen = Screen("off")
    configured = load_config(config)
    known = read_labels(labels) if labels else None
    check_sources([str(events)], follow=False)
    problems = output_problems((scores, json, rejects))  # now rather than after the work
    if problems:
        raise ConfigError(problems)
    prepare(screen)
    result = replayed(events, configured, known, rejects)
    summary = result.summary(known)
    if scores is not None:
        _write(scores, b"".join(session.as_json() for session in result.sessions))
    if json is not None:
        _write(json, orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
    screen.console.print(_table(summary))


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be written: {error.strerror}"]) from None


def _table(summary: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    quality = summary.pop("quality", None)
    for name, value in summary.items():
        table.add_row(
            name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value)
        )
    for name, value in (quality or {}).items():
        table.add_row(f"quality: {name.replace('_', ' ')}", _number(value))
    return table


def _number(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name}: {_number(inner)}" for name, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
