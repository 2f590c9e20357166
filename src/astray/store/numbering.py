"""Numbers for what is read in its order: none is given twice, and none comes late.

A number is taken in the transaction that uses it, from a row that stays locked until that
transaction has been committed. So whoever reads a number finds all the smaller ones that will
ever be: a sequence of PostgreSQL would let a slow transaction commit a number after a reader
has gone past it.
"""

from typing import Any

from sqlalchemy import Connection, Table, insert, select, update

from astray.store.schema import alerts, audit, decisions, numbers, verdicts


def begin(connection: Connection) -> None:
    """Prepare a new database: nothing has been numbered."""
    rows = [{"name": table.name, "last": 0} for table in (alerts, decisions, verdicts, audit)]
    connection.execute(insert(numbers), rows)


def number(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Give the rows that are to be inserted into a table their `sequence`, in their order."""
    if not rows:
        return
    ours = numbers.c.name == table.name
    connection.execute(update(numbers).where(ours).values(last=numbers.c.last + len(rows)))
    last = connection.scalar(select(numbers.c.last).where(ours))
    if last is None:
        raise LookupError(f"the case store numbers no {table.name}")
    for place, row in enumerate(rows):
        row["sequence"] = last - len(rows) + 1 + place
