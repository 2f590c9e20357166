"""Signing secrets: where they come from, and never a word about what they are."""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from astray.errors import ConfigError
from astray.paths import looked_at

PREFIX: Final = "whsec_"
KEY_BYTES_MIN: Final = 24
KEY_BYTES_MAX: Final = 64
_FILE_BYTES_MAX: Final = 4096
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Secret:
    """A key that signs webhooks; only `webhook` looks inside.

    It is no dataclass on purpose: `asdict` of whatever holds it would print the key.
    """

    __slots__ = ("key", "source")

    def __init__(self, key: bytes, source: str) -> None:
        self.key = key
        self.source = source

    def __repr__(self) -> str:
        return f"Secret({self.source})"


def secret_from(reference: str, environment: Mapping[str, str]) -> Secret:
    """Return the secret that `env:NAME` or `file:/path` refers to.

    Its text is `whsec_` and 24 to 64 bytes in base64 (Standard Webhooks 1.0.0, "Signature
    scheme"); white space around it is ignored.

    Raises
    ------
    ConfigError
        It is not there or is no such secret. The error names the reference, never the value.
    """
    kind, _, place = reference.partition(":")
    if PREFIX in reference or kind not in ("env", "file") or not place:
        # The reference is not repeated: it may well be the secret itself.
        raise _refusal("a secret", "is given as env:NAME or file:/path, never as its value")
    text = _variable(place, environment) if kind == "env" else _content(Path(place))
    return secret_of(text, reference)


def secret_of(text: str, source: str) -> Secret:
    """Return the secret written as `whsec_...`; `source` is how errors call it.

    Raises
    ------
    ConfigError
        The text is no such secret.
    """
    text = text.strip()
    if not text.startswith(PREFIX):
        raise _refusal(source, f"does not begin with {PREFIX}")
    encoded = text.removeprefix(PREFIX)
    try:
        key = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        # Without the cause: what Python says of it could quote from the text.
        raise _refusal(source, f"is not base64 after {PREFIX}") from None
    if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise _refusal(
            source,
            f"holds {len(key)} bytes; a secret has {KEY_BYTES_MIN} to {KEY_BYTES_MAX}",
        )
    return Secret(key, source)


def _variable(name: str, environment: Mapping[str, str]) -> str:
    if not _VARIABLE.fullmatch(name):
        raise _refusal("a secret", "refers to an environment variable by an impossible name")
    if name not in environment:
        raise _refusal(f"env:{name}", "is not set in the environment")
    return environment[name]


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES_MAX).decode(errors="replace")
    except OSError as error:
        raise _refusal(
            f"file:{path}", f"cannot be read: {error.strerror}{looked_at(path)}"
        ) from error


def _refusal(source: str, what: str) -> ConfigError:
    subject = source if source == "a secret" else f"the secret {source}"
    return ConfigError([f"{subject} {what}"])
