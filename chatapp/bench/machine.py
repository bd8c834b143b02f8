"""What the rest of the machine did while something was measured. Nothing is refused for it; it is said.

On Linux the share of other processes comes from the kernel's own count of busy time (all processors) less this process's
and its finished children's. Elsewhere, and where a container hides it, only the load average is known.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DISTURBED_CORES = 0.15
"""Busy cores of others above which figures are to be read with care: a seventh of a core moves a median by some percent."""
BUSY_FIELDS = (0, 1, 2, 5, 6, 7)
"""user, nice, system, irq, softirq, steal in a `cpu` line of /proc/stat; idle and iowait are left out."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A stretch of time: load averages of the last minute at both ends, busy cores of this process and of all others."""

    seconds: float
    load_before: float | None
    load_after: float | None
    own_cores: float
    other_cores: float | None

    @property
    def disturbed(self) -> bool:
        return self.other_cores is not None and self.other_cores > DISTURBED_CORES

    def __str__(self) -> str:
        loads = (
            f"load average {self.load_before:.2f} before, {self.load_after:.2f} after; "
            if self.load_before is not None and self.load_after is not None
            else ""
        )
        others = f", others {self.other_cores:.2f}" if self.other_cores is not None else ""
        text = f"machine: {self.seconds:.1f} s, {loads}busy cores: this process {self.own_cores:.2f}{others}"
        if self.disturbed:
            text += (
                "\nWARNING: other processes were busy meanwhile. Trust ratios, not times, and measure again."
            )
        return text

    def as_json(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "load_before": self.load_before,
            "load_after": self.load_after,
            "own_cores": self.own_cores,
            "other_cores": self.other_cores,
            "disturbed": self.disturbed,
        }


class Watch:
    """Starts when it is made; `read` gives the stretch since then."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._began_s = time.perf_counter()
        self._load = load_average()
        self._own_s = own_cpu_s()
        self._all_s = all_cpu_s(proc)

    def read(self) -> Machine:
        seconds = max(time.perf_counter() - self._began_s, 1e-9)
        own = (own_cpu_s() - self._own_s) / seconds
        busy_s = all_cpu_s(self._proc)
        others = (
            max((busy_s - self._all_s) / seconds - own, 0.0)
            if busy_s is not None and self._all_s is not None
            else None
        )
        return Machine(seconds, self._load, load_average(), own, others)


def load_average() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def own_cpu_s() -> float:
    """Seconds of processor time of this process's threads and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def all_cpu_s(proc: Path) -> float | None:
    """Seconds that all processors together were busy since the machine started; None where that is not told."""
    try:
        fields = (proc / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
        return sum(int(fields[index]) for index in BUSY_FIELDS) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
