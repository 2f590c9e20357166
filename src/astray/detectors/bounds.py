"""Which options of river's models make sense: a check refuses others before anything starts.

river takes what it is given. Half-space trees of height 16 are half a minute in the making and
gigabytes in size; a negative number of trees, cuts or neighbours finds nothing, and says so to
nobody. What a model itself refuses is found out by trying it, see `models`.
"""

import inspect
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    ValidationInfo,
    field_validator,
)

NODES_MAX = 65_536
"""Nodes of all half-space trees of a model: 0.4 s to build, 22 MB, and 2 MB in a snapshot."""

_Many = Annotated[int, Field(ge=1, le=1_000)]
_Sessions = Annotated[int, Field(ge=0, le=100_000)]
_Above = Annotated[float, Field(gt=0)]
_MESSAGES = {
    "none_required": "is an object of river's, which no file can name: leave it out",
    "tuple_type": "should be an array",
    "dict_type": "should be a table",
}
"""What pydantic says in words of its own, in TOML's."""


class _Options(BaseModel):
    """Options that have bounds; the rest of a model's are not looked at."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _HalfSpaceTrees(_Options):
    n_trees: _Many = 10
    height: Annotated[int, Field(ge=1, le=16, validate_default=True)] = 8
    window_size: Annotated[int, Field(ge=1, le=100_000)] = 250
    limits: dict[str, Annotated[tuple[FiniteFloat, FiniteFloat], Field(strict=False)]] = {}

    @field_validator("height")
    @classmethod
    def _few_nodes(cls, height: int, info: ValidationInfo) -> int:
        trees = info.data.get("n_trees", 1)  # what is no number of trees is told as that
        nodes = trees * (2 ** (height + 1) - 1)
        if nodes > NODES_MAX:
            raise ValueError(
                f"{trees:,} trees (n_trees) of height {height} have {nodes:,} nodes; "
                f"{NODES_MAX:,} are the most that are built within a second"
            )
        return height

    @field_validator("limits")
    @classmethod
    def _limits_rise(cls, limits: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        falling = [name for name, (low, high) in limits.items() if low >= high]
        if falling:
            raise ValueError(f"the first should be below the second: {', '.join(falling)}")
        return limits


class _Loda(_Options):
    n_bins: _Many = 10
    n_random_cuts: _Many = 100


class _OneClassSvm(_Options):
    nu: Annotated[float, Field(gt=0, le=1)] = 0.1
    intercept_lr: Annotated[FiniteFloat, Field(gt=0)] = 0.01
    clip_gradient: _Above = 1e12
    optimizer: None = None
    initializer: None = None


class _LocalOutlierFactor(_Options):
    n_neighbors: _Many = 10
    engine: None = None


class _GaussianScorer(_Options):
    window_size: Annotated[int, Field(ge=2, le=100_000)] = 2
    grace_period: _Sessions = 100


class _StandardAbsoluteDeviation(_Options):
    sub_stat: None = None


class _PredictiveAnomalyDetection(_Options):
    predictive_model: None = None
    horizon: _Many = 1
    n_std: Annotated[FiniteFloat, Field(gt=0)] = 3.0
    warmup_period: _Sessions = 0


_BOUNDED: dict[str, type[_Options]] = {
    "HalfSpaceTrees": _HalfSpaceTrees,
    "LODA": _Loda,
    "OneClassSVM": _OneClassSvm,
    "LocalOutlierFactor": _LocalOutlierFactor,
    "GaussianScorer": _GaussianScorer,
    "StandardAbsoluteDeviation": _StandardAbsoluteDeviation,
    "PredictiveAnomalyDetection": _PredictiveAnomalyDetection,
}


def option_problems(model: type, given: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the options of a class of river's, each with its name first."""
    bounded = _BOUNDED.get(model.__name__, _Options)
    said = list(_wrong_kinds(model, given, set(bounded.model_fields)))
    try:
        bounded.model_validate(dict(given))
    except ValidationError as error:
        said += [
            f"{'.'.join(map(str, problem['loc']))}: {_said(problem['type'], problem['msg'])}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
    return said


def _wrong_kinds(model: type, given: Mapping[str, Any], known: set[str]) -> Iterator[str]:
    """Say which options are of another kind than their defaults; `known` are looked at elsewhere.

    river asks of a switch only whether it is empty: the text "no" would turn it on.
    """
    parameters = inspect.signature(model).parameters
    for name in (one for one in given if one in parameters and one not in known):
        value, usual = given[name], parameters[name].default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name == "seed":
            if not (is_number and isinstance(value, int)):
                yield f"{name}: should be a whole number"
        elif isinstance(usual, bool):
            if not isinstance(value, bool):
                yield f"{name}: should be true or false"
        elif isinstance(usual, int | float) and not is_number:
            yield f"{name}: should be a number"


def _said(kind: str, message: str) -> str:
    said = _MESSAGES.get(kind, message).removeprefix("Value error, ")
    return said[:1].lower() + said[1:]
