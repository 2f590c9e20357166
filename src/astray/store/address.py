"""Where a case store is: a URL, or the place where a URL with a password is kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from astray.errors import ConfigError, StoreError
from astray.paths import looked_at

FORMS: Final = "sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
_URL_BYTES_MAX: Final = 4096
_DRIVERS: Final = ("postgresql", "postgresql+psycopg")


def resolve(reference: str, environment: Mapping[str, str]) -> str:
    """Return the URL that `env:NAME` or `file:/path` refers to, or the URL that it is.

    Raises
    ------
    ConfigError
        There is nothing at that place. The error names the place, never what is there.
    """
    kind, _, place = reference.partition(":")
    if kind == "env":
        if place not in environment:
            raise ConfigError([f"store.url: {reference} is not set in the environment"])
        return environment[place].strip()
    if kind == "file":
        try:
            with Path(place).open("rb") as file:
                return file.read(_URL_BYTES_MAX).decode(errors="replace").strip()
        except OSError as error:
            raise ConfigError(
                [f"store.url: {reference} cannot be read: {error.strerror}{looked_at(place)}"]
            ) from error
    return reference


def parse(url: str) -> URL:
    """Return the parts of a URL; nothing of it is repeated in an error but its scheme.

    Raises
    ------
    StoreError
        It is none, or of a database that astray does not use.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Neither the text nor the cause: what holds a password cannot be told apart here.
        raise StoreError(
            f"the case store's address is not a URL like {FORMS}", lasting=True
        ) from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise StoreError(
            f"the case store is neither SQLite nor PostgreSQL but {backend}: {FORMS}", lasting=True
        )
    if backend == "postgresql" and parsed.drivername not in _DRIVERS:
        raise StoreError(f"the case store's driver is not psycopg: use {FORMS}", lasting=True)
    if backend == "postgresql" and url.partition("?")[0].count("@") > 1:
        # Else a part of the password would be taken for the host, and be named in errors.
        raise StoreError(
            "the case store's address has a second @: in a password it is written %40", lasting=True
        )
    return parsed


def is_shared(url: URL) -> bool:
    """Return whether several processes may write what is at a URL at a time."""
    return url.get_backend_name() == "postgresql"


def is_there(url: URL) -> bool:
    """Return whether there may be something at a URL: a file is, and a server may be."""
    return is_shared(url) or Path(url.database or "").is_file()
