"""Conversations going into a store and coming out of it, for tests of stores."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from chatapp.domain.errors import StoreError
from chatapp.domain.events import RunEvent
from chatapp.domain.ports import StorePort
from chatapp.domain.record import Conversation, RunRecord, Turn
from chatapp.store.sqlite_store import SqliteStore
from tests.helpers.records import RunScript, conversation, scripted_run, words


def refuse(problem: StoreError) -> None:
    """For tests in which nothing may go wrong."""
    raise problem


def opened(path: Path, told: list[StoreError] | None = None) -> closing[SqliteStore]:
    return closing(SqliteStore(path, refuse if told is None else told.append))


def reopened(path: Path) -> Conversation | None:
    with opened(path) as store:
        return store.latest()


def keep(store: StorePort, value: Conversation, index: int, events: list[RunEvent], batch: int = 2) -> None:
    store.begin_turn(value, index)
    for start in range(0, len(events), batch):
        store.append(value, index, events[start : start + batch])


def chat(*scripts: RunScript) -> Conversation:
    """A conversation whose turns have begun and have no answer yet, as the window has it when it calls `begin_turn`."""
    return conversation(*(Turn(script.prompt, RunRecord()) for script in scripts))


def answered(value: Conversation, *scripts: RunScript) -> Conversation:
    return Conversation(value.id, value.title, value.created_at, [script.turn() for script in scripts])


STORY = scripted_run(words("The quick brown fox jumps over the lazy dog. " * 3), seed=3, prompt="A story")


def partial(events: list[RunEvent]) -> RunRecord:
    record = RunRecord()
    for event in events:
        record.apply(event)
    return record
