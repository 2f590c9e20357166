"""How far sources have been read, for people and metrics."""

from dataclasses import dataclass


@dataclass
class Progress:
    """How far a source has been read, in bytes as they lie on disk; total 0: unknown.

    `position` is the place in `file`, which is the one that is being read.
    """

    done: int = 0
    total: int = 0
    file: str = ""
    position: int = 0


@dataclass
class Backlog:
    """How far a partition has been read, in messages; `end` is -1 where it is not known yet."""

    position: int = 0
    end: int = -1
    lost: int = 0

    @property
    def lag(self) -> int:
        """The messages that are still to be read."""
        return max(self.end - self.position, 0)
