"""A review that is asked for: of an agent that changed, or of many at once, in one record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from astray.decide.decision import chained
from astray.events import clock


@dataclass(frozen=True, slots=True)
class Review:
    """An agent, or many of a tenant at once, that somebody should look at; it suspends nobody.

    `sessions` since `since_us` are odder than the `past` ones before them: 1 in `after` and 1 in
    `before` sessions look like them. `is_sudden`: there is a session from which on it is so.
    Without a change that comes at most once in `one_in` sessions, on average. Of many at
    once, `agent` is empty, `count` says how many they are, and `examples` names some.

    A flood is something else: `count` agents, at least, have done `action` (to `resource`) in the
    window that began at `ts_us`, where `usual` are usual. `flood` is the id of what
    is done; of the agents the one is named with which they were so many.
    """

    tenant: str
    agent: str
    ts_us: int
    since_us: int
    one_in: float
    sessions: int = 0
    past: int = 0
    after: float = 1.0
    before: float = 1.0
    is_sudden: bool = False
    count: int = 1
    examples: tuple[str, ...] = ()
    flood: str = ""
    action: str = ""
    resource: str = ""
    usual: int = 0

    @property
    def is_flood(self) -> bool:
        """Return whether it is about many that do the same at once, not about who changed."""
        return bool(self.flood)

    @property
    def case(self) -> str:
        """Return the id of its case: the same for ever."""
        if self.is_flood:
            return f"case_{chained('flood', self.tenant, self.flood, f'{self.ts_us}'):016x}"
        return f"case_{chained('review', self.tenant, self.agent, f'{self.ts_us}'):016x}"

    @property
    def id(self) -> str:
        """Return the id of the review: the same however often it is asked for."""
        return f"rev_{chained(self.case):016x}"

    @property
    def title(self) -> str:
        """Return what to do in a few words."""
        if self.is_flood:
            return f"Review {self.count:,} agents that do the same at once: {self._what}"
        if self.examples:
            return f"Review {self.count:,} agents that changed at once"
        return f"Review {self.agent}"

    @property
    def sentence(self) -> str:
        """Return what has changed and how seldom that happens by chance, to be read aloud."""
        if self.is_flood:
            usual = (
                f"usual are at most {self.usual:,}"
                if self.usual
                else "usual are too few to be counted"
            )
            since = clock.iso(self.since_us)
            among = f", among them {', '.join(self.examples)}" if self.examples else ""
            return f"At least {self.count:,} agents did {self._what} since {since}{among}; {usual}"
        if self.examples:
            told = ", ".join(self.examples)
            return f"{self.count:,} agents do not behave as they used to, among them {told}"
        if self.is_sudden:
            since = clock.iso(self.since_us)
            what = f"behaves otherwise since {since}: its sessions since then ({self.sessions})"
        else:
            what = f"does not behave as it used to: its latest sessions ({self.sessions})"
        return (
            f"{self.agent} {what} are as odd as 1 in {round(self.after):,}, those before "
            f"({self.past}) as 1 in {round(self.before):,}; without a change that comes at most "
            f"once in {round(self.one_in):,} sessions"
        )

    @property
    def _what(self) -> str:
        return f"{self.action} on {self.resource}" if self.resource else self.action

    def as_dict(self) -> dict[str, Any]:
        """Return the review as JSON-ready values."""
        return asdict(self)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Review":
        """Return the review that was written as JSON."""
        return cls(**{**record, "examples": tuple(record["examples"])})
