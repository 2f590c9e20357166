"""Where webhooks go."""

from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from astray.errors import ConfigError
from astray.respond.secret import Secret

TIMEOUT_S = 10.0
EXPIRES_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A receiver: its name in the configuration, where it listens, and what signs for it.

    `timeout_s` bounds an attempt, `expires_after_s` the time a suspension is tried for. All
    `secrets` sign, which is how one is replaced: add the new one, then remove the old one.
    The address is left out of `repr`: it may have a token in its path.

    Raises
    ------
    ConfigError
        The address is not one, there is no secret, or a time is not above zero.
    """

    name: str
    url: str = field(repr=False)
    secrets: tuple[Secret, ...]
    timeout_s: float = TIMEOUT_S
    expires_after_s: float = EXPIRES_AFTER_S

    def __post_init__(self) -> None:
        problems = [f"the endpoint {self.name} {problem}" for problem in self._problems()]
        if problems:
            raise ConfigError(problems)

    @property
    def is_plain(self) -> bool:
        """Whether it is reached without TLS, which only a loopback address should be."""
        return urlsplit(self.url).scheme == "http"

    def _problems(self) -> list[str]:
        problems = [_url_problem(self.url)]
        if not self.secrets:
            problems.append("has no secret to sign with")
        if not 0 < self.timeout_s < float("inf"):
            problems.append(f"needs a timeout above 0 s, got {self.timeout_s}")
        if not 0 < self.expires_after_s < float("inf"):
            problems.append(f"needs an expiry above 0 s, got {self.expires_after_s}")
        return [problem for problem in problems if problem]


def _url_problem(url: str) -> str:
    """Return what is wrong with an address without repeating it: it may hold a token."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # looked at only here, though it may be no number
    except ValueError:
        return "has an address that is not a URL"
    if parts.scheme not in ("http", "https"):
        return "has an address that does not begin with http:// or https://"
    return _host_problem(parts)


def _host_problem(parts: SplitResult) -> str:
    if not parts.hostname:
        return "has an address without a host"
    if parts.username is not None or parts.password is not None:
        return "has credentials in its address: webhooks are signed instead"
    return ""
