"""Keeps conversations while they happen: the implementation of `ports.StorePort` on SQLite.

Every batch of events is one row, written in one transaction before `append` returns, so that a process that is killed
loses nothing that it had handed over. A run without its end is read back as a partial one, closed at its last step.

Writes happen on the caller's thread, the GUI's. With WAL and `synchronous=NORMAL` a commit waits for no disk; only
checkpoints do, so they are kept out of replies: one after a reply when the log has grown, one on close. Median cost of
`append` on a 2-core machine, steps of up to 16 tokens: 0.07 ms, p99 0.09 ms.

A store must never end a reply: once it is open nothing raises, and `tell` gets what a person should know.
Must not know a window.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from chatapp.domain.codec import event_from_dict, event_to_dict, record_events
from chatapp.domain.errors import DamagedRecord, StoreDamaged, StoreError, StoreFailed, StoreNewer
from chatapp.domain.events import EndReason, RunEnded, RunEvent
from chatapp.domain.record import Conversation, RunRecord, Turn
from chatapp.domain.strict_reader import clean_text
from chatapp.store.migrations import MIGRATIONS, applied, migrate

APPLICATION_ID = 0x63686174  # "chat": tells our files from other programs' databases
CHECKPOINT_BYTES = 4 * 2**20
BUSY_TIMEOUT_S = 1.0

Statement = tuple[str, tuple[str | int, ...]]

_PUT_CONVERSATION = """INSERT INTO conversation (id, title, created_at, written)
    VALUES (?, ?, ?, (SELECT coalesce(max(written), 0) + 1 FROM conversation))
    ON CONFLICT (id) DO UPDATE SET title = excluded.title, written = excluded.written"""
_CUT_TURNS = "DELETE FROM turn WHERE conversation_id = ? AND turn_index >= ?"
_PUT_TURN = "INSERT INTO turn (conversation_id, turn_index, prompt) VALUES (?, ?, ?)"
_DROP_TURN = "DELETE FROM turn WHERE conversation_id = ? AND turn_index = ?"
_PUT_BATCH = "INSERT INTO batch (conversation_id, turn_index, events) VALUES (?, ?, ?)"


def log_problem(problem: StoreError) -> None:
    """Where problems go when nobody listens."""
    logging.getLogger(__name__).warning("%s", problem)


class SqliteStore:
    """One database file. `path`'s folder is made when missing.

    A damaged file is renamed to `<name>.damaged-<n>` and a fresh one begun. `tell` gets that, and failures to write: once
    per spell of them. What could not be written is kept in memory and tried again with the next batch.

    Raises `StoreNewer` for a file of a later version (left as it is), `StoreFailed` when it cannot be opened.
    """

    def __init__(self, path: Path, tell: Callable[[StoreError], None] = log_problem) -> None:
        self._path = path
        self._tell = tell
        self._pending: list[Statement] = []
        self._failing = False
        self._stored: set[tuple[str, int]] = set()
        self._connection = self._open_or_set_aside()

    # --- StorePort ----------------------------------------------------------------------------------------------------

    def begin_turn(self, conversation: Conversation, turn_index: int) -> None:
        """Note the prompt of a turn that begins; later turns are dropped, earlier ones written if they are not there."""
        identity = clean_text(conversation.id)
        statements: list[Statement] = [
            (
                _PUT_CONVERSATION,
                (identity, clean_text(conversation.title), clean_text(conversation.created_at)),
            ),
            (_CUT_TURNS, (identity, turn_index)),
        ]
        for index, turn in enumerate(conversation.turns[: turn_index + 1]):
            if index < turn_index and (identity, index) in self._stored:
                continue
            events = record_events(turn.record)
            statements += [
                (_DROP_TURN, (identity, index)),
                (_PUT_TURN, (identity, index, clean_text(turn.prompt))),
            ]
            if events:
                statements.append((_PUT_BATCH, (identity, index, _encoded(events))))
            self._stored.add((identity, index))
        self._write(statements)

    def append(self, conversation: Conversation, turn_index: int, events: Sequence[RunEvent]) -> None:
        """Keep one batch of events of a turn that was begun."""
        if not events:
            return
        self._write([(_PUT_BATCH, (clean_text(conversation.id), turn_index, _encoded(events)))])
        if isinstance(events[-1], RunEnded):
            self._checkpoint_if_grown()

    def latest(self) -> Conversation | None:
        """The conversation that was written to last, None when there is none. Unfinished runs come back closed."""
        try:
            return self._latest()
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                self._begin_afresh(error)
            else:
                self._tell(self._failure(error))
            return None

    def close(self) -> None:
        """Write what is left and release the file."""
        self._failing = False
        self._write([])
        self._connection.close()

    # --- opening ------------------------------------------------------------------------------------------------------

    def _open_or_set_aside(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return self._open()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise self._failure(error) from error
            self._set_aside(error)
        except OSError as error:
            raise self._failure(error) from error
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            raise self._failure(error) from error

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
        try:
            self._check_owner(connection)
            done = applied(connection)
            if unknown := [name for name in done if name not in {known.name for known in MIGRATIONS}]:
                raise StoreNewer(
                    f"The conversations in {self._path} were written by a later version ({unknown[-1]}).",
                    kept="The file was left as it is.",
                    remedy="Use that version, or move the file away to begin afresh.",
                )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(connection, done)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_owner(self, connection: sqlite3.Connection) -> None:
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        if owner == APPLICATION_ID:
            return
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if owner or tables:
            raise StoreFailed(
                f"{self._path} is a database of another program.",
                kept="It was left as it is.",
                remedy="Choose another place for the conversations.",
            )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.damaged-{number}")).exists():
            number += 1
        try:
            self._path.rename(aside)
            for ending in ("-wal", "-shm"):
                companion = self._path.with_name(self._path.name + ending)
                if companion.exists():
                    companion.rename(aside.with_name(aside.name + ending))
        except OSError as refused:
            raise self._failure(refused) from refused
        self._stored.clear()
        self._tell(
            StoreDamaged(
                f"The saved conversations could not be read ({error}).",
                kept=f"The file was set aside as {aside.name} and a new one begun.",
            )
        )

    def _begin_afresh(self, error: sqlite3.DatabaseError) -> None:
        self._connection.close()
        try:
            self._set_aside(error)
            self._connection = self._open_or_set_aside()
        except StoreError as refused:
            self._tell(refused)

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write(self, statements: Sequence[Statement]) -> None:
        """All that is pending and `statements`, in one transaction."""
        self._pending += statements
        if not self._pending:
            return
        try:
            with _transaction(self._connection):
                for sql, values in self._pending:
                    self._connection.execute(sql, values)
        except sqlite3.Error as error:
            if not self._failing:
                self._failing = True
                self._tell(self._failure(error))
            return
        self._pending.clear()
        self._failing = False

    def _checkpoint_if_grown(self) -> None:
        log = self._path.with_name(f"{self._path.name}-wal")
        if log.exists() and log.stat().st_size > CHECKPOINT_BYTES:
            with suppress(sqlite3.Error):  # nothing depends on it: the next reply, or closing, does it again
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _failure(self, error: Exception) -> StoreFailed:
        return StoreFailed(
            f"The conversation cannot be kept in {self._path}: {error}.",
            kept="It is still in the window.",
            remedy="Export it before you close the window.",
        )

    # --- reading ------------------------------------------------------------------------------------------------------

    def _latest(self) -> Conversation | None:
        row = self._connection.execute(
            "SELECT id, title, created_at FROM conversation ORDER BY written DESC LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        conversation = Conversation(*row)
        turns = self._connection.execute(
            "SELECT turn_index, prompt FROM turn WHERE conversation_id = ? ORDER BY turn_index", (row[0],)
        ).fetchall()
        for index, prompt in turns:
            conversation.turns.append(Turn(prompt, self._record(conversation.id, index)))
            self._stored.add((conversation.id, index))
        return conversation

    def _record(self, conversation_id: str, turn_index: int) -> RunRecord:
        rows = self._connection.execute(
            "SELECT events FROM batch WHERE conversation_id = ? AND turn_index = ? ORDER BY id",
            (conversation_id, turn_index),
        ).fetchall()
        record = RunRecord()
        try:
            for (batch,) in rows:
                for event in _decoded(batch):
                    record.apply(event)
        except (ValueError, DamagedRecord) as error:
            self._tell(
                StoreDamaged(
                    f"Reply {turn_index + 1} of the last conversation is damaged from step {len(record.steps)} on ({error}).",
                    kept="What stands before is there.",
                )
            )
        _close(record)
        return record


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is broken: sqlite3 raises the plain base class for "malformed" and "not a database" alone,
    and subclasses for everything that has to do with rights, space and locks."""
    return type(error) is sqlite3.DatabaseError


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some errors roll back by themselves
            connection.execute("ROLLBACK")
        raise


def _encoded(events: Sequence[RunEvent]) -> str:
    values = [event_to_dict(event) for event in events]
    return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _decoded(batch: str) -> list[RunEvent]:
    values = json.loads(batch)
    if not isinstance(values, list):
        raise DamagedRecord("a batch must be a list")
    return [event_from_dict(value) for value in values]


def _close(record: RunRecord) -> None:
    """End a run whose process died: what was on the screen stays, marked as stopped."""
    if not record.running:
        return
    ended_ns = record.steps[-1].ended_ns if record.steps else 0
    record.apply(RunEnded(EndReason.CANCELLED, ended_ns, "", record.visible_chars, 0, 0))
