"""A decision: what an auditor asks about one session reaching one level, in one record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from astray.decide.likeness import LIKENESSES
from astray.events.ids import pair_id, stable_id


class Level(StrEnum):
    """What a session has reached, in rising order.

    `WITHHELD`: it reached its suspension limit, and something else kept it from being
    suspended; it still can be, should that no longer hold.
    """

    ALERT = "alert"
    WITHHELD = "withheld"
    SUSPEND = "suspend"


class Mode(StrEnum):
    """What a policy does when a session reaches its suspension limit."""

    OBSERVE = "observe"
    ENFORCE = "enforce"


class Withheld(StrEnum):
    """Why a session that reached its suspension limit is not suspended.

    `OBSERVE`: because of its policy's mode alone. What would not be suspended by a policy that
    enforces either has its own reason.
    """

    NOTHING = ""
    OBSERVE = "observe"
    UNCERTIFIED = "uncertified"
    YOUNG = "young"
    NEVER_SUSPEND = "never_suspend"
    BREAKER = "breaker"
    PAST = "past"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One reason for a score.

    `seen` and `usual` are written for people; `share` is this reason's part of the score,
    and the shares of a decision add up to 1 (a hard limit has all of it).
    """

    channel: str
    item: str
    level: str
    seen: str
    usual: str
    bits: float
    share: float
    event_ids: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class Decision:
    """One session reaching one level of one policy; equal ids are the same decision.

    `n`: 1 in n sessions look like this; `looks_like`: the kind of attack that they look like,
    one of `likeness.LIKENESSES`, if it is rather one than all others. `limit` is the score, or
    the value of a hard limit, that was reached; `certified`: the reference is long enough to
    say that it was (a hard limit needs none).
    """

    id: str
    case: str
    level: Level
    withheld: Withheld
    ts_us: int
    tenant: str
    agent: str
    session: str
    principal: str
    group: str
    kind: str
    event_id: str
    score: float
    n: float
    certified: bool
    limit: float
    reason: str
    policy: str
    mode: Mode
    age_class: int
    model: str
    config: str
    evidence: tuple[Evidence, ...] = field(default=())
    looks_like: str = ""

    @property
    def suspends(self) -> bool:
        """Return whether this decision asks for the session to be suspended."""
        return self.level is Level.SUSPEND

    @property
    def sentence(self) -> str:
        """Return what happened and how rare it is, to be read aloud."""
        what = self.evidence[0].sentence if self.evidence else f"{self.agent} is unlike itself"
        if self.reason != "score":
            return what
        like = LIKENESSES.get(self.looks_like)
        most = f", most like {like.title}" if like else ""
        return f"{what}; 1 in {round(self.n):,} sessions look like this{most}"

    def as_dict(self) -> dict[str, Any]:
        """Return the decision as JSON-ready values."""
        return asdict(self)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Decision":
        """Return the decision that was written as JSON."""
        evidence = tuple(
            Evidence(**{**reason, "event_ids": tuple(reason["event_ids"])})
            for reason in record["evidence"]
        )
        closed = {"level": Level, "withheld": Withheld, "mode": Mode}
        values = {name: kind(record[name]) for name, kind in closed.items()}
        return cls(**{**record, **values, "evidence": evidence})


def case_id(tenant: str, agent: str, session: str) -> str:
    """Return the id of the case of a session: the same for ever."""
    return f"case_{chained(tenant, agent, session):016x}"


def decision_id(tenant: str, agent: str, session: str, policy: str, level: str) -> str:
    """Return the id of a decision: the same whenever and however often it is taken."""
    return f"dec_{chained(tenant, agent, session, policy, level):016x}"


def chained(*texts: str) -> int:
    """Return the id of a sequence of texts."""
    value = 0
    for text in texts:
        value = pair_id(value, stable_id(text))
    return value
