"""What the store needs of a database; all that is particular to one of them is behind this."""

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from astray.store.lead import Lead


class Server(Protocol):
    """One database, opened."""

    name: str
    """How errors call it; no password is in it."""

    is_shared: bool
    """Whether several processes may write it at a time."""

    is_single: bool
    """Whether there is one connection only, for readers as well."""

    def begin(self, *, writes: bool) -> AbstractContextManager[Connection]:
        """Return a transaction; one that only reads sees one state of the database."""
        ...

    def check(self, connection: Connection) -> None:
        """Raise a `StoreError` if the database could not keep all that there may be."""
        ...

    def take_turn(self, connection: Connection) -> None:
        """Keep all others from writing until this transaction ends; wait for those who do."""
        ...

    def unhurried(self, connection: Connection) -> None:
        """Let this transaction take its time, and wait long for others who take theirs."""
        ...

    def passes(self, error: SQLAlchemyError) -> bool:
        """Return whether an error may pass by itself, so that trying again makes sense."""
        ...

    def give_back(self, connection: Connection) -> bool:
        """Let the system have some of the room that nothing is in; return whether there is more."""
        ...

    def lead(self, name: str) -> Lead:
        """Return the lead of a name, not yet taken."""
        ...

    def close(self) -> None:
        """Close the connections and let go of all locks; twice does no harm."""
        ...


def reason(error: SQLAlchemyError) -> str:
    """Return the database's own words, on one line; SQLAlchemy's would add the statement."""
    original = getattr(error, "orig", None)
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    said = str(primary or original or type(error).__name__)
    return said.strip().partition("\n")[0]
