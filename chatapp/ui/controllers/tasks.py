"""Keeps the controllers' asyncio tasks alive, and hands their unexpected errors to the loop's last-resort reporter.

asyncio holds only weak references to tasks: one that nobody keeps may vanish in the middle of a reply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class TaskKeeper:
    """`spawn` runs a coroutine on the running loop until it ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    @property
    def busy(self) -> bool:
        return bool(self._tasks)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            context = {"message": "A task of the window failed", "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)
