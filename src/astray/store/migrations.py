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


def _keep_silences(connection: Connection) -> None:
    for statement in (
        """CREATE TABLE silences (
            case_id TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, last_us BIGINT NOT NULL,
            ended_us BIGINT, ended TEXT NOT NULL,
            PRIMARY KEY (case_id), FOREIGN KEY (case_id) REFERENCES cases (case_id)
        )""",
        "CREATE INDEX silences_by_state ON silences (ended, kind)",
    ):
        connection.exec_driver_sql(statement)


def _keep_verdicts(connection: Connection) -> None:
    is_sqlite = connection.dialect.name == "sqlite"
    number, seconds = ("INTEGER", "DOUBLE") if is_sqlite else ("BIGINT", "DOUBLE PRECISION")
    for statement in (
        f"""CREATE TABLE verdicts (
            sequence {number} NOT NULL, verdict_id TEXT NOT NULL, case_id TEXT NOT NULL,
            recorded_s {seconds} NOT NULL, body TEXT NOT NULL,
            PRIMARY KEY (sequence), FOREIGN KEY (case_id) REFERENCES cases (case_id)
        )""",
        "CREATE UNIQUE INDEX verdicts_by_id ON verdicts (verdict_id)",
        "CREATE INDEX verdicts_of_case ON verdicts (case_id)",
        f"""CREATE TABLE audit (
            sequence {number} NOT NULL, case_id TEXT NOT NULL, at_s {seconds} NOT NULL,
            who TEXT NOT NULL, did TEXT NOT NULL, about TEXT NOT NULL, note TEXT NOT NULL,
            PRIMARY KEY (sequence), FOREIGN KEY (case_id) REFERENCES cases (case_id)
        )""",
        "CREATE INDEX audit_of_case ON audit (case_id)",
        "INSERT INTO numbers VALUES ('verdicts', 0)",
        "INSERT INTO numbers VALUES ('audit', 0)",
    ):
        connection.exec_driver_sql(statement)


def _remove_what_is_old(connection: Connection) -> None:
    for statement in (
        "CREATE INDEX alerts_of_case ON alerts (case_id)",
        "CREATE INDEX suspensions_of_decision ON suspensions (decision_id)",
    ):
        connection.exec_driver_sql(statement)
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("ALTER TABLE audit ALTER COLUMN case_id DROP NOT NULL")
        return
    for statement in (  # a column of SQLite's cannot be changed
        """CREATE TABLE audit_anew (
            sequence INTEGER NOT NULL, case_id TEXT, at_s DOUBLE NOT NULL,
            who TEXT NOT NULL, did TEXT NOT NULL, about TEXT NOT NULL, note TEXT NOT NULL,
            PRIMARY KEY (sequence), FOREIGN KEY (case_id) REFERENCES cases (case_id)
        )""",
        "INSERT INTO audit_anew SELECT sequence, case_id, at_s, who, did, about, note FROM audit",
        "DROP TABLE audit",
        "ALTER TABLE audit_anew RENAME TO audit",
        "CREATE INDEX audit_of_case ON audit (case_id)",
    ):
        connection.exec_driver_sql(statement)


def _keep_reviews(connection: Connection) -> None:
    connection.exec_driver_sql(
        """CREATE TABLE reviews (
            case_id TEXT NOT NULL, body TEXT NOT NULL,
            PRIMARY KEY (case_id), FOREIGN KEY (case_id) REFERENCES cases (case_id)
        )"""
    )


MIGRATIONS: Final[Sequence[Migration]] = (
    _number_decisions_and_hold_deliveries,
    _keep_silences,
    _keep_verdicts,
    _remove_what_is_old,
    _keep_reviews,
)
"""The steps from `OLDEST` on, one for each version; the last leads to `SCHEMA_VERSION`."""
