"""A silence: something that used to show itself regularly and does not, in one record."""

from dataclasses import dataclass
from enum import StrEnum

from astray.decide.decision import chained
from astray.events import clock


class Kind(StrEnum):
    """What has fallen silent; the plural ones are many at once, in one case."""

    SOURCE = "source"
    AGENT = "agent"
    ACTION = "action"
    AGENTS = "agents"
    ACTIONS = "actions"


class Over(StrEnum):
    """How a silence ended: it has not, it is heard again, or nobody waits for it any more."""

    NOT_YET = ""
    BACK = "back"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence that begins or ends; both have the same case, which is the same for ever.

    `last_us` is when it was last heard of and `ts_us` when that was noticed, or when it
    ended. `waited` and `limit` are in signs of life that were to be expected (see
    `baseline.rhythms`), for a source in seconds; `pauses` of which none was longer than
    `usual` are what the limit was derived from.
    """

    case: str
    kind: Kind
    tenant: str
    name: str
    last_us: int
    ts_us: int
    over: Over = Over.NOT_YET
    waited: float = 0.0
    usual: float = 0.0
    limit: float = 0.0
    pauses: int = 0
    count: int = 1
    examples: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Return the id of its beginning or end: the same however often it is noticed."""
        return f"sil_{chained(self.case, self.over):016x}"

    @property
    def title(self) -> str:
        """Return what has happened in a few words."""
        if self.over is Over.BACK:
            return f"{self._subject} is heard again"
        if self.over is Over.FORGOTTEN:
            return f"{self._subject} is not waited for any more"
        return f"{self._subject} has fallen silent"

    @property
    def sentence(self) -> str:
        """Return what has happened and why it is told, to be read aloud."""
        since = f"since {clock.iso(self.last_us)}"
        if self.over is not Over.NOT_YET:
            return f"{self.title}; nothing was heard of it {since}"
        if self.kind is Kind.SOURCE:
            return f"{self._subject} has given nothing {since}: for {self.limit:g} s"
        if self.examples:
            told = ", ".join(self.examples)
            return f"{self.count:,} {self.kind} have fallen silent at once, among them {told}"
        return (
            f"{self._subject} shows no sign of life {since}: {self.waited:.1f} were to be "
            f"expected, and its longest pause of {self.pauses:,} was one of {self.usual:.1f}"
        )

    @property
    def _subject(self) -> str:
        if self.kind is Kind.AGENT:
            return self.name
        if self.kind in (Kind.AGENTS, Kind.ACTIONS):
            return f"A number of {self.kind} ({self.count:,})"
        return f"{self.kind.capitalize()} {self.name}"


def silence_case(kind: Kind, tenant: str, name: str, last: str) -> str:
    """Return the id of the case of a silence, by the place or time it was last heard at."""
    return f"case_{chained('blindness', kind, tenant, name, last):016x}"
