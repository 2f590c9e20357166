"""`astray simulate`: a fleet with attacks in it, or attacks for your own recording."""

import zlib
from pathlib import Path
from typing import Annotated

import typer

from astray.cli.common import reporting
from astray.cli.screen import Screen
from astray.errors import ConfigError
from astray.lab.simulate import (
    Recording,
    SimulationOptions,
    inject,
    parse_attacks,
    write,
)
from astray.lab.simulate import simulate as simulated

_SUFFIXES = (".jsonl", ".jsonl.gz")


@reporting
def simulate(
    out: Annotated[
        Path,
        typer.Option(
            metavar="NAME",
            help="Writes NAME.events.jsonl.gz and NAME.labels.jsonl.gz; a name that ends in "
            ".jsonl or .jsonl.gz is the events' own.",
        ),
    ],
    agents: Annotated[int, typer.Option(help="How many agents.")] = 160,
    days: Annotated[float, typer.Option(help="How many days.")] = 30.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    attacks: Annotated[
        str, typer.Option(metavar="KIND=N,...", help="Attacked sessions by kind; all=N for all.")
    ] = "",
    tenants: Annotated[int, typer.Option(help="How many tenants.")] = 1,
    inject_into: Annotated[
        Path | None,
        typer.Option("--inject", metavar="EVENTS", help="Put the attacks into this recording."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="LABELS", help="The labels of that recording.")
    ] = None,
) -> None:
    """Make a recording of a simulated fleet, with labels, or put attacks into one of yours."""
    events_path, labels_path = _paths(out)
    counts = parse_attacks(attacks) if attacks else {}
    if inject_into is not None and not counts:
        raise ConfigError(["--inject: which attacks, and how many? --attacks KIND=N"])
    if labels is not None and inject_into is None:
        raise ConfigError(["--labels: only with --inject, of that recording"])
    try:
        if inject_into is None:
            options = SimulationOptions(
                agents=agents, days=days, seed=seed, attacks=counts, tenants=tenants
            )
            recording = simulated(options)
            write(recording, events_path, labels_path)
        else:
            recording = inject(
                inject_into, labels, counts, seed, out_events=events_path, out_labels=labels_path
            )
    except (OSError, EOFError, zlib.error) as error:
        file = getattr(error, "filename", None) or inject_into or out
        reason = getattr(error, "strerror", None) or error
        raise ConfigError([f"{file}: {reason}"]) from None
    _tell(recording, events_path, labels_path, inject_into)


def _paths(out: Path) -> tuple[Path, Path]:
    suffix = next((suffix for suffix in reversed(_SUFFIXES) if out.name.endswith(suffix)), "")
    if not suffix:
        return (
            out.with_name(f"{out.name}.events.jsonl.gz"),
            out.with_name(f"{out.name}.labels.jsonl.gz"),
        )
    stem = out.name.removesuffix(suffix).removesuffix(".events")
    return out, out.with_name(f"{stem}.labels{suffix}")


def _tell(
    recording: Recording, events_path: Path, labels_path: Path, inject_into: Path | None
) -> None:
    screen = Screen("off")
    bad = sum(1 for label in recording.labels if label["label"])
    if inject_into is not None:
        screen.say(f"{recording.events:,} events added to those of {inject_into}: {events_path}")
        screen.say(f"{bad:,} sessions attacked; the labels of all are in {labels_path}")
        return
    screen.say(f"{recording.events:,} events in {events_path}")
    screen.say(f"{len(recording.labels):,} labelled sessions, {bad:,} attacked, in {labels_path}")
