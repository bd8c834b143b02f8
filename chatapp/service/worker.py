"""The engine thread: the only one that touches models, caches and random streams.

Story of a job: the GUI thread puts a callable into the queue; this thread runs it to its end; then the next. A job never
raises (each has its own border); what it has to say it posts to the event loop that asked.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

Job = Callable[[], None]


class Worker:
    """A daemon thread with a queue of jobs; daemon, so that a library that hangs in C cannot keep the process alive."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        self._jobs.put(job)

    def stop(self, timeout_s: float) -> bool:
        """Ask the thread to end after the jobs before; True when it has ended within `timeout_s`."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                # The thread's border: a defect in one job must not silence all later ones.
                log.exception("a job of the engine thread failed")
