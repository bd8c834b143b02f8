"""A store in any case: SQLite where it can be opened, otherwise one that keeps nothing, so that the window still works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from chatapp.domain.errors import StoreError
from chatapp.domain.events import RunEvent
from chatapp.domain.ports import StorePort
from chatapp.domain.record import Conversation
from chatapp.store.sqlite_store import SqliteStore


class NoStore:
    """Keeps nothing; what stands on the screen is all there is."""

    def begin_turn(self, conversation: Conversation, turn_index: int) -> None:
        """Forget it."""

    def append(self, conversation: Conversation, turn_index: int, events: Sequence[RunEvent]) -> None:
        """Forget them."""

    def latest(self) -> Conversation | None:
        return None

    def close(self) -> None:
        """There is nothing to release."""


def open_store(path: Path, tell: Callable[[StoreError], None]) -> StorePort:
    """The store at `path`. Never raises: `tell` gets what a person should know, now and later."""
    try:
        return SqliteStore(path, tell)
    except StoreError as error:
        tell(error)
        return NoStore()
