"""The configuration of what is told besides odd sessions: silences, floods, agents that changed."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Blindness(BaseModel):
    """What counts as silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    agents: bool
    actions: bool
    silent_after_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    learn_days: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    false_per_million: Annotated[float, Field(gt=0, le=100_000)]


class Review(BaseModel):
    """When somebody is asked to look at an agent that has changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    learn_days: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    false_per_million: Annotated[float, Field(ge=0, le=100_000)]


class Flood(BaseModel):
    """When so many agents do the same thing at once that somebody is asked to look at it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    agents_min: Annotated[int, Field(ge=0)]
    times_usual: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    learn_days: Annotated[float, Field(ge=0, allow_inf_nan=False)]
