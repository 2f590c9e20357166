"""The configuration of detectors of one's own: models that look at sessions as a whole.

What can be said of a table by itself is said here; whether there is such a model, and what
options it takes, is known to `astray.detectors`.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

DETECTORS_MAX = 8
STEPS_MAX = 4

_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
_Path = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,199}$")]


def _steps(model: Any) -> Any:
    """Return the steps of a model: a single one may be written without brackets."""
    return [model] if isinstance(model, str) else model


_Steps = Annotated[
    tuple[_Path, ...],
    Field(min_length=1, max_length=STEPS_MAX, strict=False),
    BeforeValidator(_steps, json_schema_input_type=str | tuple[str, ...]),
]


class Detector(BaseModel):
    """A model, what it looks at, and among whose sessions.

    `model` are the models that see a session one after another; the last one scores it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: _Name
    model: _Steps
    options: dict[str, Any] = {}
    features: Annotated[tuple[str, ...], Field(max_length=32, strict=False)] = ()
    per: Literal["fleet", "group"] = "fleet"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 7
    warmup: Annotated[int, Field(ge=1, le=100_000)] = 256
    cohorts_max: Annotated[int, Field(ge=1, le=10_000)] = 64

    @model_validator(mode="after")
    def _features_differ(self) -> "Detector":
        twice = sorted({name for name in self.features if self.features.count(name) > 1})
        if twice:
            raise ValueError(f"features are given twice: {', '.join(twice)}")
        return self


def _names_differ(detectors: tuple[Detector, ...]) -> tuple[Detector, ...]:
    names = [detector.name for detector in detectors]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"detector names must differ: {', '.join(twice)}")
    return detectors


Detectors = Annotated[
    tuple[Detector, ...],
    Field(max_length=DETECTORS_MAX, strict=False),
    AfterValidator(_names_differ),
]
