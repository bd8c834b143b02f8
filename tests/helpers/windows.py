"""Machines on which windows are tried: what a verify step of k rows costs there, in units."""

from __future__ import annotations

from collections.abc import Callable

UNIT = 1_000_000
Curve = Callable[[int], float]


def flat(window: int) -> float:
    """Rows cost next to nothing."""
    return 1.0 + 0.01 * (window - 1)


def by_the_row(window: int) -> float:
    return 1.0 + 0.25 * (window - 1)


def blocks_of_eight(window: int) -> float:
    return 1.0 if window <= 8 else 1.5


def padded(window: int) -> float:
    """Passes are compiled for 2, 4, 8 and 16 rows, and each costs what the next of them does."""
    return 1.0 + 0.05 * next(size for size in (1, 2, 4, 8, 16) if size >= window)
