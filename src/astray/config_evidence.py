"""The configuration of evidence that only the operator can give a name."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

GLOBS_MAX = 1000
"""Globs of a list: all of them are one regular expression."""

_Globs = Annotated[tuple[str, ...], Field(max_length=GLOBS_MAX, strict=False)]


class Sensitive(BaseModel):
    """Which actions and resources matter more than others."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    actions: _Globs = ()
    resources: _Globs = ()

    @property
    def is_given(self) -> bool:
        """Return whether anything is sensitive."""
        return bool(self.actions or self.resources)
