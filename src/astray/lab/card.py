"""A tuned model on disk: the configuration, and a card that says where it comes from."""

import errno
import hashlib
import os
import shlex
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from astray.config import load_config
from astray.errors import ConfigError
from astray.events import clock
from astray.flow.naming import files_in
from astray.lab.curves import Weights, interval
from astray.lab.outcomes import Outcomes
from astray.lab.sweep import nested
from astray.lab.toml import toml_of
from astray.lab.tune import Aim, Measured, Recording, Trial

MODEL, CARD, NUMBERS = "model.toml", "card.md", "card.json"
_MICROS = 1_000_000
_BLOCK_BYTES = 1 << 20
_TRIALS_TOLD = 10


@dataclass(frozen=True, slots=True)
class Sweep:
    """What was tried: all that a card says besides the results."""

    base: Path | None
    recordings: Sequence[Recording]
    aim: Aim
    planned: int
    seed: int


def taken(folder: Path) -> list[str]:
    """Return a sentence if there is a model in a folder already, or it cannot be made.

    It is not made yet: whoever is refused, or stops early, finds nothing new.
    """
    try:
        there = [name for name in (MODEL, CARD, NUMBERS) if (folder / name).exists()]
        if there:
            return [f"{folder}: there is a {there[0]} already; name another folder"]
        place = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    except OSError as error:
        return [f"{folder}: cannot be made: {error.strerror}"]
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return []
    why = errno.EACCES if place.is_dir() else errno.ENOTDIR
    return [f"{folder}: cannot be made: {os.strerror(why)}"]


def write_model(folder: Path, trials: Sequence[Trial], sweep: Sweep) -> dict[str, Any]:
    """Write the best of ranked trials as a model, and return the numbers of its card.

    Raises
    ------
    ConfigError
        It cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MODEL).write_text(_model(folder.name, trials[0], sweep.base), encoding="utf-8")
        card = _card(folder, trials, sweep)
        (folder / NUMBERS).write_bytes(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
        # Read back: what is undefined is null there, and told alike.
        numbers = orjson.loads((folder / NUMBERS).read_bytes())
        (folder / CARD).write_text("\n".join(_told(numbers)) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{folder}: cannot be written: {error.strerror}"]) from None
    return numbers


def _model(name: str, best: Trial, base: Path | None) -> str:
    """Return the base's own file with the chosen parameters and budget laid over it."""
    table = tomllib.loads(base.read_text(encoding="utf-8")) if base else {}
    for section, values in nested(best.parameters).items():
        table[section] = {**table.get(section, {}), **values}
    suspend = {"suspend": {"budget_per_million": best.chosen.budget}}
    table["default_policy"] = {**table.get("default_policy", {}), **suspend}
    head = f"# Written by `astray tune`; {CARD} beside it says what {name} was chosen on.\n"
    return head + toml_of(table)


def _card(folder: Path, trials: Sequence[Trial], sweep: Sweep) -> dict[str, Any]:
    best = trials[0]
    before = next((trial for trial in trials if not trial.parameters), None)
    config = load_config(folder / MODEL)
    return {
        "model": folder.name,
        "file": str((folder / MODEL).absolute()),
        "made": clock.iso(int(time.time() * _MICROS)),
        "astray": version("astray"),
        "model_hash": config.model_hash,
        "config_hash": config.config_hash,
        "base": str(sweep.base) if sweep.base else "the defaults",
        "parameters": dict(best.parameters),
        "budget_per_million": best.chosen.budget,
        "aim": asdict(sweep.aim),
        "seed": sweep.seed,
        "trials_planned": sweep.planned,
        "trials_done": len(trials),
        "accepted": best.accepted,
        "chosen": asdict(best.chosen),
        "held_out": asdict(best.held_out),
        "before": None if before is None else _both(before),
        "recordings": [
            _recording(*one, best.chosen.budget, sweep.aim)
            for one in zip(sweep.recordings, best.outcomes, strict=True)
        ],
        "trials": [
            {"parameters": dict(trial.parameters), "accepted": trial.accepted, **_both(trial)}
            for trial in trials
        ],
    }


def _both(trial: Trial) -> dict[str, dict[str, float]]:
    return {"chosen": asdict(trial.chosen), "held_out": asdict(trial.held_out)}


def _recording(recording: Recording, outcomes: Outcomes, budget: float, aim: Aim) -> dict[str, Any]:
    held_out = outcomes.divided(aim.held_out)[1]
    return {
        "events": str(recording.events),
        "events_sha256": sha256_of(recording.events),
        "labels": str(recording.labels),
        "labels_sha256": sha256_of(recording.labels),
        "tested": len(outcomes),
        "bad": int(outcomes.bad.sum()),
        "agents": len(np.unique(outcomes.agent)),
        "held_out": {"sessions": len(held_out), "bad": int(held_out.bad.sum())}
        | with_intervals(held_out, budget)
        | {"recall_by_attack": held_out.recall_by_attack(budget)},
    }


