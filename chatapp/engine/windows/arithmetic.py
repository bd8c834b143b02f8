"""The adaptive window's arithmetic, compiled where numba is there, and as it stands where it is not.

In a reply it runs between passes over all weights, which push it out of the processor's caches: a few hundred lines of Python
then take 50 to 100 µs a step, of steps of 1.5 ms; compiled they fit into a few kilobytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from chatapp.engine.windows import costs, deciding


@dataclass(frozen=True, slots=True)
class State:
    """A record. `at` is what the functions take; of a belief `copy_told` copies what it tells, for `Arithmetic.told`."""

    at: Any
    copy_told: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The functions of the same names in `deciding` and `costs`. Where they take a record they are given `State.at`."""

    fresh: Callable[[type[Any]], State]
    """A record of this type."""
    told: Callable[[Any], Sequence[float]]
    plan: Callable[..., int]
    nap: Callable[..., int]
    more: Callable[..., bool]
    observe: Callable[..., bool]
    remember: Callable[..., None]
    learn: Callable[..., None]
    settle: Callable[..., None]
    cost_of: Callable[..., float]
    observe_pass: Callable[..., None]
    observe_host: Callable[..., None]
    observe_draft: Callable[..., None]


def plain() -> Arithmetic:
    """In Python."""

    def fresh(kind: type[Any]) -> State:
        record = kind()
        return State(record, lambda: tuple(record.told))

    return Arithmetic(
        fresh=fresh,
        told=tuple,
        plan=deciding.plan,
        nap=deciding.nap,
        more=deciding.more,
        observe=deciding.observe,
        remember=deciding.remember,
        learn=deciding.learn,
        settle=deciding.settle,
        cost_of=costs.cost_of,
        observe_pass=costs.observe_pass,
        observe_host=costs.observe_host,
        observe_draft=costs.observe_draft,
    )


@lru_cache(maxsize=1)
def fastest() -> Arithmetic:
    """Compiled at once, or read from disk where that was done before."""
    try:
        from chatapp.engine.windows.compiled import arithmetic
    except (ImportError, OSError):
        return plain()
    return arithmetic()
