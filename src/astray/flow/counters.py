"""What a run counts, for people watching it and for its last words."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Counters:
    """Counts of this run; written by the dataflow, read by whoever shows them."""

    events: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    agents_of: dict[int, int] = field(default_factory=dict)

    @property
    def agents(self) -> int:
        """The number of agents that have a baseline, over all shards."""
        return sum(self.agents_of.values())