def with_intervals(outcomes: Outcomes, budget: float) -> dict[str, dict[str, float]]:
    """Return the measures of some sessions at a budget, each with its interval over agents."""
    ones = np.ones(len(outcomes))
    return {
        name: {"value": measure(ones), **_bounds(interval(measure, outcomes.agent))}
        for name, measure in measures_at(outcomes, budget).items()
    }


def measures_at(outcomes: Outcomes, budget: float) -> dict[str, Any]:
    """Return the measures at a budget as functions of the sessions' weights."""
    ranking = outcomes.ranking()

    def roc_auc(weights: Weights) -> float:
        return ranking.curve(weights).roc_auc

    def pr_auc(weights: Weights) -> float:
        return ranking.curve(weights).pr_auc

    def at(measure: Any) -> Any:
        return lambda weights: measure(budget, weights)

    return {
        "recall": at(outcomes.recall),
        "prevented": at(outcomes.prevented),
        "false_per_million": at(outcomes.false_per_million),
        "pr_auc": pr_auc,
        "roc_auc": roc_auc,
    }


def _bounds(pair: tuple[float, float]) -> dict[str, float]:
    return {"low": pair[0], "high": pair[1]}


def sha256_of(path: Path) -> str:
    """Return the checksum of a file, or of the files of a directory one after the other."""
    digest = hashlib.sha256()
    for file in files_in(path) if path.is_dir() else [path]:
        with file.open("rb") as opened:
            while data := opened.read(_BLOCK_BYTES):
                digest.update(data)
    return digest.hexdigest()


def _told(card: Mapping[str, Any]) -> Iterator[str]:
    """Yield the card in words."""
    yield f"# {card['model']}\n"
    yield f"Made {card['made']} by astray {card['astray']}, from {card['base']}."
    yield f"Model `{card['model_hash']}`, configuration `{card['config_hash']}`."
    yield f"\n```sh\nastray run --config {shlex.quote(card['file'])} --source ...\n```\n"
    done, planned = card["trials_done"], card["trials_planned"]
    left = "" if done == planned else f" of {planned:,}: **the sweep was interrupted**"
    aim = card["aim"]
    yield (
        f"Best of {done:,} trials{left}, by {aim['by']}, with at most {aim['accepted']:g} false "
        f"suspensions per million sessions (seed {card['seed']})."
    )
    if not card["accepted"]:
        yield "**No trial kept to that; this is the one with the fewest.**"
    yield "\n## Parameters\n"
    for key, value in card["parameters"].items():
        yield f"- `{key} = {value}`"
    yield f"- `default_policy.suspend.budget_per_million = {card['budget_per_million']:g}`"
    yield from _measures_told(card)
    yield "\n## Data\n"
    for one in card["recordings"]:
        yield from _recording_told(one)
    yield "\n## Trials\n"
    if done > _TRIALS_TOLD:
        yield f"The best {_TRIALS_TOLD} of {done:,}; all are in `{NUMBERS}`.\n"
    yield "| parameters | budget | chosen on | held out | false per million, held out |"
    yield "|---|---|---|---|---|"
    for trial in card["trials"][:_TRIALS_TOLD]:
        by, chosen, held_out = aim["by"], trial["chosen"], trial["held_out"]
        yield (
            f"| {parameters_told(trial['parameters'])} | {chosen['budget']:g} "
            f"| {number(chosen[by])} | {number(held_out[by])} "
            f"| {number(held_out['false_per_million'])} |"
        )


def _measures_told(card: Mapping[str, Any]) -> Iterator[str]:
    yield "\n## Measures\n"
    yield "Held out: the last sessions of the test phase, which nothing was chosen on.\n"
    before = card["before"] or {}
    columns = [card["chosen"], card["held_out"], before.get("held_out", {})]
    yield "| | chosen on | held out | held out, before |"
    yield "|---|---|---|---|"
    for name in Measured.__dataclass_fields__:
        values = " | ".join(number(column.get(name)) for column in columns)
        yield f"| {name.replace('_', ' ')} | {values} |"


def _recording_told(one: Mapping[str, Any]) -> Iterator[str]:
    held_out = one["held_out"]
    yield f"- `{one['events']}`, sha256 `{one['events_sha256']}`"
    yield f"  - labels `{one['labels']}`, sha256 `{one['labels_sha256']}`"
    yield (
        f"  - {one['tested']:,} tested sessions of {one['agents']:,} agents, {one['bad']:,} bad; "
        f"{held_out['sessions']:,} held out, {held_out['bad']:,} bad"
    )
    for name in ("recall", "prevented", "false_per_million", "pr_auc", "roc_auc"):
        value, low, high = (number(held_out[name][part]) for part in ("value", "low", "high"))
        yield f"  - {name.replace('_', ' ')}, held out: {value} ({low} to {high} over agents)"


def parameters_told(parameters: Mapping[str, Any]) -> str:
    """Return parameters in a line."""
    return ", ".join(f"{key} = {value}" for key, value in parameters.items()) or "as it was"


def number(value: float | None) -> str:
    """Return a measure for people; what is undefined is a dash.

    >>> number(0.123456), number(1000.0), number(None)
    ('0.123', '1,000', '-')
    """
    if value is None or np.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.3g}"
