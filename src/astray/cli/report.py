"""`astray report`: a replay as one page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from astray.cli.common import ConfigFile, prepare, reporting, together
from astray.cli.screen import Screen
from astray.config import load_config
from astray.detectors.models import checked
from astray.errors import ConfigError
from astray.flow.linesfile import output_problems
from astray.flow.naming import check_sources
from astray.lab.labels import Labels, labels_beside, read_labels
from astray.lab.outcomes import MILLION
from astray.lab.replay import check_sessions, replay
from astray.lab.report import Report


@reporting
def report(
    recording: Annotated[
        Path,
        typer.Argument(metavar="RECORDING", help="A .jsonl or .jsonl.gz file, or a directory."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT.html", help="The page.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="LABELS",
            help="The answers; without it NAME.labels.jsonl.gz beside NAME.events.jsonl.gz, "
            "where there is one.",
        ),
    ] = None,
    config: ConfigFile = None,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Tell delays, misses and false alarms at so many nominal false ones per million "
            "sessions instead of where the policy suspends.",
        ),
    ] = None,
) -> None:
    """Write one page about a recording: what would be suspended, how good that is, and why."""
    screen = Screen("off")
    configured, known, *_ = together(
        lambda: checked(load_config(config)),
        lambda: answers(recording, labels),
        lambda: check_sources([str(recording)], follow=False),
        lambda: check_outputs(out, inputs=[recording, labels or labels_beside(recording), config]),
        lambda: check_budget(budget),
    )
    prepare(screen)
    result = replay(recording, configured, known, explain=True)
    check_sessions(result, recording)
    write(out, Report(recording.name, configured, result, known, budget).html())
    without = "" if known else ", without labels"
    screen.say(f"{out}: {len(result.sessions):,} sessions{without}")


def answers(recording: Path, labels: Path | None) -> Labels | None:
    """Return the labels of a recording: those that are named, or those beside it."""
    beside = labels_beside(recording)
    if labels is None and beside.is_file():
        labels = beside
    return read_labels(labels) if labels else None


def check_budget(budget: float | None) -> None:
    """Raise a `ConfigError` where a budget is none."""
    if budget is not None and not 1 <= budget < MILLION:
        raise ConfigError([f"--budget: from 1 to a million, not {budget:g}"])


def check_outputs(*paths: Path | None, inputs: Sequence[Path | None]) -> None:
    """Raise a `ConfigError` that names every file that cannot be written, or is an input."""
    problems = output_problems(paths, inputs)
    if problems:
        raise ConfigError(problems)


def write(path: Path, data: bytes) -> None:
    """Write a file."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be written: {error.strerror}"]) from None
