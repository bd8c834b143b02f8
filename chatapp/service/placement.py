"""Which processors the engine's thread and the window's threads run on while a reply is written.

Left to itself Linux often runs both on one core and leaves another idle: whoever wakes a thread draws it to its own core,
because on virtual machines an idle processor counts as one that the host took away. Until the scheduler's next tick, up to
4 ms later, each waits for the other, and a thread that the window waits for waits behind the engine.

Knows threads by the system's numbers for them; must not know what they do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache

from chatapp.engine.threads import cores_of

Cpus = frozenset[int]


@contextmanager
def apart(window: int, compute_threads: int) -> Iterator[None]:
    """Keeps the thread that calls on the upper cores and the one that the system numbers `window` on the lower; both get
    back the processors that they had. Not for longer than a reply: programs that a thread starts inherit its processors.

    Nothing happens where there is one core only, where the system has no say in it, or where several threads compute: they
    wait for one another, and none of them may have to share its core with a thread that cannot give way.
    """
    before = _sent(window) if compute_threads == 1 else []
    try:
        yield
    finally:
        for thread, cpus in before:
            with suppress(OSError):  # a thread may have ended meanwhile
                os.sched_setaffinity(thread, cpus)


@contextmanager
def starting_low() -> Iterator[None]:
    """Threads that the calling one starts within stay on the lower cores: those that a window waits for belong there."""
    before: set[int] | None = None
    with suppress(OSError, AttributeError):  # refused; not on Linux
        mine = os.sched_getaffinity(0)
        shares = halves(_cores(frozenset(mine)))
        if shares is not None:
            os.sched_setaffinity(0, shares[0])
            before = mine
    try:
        yield
    finally:
        if before is not None:
            with suppress(OSError):
                os.sched_setaffinity(0, before)


def _sent(window: int) -> list[tuple[int, set[int]]]:
    """Both threads sent to their cores; gives what each had before, of those that went."""
    before: list[tuple[int, set[int]]] = []
    with suppress(OSError, AttributeError):  # refused; not on Linux
        mine, windows = os.sched_getaffinity(0), os.sched_getaffinity(window)
        shares = halves(_cores(frozenset(mine & windows)))
        if shares is not None:
            for thread, had, share in ((window, windows, shares[0]), (0, mine, shares[1])):
                os.sched_setaffinity(thread, share)
                before.append((thread, had))
    return before


@lru_cache(maxsize=4)
def _cores(cpus: Cpus) -> tuple[Cpus, ...]:
    """Read once: on large machines these are hundreds of files."""
    return cores_of(cpus)


def halves(cores: Sequence[Cpus]) -> tuple[Cpus, Cpus] | None:
    """The processors of the lower cores, no more than half of them, and those of the rest. Interrupts usually come to the
    lowest core, which is nothing for a thread that computes. None of a single core."""
    if len(cores) < 2:
        return None
    ordered = sorted(cores, key=min)
    middle = len(ordered) // 2
    return frozenset().union(*ordered[:middle]), frozenset().union(*ordered[middle:])
