"""Sides timed in turn, and ratios of what was timed together: a machine whose speed drifts favours no side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

SAMPLE_NS = 5_000_000
"""A sample lasts at least this long (short calls are repeated): far above the clock's own grain and a cold cache."""
MOST_REPEATS = 50

KeyT = TypeVar("KeyT")
Timed = Callable[[], int]
"""Does its work once; returns the nanoseconds that count."""


def timed(work: Callable[[], object]) -> Timed:
    """All of `work` counts."""

    def measure() -> int:
        begin_ns = time.perf_counter_ns()
        work()
        return time.perf_counter_ns() - begin_ns

    return measure


def in_turn_ms(sides: Mapping[KeyT, Timed], rounds: int) -> dict[KeyT, list[float]]:
    """Per side one sample in ms for each of `rounds` rounds, after one call to warm up and one to see how long it takes.

    A sample is the mean of as many calls as make `SAMPLE_NS`. Every other round goes the other way round, so that no side
    always follows the same one.
    """
    repeats: dict[KeyT, int] = {}
    for key, measure in sides.items():
        measure()
        repeats[key] = min(max(1, SAMPLE_NS // max(measure(), 1)), MOST_REPEATS)
    samples: dict[KeyT, list[float]] = {key: [] for key in sides}
    for index in range(rounds):
        for key in list(sides) if index % 2 == 0 else reversed(list(sides)):
            count = repeats[key]
            samples[key].append(sum(sides[key]() for _ in range(count)) / count / 1e6)
    return samples


def paired_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median of the rounds' own ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value with at least `share` of all at or below it."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
