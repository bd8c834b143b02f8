"""The real clock, injected so that tests can bring their own."""

from __future__ import annotations

import time


class MonotonicClock:
    """Implements `contracts.Clock`."""

    def now_ns(self) -> int:
        return time.perf_counter_ns()


class ThreadClock:
    """Implements `contracts.Clock` for measurements: processor time of the calling thread. What other processes take of its
    core is not in it."""

    def now_ns(self) -> int:
        return time.thread_time_ns()
