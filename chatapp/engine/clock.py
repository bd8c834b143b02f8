"""The real clock, injected so that tests can bring their own."""

from __future__ import annotations

import time


class MonotonicClock:
    """Implements `contracts.Clock`."""

    def now_ns(self) -> int:
        return time.perf_counter_ns()
