"""Which policy an agent has, compiled from the configuration."""

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass

from astray.config import Config, Globs, Limits, Policy
from astray.decide.decision import Mode
from astray.events import Event

_ALL = re.compile("")


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A policy, ready to be asked."""

    name: str
    alert_score: float
    suspend_score: float
    mode: Mode
    enforce_uncertified: bool
    suspensions_per_hour_max: int
    limits: Limits
    never_suspend: re.Pattern[str] | None
    match: tuple[tuple[str, re.Pattern[str]], ...]

    def is_for(self, event: Event) -> bool:
        """Return whether this is the policy of the event's agent, unless one before it is."""
        return all(pattern.match(getattr(event, name)) for name, pattern in self.match)

    def never_suspends(self, agent: str) -> bool:
        """Return whether the agent is on the list of those that are never suspended."""
        return self.never_suspend is not None and bool(self.never_suspend.match(agent))


def compile_policies(config: Config) -> tuple[CompiledPolicy, ...]:
    """Return the policies in the order in which they are asked; the last is everyone's."""
    enforce = Mode.ENFORCE if config.webhook else Mode.OBSERVE
    return tuple(_compiled(policy, enforce) for policy in config.policies)


def _compiled(policy: Policy, auto: Mode) -> CompiledPolicy:
    match = policy.match
    globs = {
        "agent": match.agents,
        "group": match.groups,
        "kind": match.kinds,
        "tenant": match.tenants,
    }
    suspend_score = policy.suspend.as_score
    return CompiledPolicy(
        name=policy.name,
        alert_score=min(policy.alert.as_score, suspend_score),
        suspend_score=suspend_score,
        mode=auto if policy.mode == "auto" else Mode(policy.mode),
        enforce_uncertified=policy.enforce_uncertified,
        suspensions_per_hour_max=policy.suspensions_per_hour_max,
        limits=policy.limits,
        never_suspend=any_of(policy.never_suspend),
        match=tuple((name, any_of(given) or _ALL) for name, given in globs.items() if given),
    )


def any_of(globs: Globs) -> re.Pattern[str] | None:
    """Return a pattern that matches what any of the globs matches, or None without globs."""
    return re.compile("|".join(map(fnmatch.translate, globs))) if globs else None


def policy_of(policies: Iterable[CompiledPolicy], event: Event) -> CompiledPolicy:
    """Return the first policy that is for the event's agent."""
    return next(policy for policy in policies if policy.is_for(event))
