"""The configuration of the case store: where it is, and for how long it keeps what is closed."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

DAYS_MAX = 36_500
"""A hundred years."""

_URL = re.compile(r"sqlite://|postgresql(\+psycopg)?://|env:[A-Za-z_][A-Za-z0-9_]*$|file:.")
_PASSWORD = re.compile(r"://[^@]*:.*@|[?&](ssl)?password=")


def _place(url: str) -> str:
    if not _URL.match(url):
        raise ValueError(
            "should be sqlite:///FILE, postgresql+psycopg://USER@HOST/DATABASE, "
            "env:NAME or file:/path"
        )
    if url.startswith("postgresql") and _PASSWORD.search(url):
        raise ValueError("has a password: name where the whole URL is, env:NAME or file:/path")
    return url


def _days(days: float) -> float:
    if not 0 <= days <= DAYS_MAX:
        raise ValueError(f"should be a number of days up to {DAYS_MAX:,}, or 0: for ever")
    return days


Days = Annotated[float, Field(allow_inf_nan=True), AfterValidator(_days)]


class Store(BaseModel):
    """The case store."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    url: Annotated[str, AfterValidator(_place)]
    keep_days: Days
    keep_audit_days: Days

    @model_validator(mode="after")
    def _audit_is_kept_longest(self) -> Self:
        # A line of the audit says nothing without its case.
        if self.keep_audit_days and not 0 < self.keep_days <= self.keep_audit_days:
            raise ValueError("keep_audit_days should be 0, for ever, or at least keep_days")
        return self
