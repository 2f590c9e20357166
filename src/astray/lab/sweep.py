"""What a sweep tries: values of model parameters, on a grid or drawn at random.

A sweep is written as `baseline.half_life_days=7,21,60`, as `learning.suspicious_bits=4..8`
(anything in between, for random trials), or as a TOML file that has arrays, or tables of
`from` and `to`, where a configuration has values.
"""

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from astray.config import Config, load_config
from astray.errors import ConfigError

SECTIONS = ("events", "sessions", "baseline", "learning", "reference", "flood")
"""What scores depend on: what can be swept."""

TRIALS_MAX = 1_000
_FEW_DIGITS = 6

Parameters = Mapping[str, Any]
"""Values by their keys, as in "baseline.half_life_days"."""


@dataclass(frozen=True, slots=True)
class Between:
    """Any value from one to another; whole where both are. Factors count, not differences."""

    low: float
    high: float

    def draw(self, generator: np.random.Generator) -> float:
        """Draw a value."""
        drawn = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        value = min(max(drawn, self.low), self.high)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return round(value)
        return float(f"{value:.{_FEW_DIGITS}g}")


Space = Mapping[str, Between | tuple[Any, ...]]
"""What each key may be."""


def read_space(sweeps: Sequence[str], base: Path | None) -> Space:
    """Return what is to be tried around a configuration.

    Raises
    ------
    ConfigError
        With everything that cannot be tried: no such key, no value of it, nothing to try.
    """
    space: dict[str, Between | tuple[Any, ...]] = {}
    problems: list[str] = []
    load_config(base)  # its own mistakes first: otherwise every value would seem to have them
    for sweep in sweeps:
        try:
            found = _from_text(sweep) if "=" in sweep else _from_file(Path(sweep))
        except ConfigError as error:
            problems += error.problems
            continue
        problems += [f"--sweep {sweep}: {key} is swept twice" for key in found if key in space]
        for key, values in found.items():
            problems += [f"--sweep {sweep}: {problem}" for problem in _problems(key, values, base)]
        space |= found
    if problems:
        raise ConfigError(problems)
    return space


def trials_of(
    space: Space, trials: int | None, seed: int, base: Path | None = None
) -> list[Parameters]:
    """Return the sets of parameters to try: first none changed, then all of a grid, or some.

    Without a number of trials the grid is tried as a whole. What comes to the same model is
    tried once.

    Raises
    ------
    ConfigError
        A range needs a number of trials, and a grid must not be too large.
    """
    if trials is None:
        ranges = [key for key, values in space.items() if isinstance(values, Between)]
        if ranges:
            raise ConfigError([f"--trials: needed for the range of {', '.join(ranges)}"])
        lists = [values for values in space.values() if not isinstance(values, Between)]
        count = math.prod(map(len, lists))
        if count > TRIALS_MAX:
            raise ConfigError([f"{count:,} trials are more than {TRIALS_MAX:,}: give --trials"])
        found = [dict(zip(space, values, strict=True)) for values in itertools.product(*lists)]
    else:
        generator = np.random.default_rng(seed)
        found = [_drawn(space, generator) for _ in range(trials)]
    models: dict[str, Parameters] = {}
    for trial in ({}, *found):
        models.setdefault(config_of(base, trial).model_hash, trial)
    return list(models.values())


def config_of(base: Path | None, parameters: Parameters) -> Config:
    """Return a configuration with these parameters."""
    return load_config(base, nested(parameters))


def nested(parameters: Parameters) -> dict[str, dict[str, Any]]:
    """Return parameters as sections.

    >>> nested({"baseline.window_s": 60, "learning.quarantine_score": 70.0})
    {'baseline': {'window_s': 60}, 'learning': {'quarantine_score': 70.0}}
    """
    sections: dict[str, dict[str, Any]] = {}
    for key, value in parameters.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    return sections


def _drawn(space: Space, generator: np.random.Generator) -> dict[str, Any]:
    return {
        key: values.draw(generator)
        if isinstance(values, Between)
        else values[int(generator.integers(len(values)))]
        for key, values in space.items()
    }


def _from_text(sweep: str) -> dict[str, Between | tuple[Any, ...]]:
    key, _, text = sweep.partition("=")
    low, dots, high = text.partition("..")
    if dots:
        return {key.strip(): _between(sweep, _scalar(low), _scalar(high))}
    return {key.strip(): tuple(_scalar(value) for value in text.split(",") if value.strip())}


def _scalar(text: str) -> Any:
    """Return a value as TOML has it; what is none is a text."""
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _between(sweep: str, low: Any, high: Any) -> Between:
    for value in (low, high):
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise ConfigError([f"--sweep {sweep}: a range lies between two numbers above 0"])
    if not low < high < math.inf:
        raise ConfigError([f"--sweep {sweep}: a range goes from a number to a higher one"])
    return Between(low, high)


def _from_file(path: Path) -> dict[str, Between | tuple[Any, ...]]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError([f"--sweep {path}: neither KEY=VALUE,... nor a file"]) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([f"--sweep {path}: cannot be read: {error}"]) from None
    found: dict[str, Between | tuple[Any, ...]] = {}
    for section, table in tables.items():
        if not isinstance(table, Mapping):
            raise ConfigError([f"--sweep {path}: {section}: should be a table"])
        for name, values in table.items():
            found[f"{section}.{name}"] = _values(f"{path}: {section}.{name}", values)
    return found


def _values(place: str, values: Any) -> Between | tuple[Any, ...]:
    if isinstance(values, list):
        return tuple(values)
    if isinstance(values, Mapping) and set(values) == {"from", "to"}:
        return _between(place, values["from"], values["to"])
    raise ConfigError([f"--sweep {place}: an array of values, or {{ from = ..., to = ... }}"])


def _problems(key: str, values: Between | tuple[Any, ...], base: Path | None) -> Iterator[str]:
    """Say what keeps values from being tried; a range is tried at its ends."""
    section, _, name = key.partition(".")
    if section not in SECTIONS or not name or "." in name:
        yield f"{key}: scores depend on keys of {', '.join(SECTIONS)} only"
        return
    if not values:
        yield f"{key}: no values"
        return
    for value in (values.low, values.high) if isinstance(values, Between) else values:
        try:
            config_of(base, {key: value})
        except ConfigError as error:
            said = error.problems[0].partition(f"{key}: ")[2] or error.problems[0]
            yield f"{key} = {value!r}: {said}"
            if said == "there is no such key":
                return
