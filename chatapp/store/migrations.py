"""The database's history, as named steps that are only ever appended to.

A step that has once been released is never edited: databases out there have run it. The table `migration` lists the
names that a database has seen; a name that this version does not know means that a later version wrote the file.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Migration:
    """`statements` run in one transaction together with the entry of `name`."""

    name: str
    statements: tuple[str, ...]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "0001-conversations",
        (
            # `written` counts the writes of the whole database: the conversation with the highest one is the latest.
            # A counter and not a clock, since clocks go back.
            """CREATE TABLE conversation (
                id TEXT PRIMARY KEY,
                title TEXT NOT NULL,
                created_at TEXT NOT NULL,
                written INTEGER NOT NULL
            ) STRICT""",
            # The prompt stands apart from the run: it is kept even when the process dies before the first event.
            """CREATE TABLE turn (
                conversation_id TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE,
                turn_index INTEGER NOT NULL,
                prompt TEXT NOT NULL,
                PRIMARY KEY (conversation_id, turn_index)
            ) STRICT""",
            # One row per batch as it came from the engine, not per event or token: a batch is what is written at once
            # and read back whole, and nobody asks for a single token. `events` is a JSON list in the words of
            # domain/codec.py, so that a new field of an event needs no migration.
            """CREATE TABLE batch (
                id INTEGER PRIMARY KEY,
                conversation_id TEXT NOT NULL,
                turn_index INTEGER NOT NULL,
                events TEXT NOT NULL,
                FOREIGN KEY (conversation_id, turn_index)
                    REFERENCES turn (conversation_id, turn_index) ON DELETE CASCADE
            ) STRICT""",
            "CREATE INDEX batch_by_turn ON batch (conversation_id, turn_index, id)",
        ),
    ),
)


def applied(connection: sqlite3.Connection) -> list[str]:
    """Names of the steps that this database has run, in order."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migration (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)"
    )
    return [str(name) for (name,) in connection.execute("SELECT name FROM migration ORDER BY id")]


def migrate(connection: sqlite3.Connection, done: list[str]) -> None:
    """Run what is missing, each step whole or not at all. `connection` must be in autocommit mode."""
    for migration in MIGRATIONS:
        if migration.name in done:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute("INSERT INTO migration (name) VALUES (?)", (migration.name,))
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
