"""The configuration of evidence that only the operator can give a name."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Self

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from astray.paths import looked_at

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


GRANTS_MAX = 20_000
"""Lines of a file of grants."""

_BYTES_MAX = 64 * 1024 * 1024
_TOLD_MAX = 20
"""Bad lines that are named; further ones are counted."""

_MESSAGES = {
    "extra_forbidden": "there is no such key",
    "missing": "is missing",
    "model_type": "should be an object",
    "tuple_type": "should be an array",
}
"""What pydantic says in words of its own, in JSON's."""

_Glob = Annotated[str, Field(min_length=1, max_length=1024)]


class Grant(BaseModel):
    """A line of grants: which actions the agents have that match all that is given; globs."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    agent: _Glob | None = None
    group: _Glob | None = None
    tenant: _Glob | None = None
    actions: _Globs

    @model_validator(mode="after")
    def _is_for_somebody(self) -> Self:
        if self.agent is None and self.group is None:
            raise ValueError("names neither an agent nor a group")
        return self


class Grants(BaseModel):
    """What agents may do; the file is read once, with the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    file: str | None = None
    _lines: tuple[Grant, ...] = PrivateAttr(())

    @property
    def lines(self) -> tuple[Grant, ...]:
        """Return what the file says."""
        return self._lines

    @property
    def digest(self) -> str:
        """Return a hash of what the file says, whatever it is called."""
        said = [line.model_dump() for line in self._lines]
        return hashlib.sha256(orjson.dumps(said)).hexdigest()[:16]

    @model_validator(mode="after")
    def _read(self) -> Self:
        if self.file is None:
            return self
        try:
            with Path(self.file).open("rb") as file:
                data = file.read(_BYTES_MAX + 1)
        except OSError as error:
            where = looked_at(self.file)
            raise ValueError(f"{self.file}: cannot be read: {error.strerror}{where}") from None
        if len(data) > _BYTES_MAX:
            raise ValueError(f"{self.file}: is larger than {_BYTES_MAX:,} bytes")
        self._lines = _parsed(self.file, data.splitlines())
        return self


def _parsed(file: str, lines: Iterable[bytes]) -> tuple[Grant, ...]:
    """Return the grants of a file, or raise all that is wrong with it, a sentence a line."""
    found: list[Grant] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.append(Grant.model_validate(orjson.loads(line)))
        except orjson.JSONDecodeError as error:
            problems.append(f"{file}:{number}: not JSON: {error.msg}")
        except ValidationError as error:
            problems += [f"{file}:{number}: {said}" for said in _sentences(error)]
    if len(found) > GRANTS_MAX:
        problems.append(f"{file}: has {len(found):,} grants; {GRANTS_MAX:,} at most")
    if problems:
        more = len(problems) - _TOLD_MAX
        rest = [f"{file}: and {more:,} more problems"] if more > 0 else []
        raise ValueError("\n".join([*problems[:_TOLD_MAX], *rest]))
    return tuple(found)


def _sentences(error: ValidationError) -> list[str]:
    return [
        ": ".join((*map(str, problem["loc"][:1]), _said(problem["type"], problem["msg"])))
        for problem in error.errors(include_input=False, include_url=False)
    ]


def _said(kind: str, message: str) -> str:
    said = _MESSAGES.get(kind, message).removeprefix("Value error, ")
    return said[:1].lower() + said[1:]
