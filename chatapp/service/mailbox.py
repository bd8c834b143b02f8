"""Events from the engine thread to the GUI thread: appended under a lock, one wake-up per drain.

However many events arrive between two looks, the reader is woken once; a slow reader gets larger batches, never a queue
of wake-ups.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """One writer thread, one reader thread. `wake` is called on the writer's thread, outside the lock."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._items: list[T] = []
        self._woken = False
        self._wake = wake

    def put(self, item: T) -> None:
        with self._lock:
            self._items.append(item)
            first, self._woken = not self._woken, True
        if first:
            self._wake()

    def drain(self) -> list[T]:
        """Everything put since the last drain, in order."""
        with self._lock:
            items, self._items = self._items, []
            self._woken = False
        return items
