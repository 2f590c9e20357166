"""How a database of an older version becomes one of this version, step by step."""

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import Connection

Migration = Callable[[Connection], None]
"""Brings a database from its version to the next, within the transaction it is given.

What it executes is written out and never changed: the tables of `schema` are those of today,
and a step must still work when they are others.
"""

OLDEST: Final = 1
"""The version from which the first step leads."""


def _number_decisions_and_hold_deliveries(connection: Connection) -> None:
    # Version 1 was SQLite's alone, so `rowid` is there: the order of recording.
    for statement in (
        "ALTER TABLE decisions ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0",
        "UPDATE decisions SET sequence = rowid",
        "CREATE UNIQUE INDEX decisions_in_order ON decisions (sequence)",
        "ALTER TABLE deliveries ADD COLUMN held_until_s DOUBLE",
        "CREATE TABLE numbers (name TEXT NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (name))",
        "INSERT INTO numbers SELECT 'alerts', coalesce(max(sequence), 0) FROM alerts",
        "INSERT INTO numbers SELECT 'decisions', coalesce(max(rowid), 0) FROM decisions",
    ):
        connection.exec_driver_sql(statement)


MIGRATIONS: Final[Sequence[Migration]] = (_number_decisions_and_hold_deliveries,)
"""The steps from `OLDEST` on, one for each version; the last leads to `SCHEMA_VERSION`."""
