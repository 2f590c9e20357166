"""The error tree. Every error a person meets descends from `AstrayError`.

AstrayError
├── ConfigError     a configuration or command line that cannot be used, with every problem in it
├── SourceError     a source that is not there, is empty, or cannot be read
├── StateError      state bytes that are damaged, or of another schema version
├── RecoveryError   a recovery directory that does not fit this configuration
├── ClusterError    another process of a cluster that has ended, or cannot be reached
├── DetectorError   a detector of the configuration that broke while it was at work
├── StoreError      a case store that is unreadable, in use, or of another schema version
├── SinkError       something that cannot be written where it was to go
└── ReceiverError   a local receiver that cannot listen

Bad events are not errors but values: `astray.events.Reject`.
"""

from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from types import TracebackType


class AstrayError(Exception):
    """The root: its message names what is wrong and where, for a person to act on.

    What is `lasting` does not mend by itself: trying again is of no use before somebody has
    acted. The exit code tells it to whatever would start astray again.
    """

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        self.lasting = lasting
        super().__init__(message)


class Passing(str):
    """A problem that may mend by itself: a broker that does not answer yet, say."""

    __slots__ = ()


class ConfigError(AstrayError):
    """A configuration that cannot be used; `problems` holds all of them, one sentence each.

    It lasts, unless all of them are `Passing`.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        lasting = not all(isinstance(problem, Passing) for problem in self.problems)
        super().__init__("\n".join(self.problems), lasting=lasting)


class SourceError(AstrayError):
    """A source that is not there, is empty, or cannot be read."""


class StateError(AstrayError):
    """State bytes that are damaged, or of another schema version."""


class RecoveryError(AstrayError):
    """A recovery directory that does not fit this configuration."""


class ClusterError(AstrayError):
    """Another process of a cluster that has ended, or cannot be reached."""


class DetectorError(AstrayError):
    """A detector of the configuration that broke while it was at work."""


class StoreError(AstrayError):
    """A case store that is unreadable, in use, or of another schema version."""


class SinkError(AstrayError):
    """Something that cannot be written where it was to go."""


class ReceiverError(AstrayError):
    """A local receiver that cannot listen where it was asked to."""


class Seeing(ContextDecorator):
    """Enter it, or decorate with it, to have a function see each error that leaves.

    It sees those of every kind, and may raise another one instead; what it does not is raised.
    """

    def __init__(self, look: Callable[[BaseException], None]) -> None:
        self._look = look

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._look(error)
