"""Launches that last as long as was published: the emulator computes, and the rest of the time is waited for.

A launch that takes longer here than it should is late; it is counted, never hidden. Waiting lets other threads run, as the
library does while the device works. Must not know what the latencies stand for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from chatapp.domain.rehearsal import PacedModel
from chatapp.engine.backends.emulator.launch_log import Launch, LaunchLog

NS_PER_MS = 1_000_000
CLOSE_NS = 250_000
"""So much before its end a wait stops sleeping and looks at the clock: sleeps of a busy system end about 0.1 ms late."""
LATE_NS = 250_000
"""Later than this is late: 1 % of a launch of the target."""


@dataclass(frozen=True, slots=True)
class PacedLaunches:
    """How many launches were paced, how many of them were late, and by how much together."""

    launches: int = 0
    late: int = 0
    late_ns: int = 0

    def __sub__(self, before: PacedLaunches) -> PacedLaunches:
        return PacedLaunches(
            self.launches - before.launches, self.late - before.late, self.late_ns - before.late_ns
        )

    @property
    def remark(self) -> str:
        """What a record has to say of them; empty where none was late."""
        if not self.late:
            return ""
        mean_ms = self.late_ns / self.late / NS_PER_MS
        return (
            f"{self.late:,} of {self.launches:,} launches took longer on this computer than was published, by {mean_ms:.1f} ms "
            "on average: the times of this reply are longer than a rehearsal's should be."
        )


class LaunchPacer:
    """Implements `launch_log.Pacer`. Models that nobody assigned a pace run as fast as they can."""

    def __init__(
        self,
        now_ns: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`sleep` takes seconds; 0 only lets others run."""
        self._now_ns = now_ns
        self._sleep = sleep
        self._paces: WeakKeyDictionary[object, PacedModel] = WeakKeyDictionary()
        self.paced = PacedLaunches()

    def assign(self, model: object, pace: PacedModel) -> None:
        """From now on the launches of `model` last as long as `pace` says."""
        self._paces[model] = pace

    def watch(self) -> Callable[[], str]:
        """Begins to watch; what it gives says what was late since, empty where nothing was."""
        before = self.paced
        return lambda: (self.paced - before).remark

    @contextmanager
    def __call__(self, launch: Launch, model: object) -> Iterator[None]:
        pace = self._paces.get(model)
        if pace is None:
            yield
            return
        due_ns = self._now_ns() + round(pace.launch_ms(launch.kind, launch.rows) * NS_PER_MS)
        yield
        self._wait_until(due_ns)
        over_ns = self._now_ns() - due_ns
        late = over_ns > LATE_NS
        self.paced = PacedLaunches(
            self.paced.launches + 1, self.paced.late + late, self.paced.late_ns + late * over_ns
        )

    def _wait_until(self, due_ns: int) -> None:
        while (left_ns := due_ns - self._now_ns()) > 0:
            self._sleep(max(left_ns - CLOSE_NS, 0) / 1e9)


def pacer_of(launches: LaunchLog) -> LaunchPacer:
    """The pacer of this log, made when first asked for; one that a test put there gives way."""
    if not isinstance(launches.pacer, LaunchPacer):
        launches.pacer = LaunchPacer()
    return launches.pacer
