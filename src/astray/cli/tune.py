"""`astray tune`: try parameters and thresholds on recordings, and write the best as a model."""

import os
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from astray.cli.common import BROKEN, ConfigFile, prepare, reporting, together
from astray.cli.screen import Screen
from astray.errors import ConfigError
from astray.flow.naming import check_sources
from astray.flow.stopping import asked_to_stop
from astray.lab.card import MODEL, Sweep, number, parameters_told, taken, write_model
from astray.lab.labels import labels_beside, read_labels
from astray.lab.outcomes import MILLION
from astray.lab.sweep import TRIALS_MAX, Parameters, read_space, trials_of
from astray.lab.tune import BUDGETS, MEASURES, Aim, Recording, ranked, run_trials

JOBS_MAX = 64
_SHOWN = 12

Recordings = Annotated[
    list[Path], typer.Argument(metavar="RECORDING...", help="Events: files, or directories.")
]
LabelFiles = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="LABELS",
        help="The answers, one file per recording in their order; without it "
        "NAME.labels.jsonl.gz beside NAME.events.jsonl.gz.",
    ),
]


@reporting
def tune(
    recordings: Recordings,
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder, such as models/NAME.")],
    labels: LabelFiles = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUES",
            help="baseline.half_life_days=7,21,60, or a range 7..60 for random trials, or a "
            "TOML file; may be given several times. Without it thresholds alone are tuned.",
        ),
    ] = None,
    config: ConfigFile = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, max=TRIALS_MAX, help="So many at random instead of the whole grid."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of random trials.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, max=JOBS_MAX, help="Replays at the same time.")] = min(
        os.cpu_count() or 1, JOBS_MAX
    ),
    by: Annotated[str, typer.Option(help=f"What to aim at: {', '.join(MEASURES)}.")] = "recall",
    accept: Annotated[
        float, typer.Option(metavar="N", help="False suspensions per million sessions to accept.")
    ] = 1_000.0,
    budget: Annotated[
        list[float] | None,
        typer.Option(metavar="N", help="Nominal budgets to try; may be given several times."),
    ] = None,
    held_out: Annotated[
        float, typer.Option(help="The share of the tested sessions, the last, to choose without.")
    ] = 0.3,
) -> None:
    """Try parameters and thresholds on labelled recordings, and write the best as a model."""
    aim = Aim(by, accept, tuple(sorted(set(budget or BUDGETS))), held_out)
    pairs, planned, *_ = together(
        lambda: _recordings(recordings, labels or []),
        lambda: trials_of(read_space(sweep or [], config), trials, seed, config),
        lambda: _check(aim),
        lambda: _check_folder(out),
    )
    screen = Screen("off")
    prepare(screen)
    measured = _run(screen, config, pairs, planned, jobs)
    if not measured:
        screen.say("interrupted before any trial was done; nothing is written")
        raise typer.Exit(BROKEN)
    best = ranked(measured, aim)
    card = write_model(out, best, Sweep(config, pairs, aim, len(planned), seed))
    screen.console.print(_table(card))
    if not card["accepted"]:
        screen.say(f"no trial kept to {accept:g} false ones per million; the fewest are written")
    screen.say(f"{out / MODEL} is ready: astray run --config {out / MODEL}")
    if len(measured) < len(planned):
        screen.say(f"interrupted: {len(measured):,} of {len(planned):,} trials were done")
        raise typer.Exit(BROKEN)


def _run(
    screen: Screen,
    config: Path | None,
    recordings: Sequence[Recording],
    trials: Sequence[Parameters],
    jobs: int,
) -> list[Any]:
    """Run the trials, and show how far they are if there is somebody to see it."""
    stop = threading.Event()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(
        *columns, TimeRemainingColumn(), console=screen.console, transient=True,
        disable=not screen.console.is_terminal,
    )  # fmt: skip
    total = len(trials) * len(recordings)
    with asked_to_stop(lambda _: stop.set()), bar:
        replays = bar.add_task("replays", total=total)

        def done() -> None:
            bar.advance(replays)
            if bar.disable:
                screen.say(f"{bar.tasks[replays].completed:,.0f} of {total:,} replays done")

        return run_trials(config, recordings, trials, jobs, stop, done)


def _recordings(events: Sequence[Path], labels: Sequence[Path]) -> list[Recording]:
    """Return recordings with their labels, all of which can be read."""
    if labels and len(labels) != len(events):
        raise ConfigError([f"--labels: {len(labels)} files for {len(events)} recordings"])
    pairs = [
        Recording(*pair) for pair in zip(events, labels or map(labels_beside, events), strict=True)
    ]
    together(
        lambda: check_sources(list(map(str, events)), follow=False),
        *(partial(_check_labels, pair, named=bool(labels)) for pair in pairs),
    )
    return pairs


def _check_labels(recording: Recording, *, named: bool) -> None:
    """Raise a `ConfigError` where a recording has no labels that can be read."""
    events, file = recording.events, recording.labels
    if not named and not file.exists():
        if events.exists():  # otherwise that is what is said
            said = f"there are no labels of it: name them with --labels, or put them into {file}"
            raise ConfigError([f"{events}: {said}"])
    elif not read_labels(file):
        raise ConfigError([f"{file}: there is no label in it"])


def _check(aim: Aim) -> None:
    problems = [
        f"--budget: from 1 to a million, not {budget:g}"
        for budget in aim.budgets
        if not 1 <= budget < MILLION
    ]
    if aim.by not in MEASURES:
        problems.append(f"--by: one of {', '.join(MEASURES)}, not {aim.by}")
    if not 0 < aim.accepted < MILLION:
        problems.append(f"--accept: above 0 and below a million, not {aim.accepted:g}")
    if not 0 < aim.held_out < 1:
        problems.append(f"--held-out: a share between 0 and 1, not {aim.held_out:g}")
    if problems:
        raise ConfigError(problems)


def _check_folder(out: Path) -> None:
    problems = taken(out)
    if problems:
        raise ConfigError(problems)


def _table(card: dict[str, Any]) -> Table:
    by = card["aim"]["by"]
    wanted = by.replace("_", " ")
    table = Table("", "budget", wanted, "false/M", "held out", "false/M", box=None, padding=(0, 1))
    table.add_column("parameters", overflow="fold")
    for place, trial in enumerate(card["trials"][:_SHOWN], start=1):
        chosen, held_out = trial["chosen"], trial["held_out"]
        table.add_row(
            f"{place}" if trial["accepted"] else f"{place} over",
            f"{chosen['budget']:g}",
            *(number(part[name]) for part in (chosen, held_out)
              for name in (by, "false_per_million")),
            escape(parameters_told(trial["parameters"])),
        )  # fmt: skip
    return table
