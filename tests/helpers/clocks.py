"""A clock that stands until somebody sleeps or says that time passed: what lasts how long is exact."""

from __future__ import annotations

NS_PER_S = 1_000_000_000
LOOK_NS = 10_000
"""What a look at the clock without sleeping costs; otherwise who waits by looking would wait for ever."""


class StandingClock:
    """Implements `contracts.Clock`; `sleep` stands in for `time.sleep`."""

    def __init__(self) -> None:
        self._ns = 0
        self.slept: list[float] = []

    def now_ns(self) -> int:
        return self._ns

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._ns += max(round(seconds * NS_PER_S), LOOK_NS)

    def pass_ms(self, ms: float) -> None:
        """Somebody computes."""
        self._ns += round(ms * 1e6)
