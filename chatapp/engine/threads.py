"""Compute threads: how many at the start, and one fewer when step times turn ragged.

A thread that waits at a barrier for one that the system took away turns a 10 ms step into 100 ms (engine threads spin, and
the window needs a core now and then). Few threads that run beat many that wait.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path

WATCHED_STEPS = 48
"""Verify steps that are looked at together; as many must pass before the next change."""
RAGGED = 2.0
"""p90 / median of the time per verify pass above which a thread is given up. A quiet machine stays below 1.3."""


class ThreadGovernor:
    """Watches the verify passes of all replies; says when a thread should go.

    Passes of different windows take different times by nature: each is measured against the median of its own size.
    """

    def __init__(self, threads: int, set_threads: Callable[[int], None]) -> None:
        self.threads = threads
        self._set_threads = set_threads
        self._recent: deque[tuple[int, int]] = deque(maxlen=WATCHED_STEPS)

    def observe(self, window: int, verify_ns: int) -> str | None:
        """One verify pass; a sentence for people when the number of threads was changed."""
        if self.threads <= 1:
            return None
        self._recent.append((window, verify_ns))
        if len(self._recent) < WATCHED_STEPS:
            return None
        raggedness = ragged(list(self._recent))
        if raggedness <= RAGGED:
            return None
        self.threads -= 1
        self._recent.clear()
        self._set_threads(self.threads)
        noun = "thread" if self.threads == 1 else "threads"
        return (
            f"Step times were ragged (the slowest tenth took {raggedness:.1f} times the usual): "
            f"the engine goes on with {self.threads} compute {noun}."
        )


def ragged(passes: list[tuple[int, int]]) -> float:
    """90th percentile of each pass's time over the median of its window; sizes seen fewer than 4 times are left out."""
    by_window: dict[int, list[int]] = {}
    for window, ns in passes:
        by_window.setdefault(window, []).append(ns)
    ratios: list[float] = []
    for times in by_window.values():
        if len(times) >= 4:
            median = sorted(times)[len(times) // 2]
            ratios += [ns / median for ns in times]
    if not ratios:
        return 1.0
    ratios.sort()
    return ratios[int(0.9 * (len(ratios) - 1))]


def default_threads() -> int:
    """Physical cores less one, at least one: on a small machine a second busy thread makes the window stutter. A container
    counts the processors of its quota."""
    return max(1, min(physical_cores(), quota() or physical_cores()) - 1)


def quota(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int | None:
    """Whole processors that a container may use; None where nothing says so."""
    try:
        most, period = file.read_text(encoding="ascii").split()
        return None if most == "max" else max(1, int(most) // int(period))
    except (OSError, ValueError, ArithmeticError):
        return None


def physical_cores() -> int:
    """Cores that this process may run on, hyper-threads counted once."""
    try:
        cpus = os.sched_getaffinity(0)
    except AttributeError:  # not on Linux
        return max(1, (os.cpu_count() or 2) // 2)
    return len(cores_of(cpus))


def cores_of(cpus: Collection[int]) -> tuple[frozenset[int], ...]:
    """These processors by the core that they are hyper-threads of; each alone where the system does not say."""
    siblings = Path("/sys/devices/system/cpu")
    cores: dict[str, set[int]] = {}
    for cpu in cpus:
        try:
            core = (siblings / f"cpu{cpu}/topology/thread_siblings_list").read_text()
        except OSError:
            core = str(cpu)
        cores.setdefault(core, set()).add(cpu)
    return tuple(frozenset(core) for core in cores.values())
