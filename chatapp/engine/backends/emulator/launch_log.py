"""What ran on the simulated cores: every launch is counted by its graph. Knows no graph's inside and no real time.

Each launch is charged to the model that asked for it: `context(bucket)`, `token(bucket)`, `spec(rows, bucket)` and
`window(rows, bucket)`. The warm-up at loading is not counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

LaunchKind = Literal["context", "token", "spec", "window"]


@dataclass(frozen=True, slots=True)
class Launch:
    """One run of one compiled graph: `rows` tokens against the KV of `bucket` positions."""

    kind: LaunchKind
    rows: int
    bucket: int


Pacer = Callable[[Launch, object], AbstractContextManager[None]]
"""Made for each launch with its model; what the launch computes runs inside it, so it may hold the launch back to a latency.
Sleeping lets other threads run, as the library does while the device works."""


class LaunchLog:
    """Launches by model, and the pacer. `pacer` also sees their order."""

    def __init__(self) -> None:
        self.pacer: Pacer | None = None
        self._counts: WeakKeyDictionary[object, Counter[Launch]] = WeakKeyDictionary()

    def of(self, model: object) -> Counter[Launch]:
        """A copy: launches of `model` so far, by graph."""
        return Counter(self._counts.get(model, ()))

    def count(self, model: object, kind: LaunchKind | None = None) -> int:
        """How many launches, of one kind or all."""
        return sum(times for launch, times in self.of(model).items() if kind in (None, launch.kind))

    def clear(self) -> None:
        """Forget all launches; the pacer stays."""
        self._counts.clear()

    @contextmanager
    def launched(self, model: object, launch: Launch) -> Iterator[None]:
        """Around what a launch computes. A launch that fails was a launch."""
        self._counts.setdefault(model, Counter())[launch] += 1
        with nullcontext() if self.pacer is None else self.pacer(launch, model):
            yield
