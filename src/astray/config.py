"""The configuration: its form, its defaults, and every mistake in it at once.

The defaults are in `models/default.toml`, which travels in the wheel; nothing here repeats
them. Unknown keys are refused. Secrets are named by where they are, never written here.
"""

import hashlib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from astray.config_detectors import Detectors
from astray.config_evidence import Grants, Sensitive
from astray.config_kafka import Sink, Source
from astray.config_notices import Blindness, Flood, Review
from astray.config_store import Store
from astray.errors import ConfigError

Array = Field(strict=False)
"""TOML has arrays, where the configuration, which never changes, has tuples."""

Globs = Annotated[tuple[str, ...], Array]
Rows = Annotated[int, Field(ge=64)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecretPlace = Annotated[str, Field(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$")]
Timeout = Annotated[float, Field(gt=0, le=60)]
Expiry = Annotated[float, Field(gt=0, le=86_400)]
Url = Annotated[str, Field(pattern=r"^https?://[^/\s]+")]

POLICIES_MAX = 31
"""The default one among them: an event's tags have two bits for each (`decide.limits`)."""


_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")
_PORT_MAX = 65_535


def _listening(address: str | None) -> str | None:
    if address:
        found = _ADDRESS.fullmatch(address)
        if found is None or int(found[2]) > _PORT_MAX:
            raise ValueError("should be HOST:PORT, such as 127.0.0.1:9464")
    return address


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Events(_Section):
    """How events find their baselines."""

    shards: Annotated[int, Field(ge=1, le=256)]
    shard_by: Literal["group", "agent"]


class Sessions(_Section):
    """When a session ends."""

    idle_s: Positive
    events_max: Annotated[int, Field(ge=2, le=100_000)]


class Baseline(_Section):
    """What is remembered, for how long and how much."""

    half_life_days: Positive
    window_s: Positive
    known_weight: Annotated[float, Field(gt=0, lt=1)]
    agents_max: Rows
    groups_max: Annotated[int, Field(ge=4)]
    sessions_max: Rows
    agent_pages_max: Annotated[int, Field(ge=1, le=1024)]
    group_pages_max: Annotated[int, Field(ge=1, le=1024)]
    session_pages_max: Annotated[int, Field(ge=1, le=64)]


class Learning(_Section):
    """Which sessions teach how much."""

    suspicious_bits: Positive
    quarantine_score: Annotated[float, Field(gt=0, le=180)]
    quarantine_days: Annotated[float, Field(ge=0, le=3650)]
    agreement: Annotated[float, Field(ge=0, le=1_000_000)]


class Reference(_Section):
    """What sessions are ranked against."""

    sessions_max: Annotated[int, Field(ge=100, le=1_000_000)]
    rehearsals: Annotated[int, Field(ge=0, le=4)]


class Threshold(_Section):
    """A score, or the false ones per million sessions that are accepted."""

    score: Annotated[float, Field(gt=0, le=120)] | None = None
    budget_per_million: Annotated[float, Field(ge=1, lt=1_000_000)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.score is None) == (self.budget_per_million is None):
            raise ValueError("give either score or budget_per_million")
        return self

    @property
    def as_score(self) -> float:
        """Return the threshold as a score."""
        if self.score is not None:
            return self.score
        return 20.0 * math.log10(1e6 / (self.budget_per_million or 1.0))


class Limits(_Section):
    """Hard limits of a session; they hold from an agent's first event."""

    then: Literal["alert", "suspend"]
    events_per_minute: Positive | None = None
    bytes_per_session: Positive | None = None
    events_per_session: Positive | None = None
    session_length_s: Positive | None = None
    denied_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    forbidden_actions: Globs = ()
    forbidden_resources: Globs = ()


class Match(_Section):
    """Which agents a policy is for: every list that is given must have a matching glob."""

    agents: Globs = ()
    groups: Globs = ()
    kinds: Globs = ()
    tenants: Globs = ()


class Policy(_Section):
    """What happens when a session of these agents is odd."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = "default"
    match: Match = Match()
    alert: Threshold
    suspend: Threshold
    mode: Literal["auto", "observe", "enforce"]
    enforce_uncertified: bool
    never_suspend: Globs
    suspensions_per_hour_max: Annotated[int, Field(ge=0)]
    limits: Limits


class Webhook(_Section):
    """A receiver of suspensions."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "default"
    url: Url
    secret: SecretPlace | Annotated[tuple[SecretPlace, ...], Field(min_length=1), Array]
    timeout_s: Timeout | None = None
    expires_s: Expiry | None = None


class Delivery(_Section):
    """How hard astray tries to deliver."""

    timeout_s: Timeout
    expires_s: Expiry
    delays_s: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=32), Array]
    flush_s: Annotated[float, Field(ge=0, le=60)]
    act_within_s: Positive


class Alerts(_Section):
    """Where findings go."""

    file: str | None = None
    stdout: Literal["auto", "human", "json", "off"]


class Rejects(_Section):
    """Where lines go that are no events."""

    file: str | None = None


class Recovery(_Section):
    """How often state is made durable."""

    interval_s: Annotated[float, Field(gt=0, le=3600)]


class Health(_Section):
    """Where a run tells how it is."""

    listen: Annotated[str | None, AfterValidator(_listening)] = None
    stuck_after_s: Positive

    @property
    def address(self) -> tuple[str, int] | None:
        """Return the host and port to listen on; None: it tells nobody."""
        if not self.listen:
            return None
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class Config(_Section):
    """The whole configuration."""

    events: Events
    sessions: Sessions
    baseline: Baseline
    learning: Learning
    reference: Reference
    sensitive: Sensitive
    grants: Grants
    blindness: Blindness
    review: Review
    flood: Flood
    default_policy: Policy
    policy: Annotated[tuple[Policy, ...], Field(max_length=POLICIES_MAX - 1), Array] = ()
    detector: Detectors = ()
    webhook: Annotated[tuple[Webhook, ...], Array] = ()
    delivery: Delivery
    store: Store
    alerts: Alerts
    rejects: Rejects
    recovery: Recovery
    source: Source
    sink: Sink
    health: Health

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for kind, names in (
            ("policy", [policy.name for policy in self.policies]),
            ("webhook", [webhook.name for webhook in self.webhook]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                unnamed = "; without a name it is default" if "default" in twice else ""
                raise ValueError(f"{kind} names must differ: {', '.join(twice)}{unnamed}")
        return self

    @model_validator(mode="after")
    def _default_is_for_all(self) -> Self:
        if self.default_policy.match != Match():
            raise ValueError("default_policy is everyone's; match belongs to a [[policy]]")
        return self

    @property
    def policies(self) -> tuple[Policy, ...]:
        """Return the policies in the order in which they are asked; the last is everyone's."""
        return (*self.policy, self.default_policy)

    @property
    def model_hash(self) -> str:
        """Return a hash of what scores depend on."""
        return self._hash(set(_OF_SCORES))

    @property
    def config_hash(self) -> str:
        """Return a hash of all that scores and decisions about sessions could depend on."""
        return self._hash(set(type(self).model_fields) - {"health", "blindness", "review"})

    def _hash(self, sections: set[str]) -> str:
        sections = sections if self.detector else sections - {"detector"}
        sections = sections if self.sensitive.is_given else sections - {"sensitive"}
        include: dict[str, Any] = dict.fromkeys(sections - {"grants"}, True)
        dumped = self.model_dump(mode="json", include=include | {"flood": set(_OF_WAVES)})
        if self.grants.file is not None:
            dumped["grants"] = self.grants.digest
        return hashlib.sha256(orjson.dumps(dumped, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


_OF_SCORES = (
    "events", "sessions", "baseline", "learning", "reference", "detector", "sensitive", "grants",
    "flood",
)  # fmt: skip
_OF_WAVES = ("agents_min", "times_usual")
"""What of `flood` says which newcomers have a final score together; the rest is about cases."""

_OWN = ("name", "match")
"""What a policy does not inherit."""

_MESSAGES = {
    "extra_forbidden": "there is no such key",
    "missing": "is missing",
    "model_type": "should be a table",
    "tuple_type": "should be an array",
}
"""What pydantic says in words of its own, in TOML's."""

_PLACES = 'name where it is, "env:NAME" or "file:/path", never what it is; an array names several'


def default_toml() -> str:
    """Return the commented file that is the defaults."""
    packaged = resources.files("astray") / "models" / "default.toml"
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    # A checkout that runs from its sources has the file where people look for it.
    return (Path(__file__).parents[2] / "models" / "default.toml").read_text(encoding="utf-8")


def load_config(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Return the defaults, under the file at `path`, under `overrides`.

    Raises
    ------
    ConfigError
        The file is not there, is not TOML, or does not make a configuration; all problems
        are named, each with file and key.
    """
    merged = tomllib.loads(default_toml())
    if path is not None:
        merged = _merged(merged, _read(path))
    merged = _merged(merged, overrides or {})
    base = merged["default_policy"]
    if isinstance(base, dict) and isinstance(merged.get("policy"), list):
        inherited = {key: value for key, value in base.items() if key not in _OWN}
        merged["policy"] = [_inheriting(inherited, policy) for policy in merged["policy"]]
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_problems(error, str(path or "configuration"))) from None


def with_policies(config: Config, **changes: Any) -> Config:
    """Return the configuration with these values in every policy."""

    def changed(policy: Policy) -> Policy:
        return policy.model_copy(update=changes)

    return config.model_copy(
        update={
            "default_policy": changed(config.default_policy),
            "policy": tuple(map(changed, config.policy)),
        }
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from None


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one table over another; a threshold replaces the other as a whole."""
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        whole = key in ("alert", "suspend")
        merged[key] = _merged(merged[key], value) if both and not whole else value
    return merged


def _inheriting(base: Mapping[str, Any], policy: Any) -> Any:
    return _merged(base, policy) if isinstance(policy, Mapping) else policy


def _problems(error: ValidationError, place: str) -> Sequence[str]:
    """Return one sentence per mistake; what a policy has inherited is said once."""
    found: dict[str, None] = {}
    inherited = set()
    for problem in error.errors(include_input=False, include_url=False):
        where, said = _said([str(part) for part in problem["loc"]], problem["type"], problem["msg"])
        if where[:1] == ["default_policy"]:
            inherited.add((*where[1:], said))
        elif where[:1] == ["policy"] and (*where[2:], said) in inherited:
            continue
        for sentence in said.splitlines():
            found[": ".join(filter(None, (place, ".".join(where), sentence)))] = None
    return list(found)


def _said(where: list[str], kind: str, message: str) -> tuple[list[str], str]:
    """Return the key of a mistake and what is said of it, for people who write TOML."""
    if where[:1] == ["webhook"] and where[2:3] == ["secret"] and kind != "missing":
        return where[:3], _PLACES
    said = _MESSAGES.get(kind, message).removeprefix("Value error, ").replace("Tuple", "Array")
    return where, said[:1].lower() + said[1:]
