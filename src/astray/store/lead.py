"""The right to do what only one process may do at a time."""

from typing import Protocol


class Lead(Protocol):
    """A right that one process has, until it lets go of it or its connection is lost."""

    def is_held(self) -> bool:
        """Return whether it is ours now, taking it if nobody has it: asked before every use.

        Raises
        ------
        StoreError
            The database cannot be asked, so it is not ours.
        """
        ...

    def release(self) -> None:
        """Let another process have it, for good; twice does no harm."""
        ...


class Sole:
    """The lead of a process that is alone with its database anyway."""

    def __init__(self) -> None:
        self._released = False

    def is_held(self) -> bool:
        """Return true until it is released."""
        return not self._released

    def release(self) -> None:
        """Let go of it."""
        self._released = True
