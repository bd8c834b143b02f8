"""How fast this device reads memory: the bound that a one-token pass runs into, since it reads every weight once.

Used by the limit gauge. A pass can come out above it where its weights stay in a cache; the gauge says so.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path

import torch

SMALLEST_BYTES = 128 << 20
LARGEST_BYTES = 1 << 30
TIMES_CACHE = 4
"""The buffer is this many times the largest cache: most of it must come from memory."""
REPEATS = 5
DEVICE_BYTES = 1 << 30


@functools.lru_cache(maxsize=16)
def measure_bandwidth(threads: int, device: str = "cpu") -> float:
    """Bytes per second of the best of a few sweeps over a large buffer with `threads` compute threads (those set now).

    Takes about 0.1 s; the answer is kept for as long as the process lives. 0.0 where there is no memory for the buffer.
    """
    del threads  # a key of the cache: torch's own setting is what the sweep runs with
    try:
        if device == "cpu":
            return _sweeps(torch.ones(buffer_bytes() // 8, dtype=torch.int64), lambda: None)
        buffer = torch.ones(DEVICE_BYTES // 8, dtype=torch.int64, device=device)
        return _sweeps(buffer, torch.cuda.synchronize)
    except (RuntimeError, MemoryError):  # torch says RuntimeError for an allocation that fails
        return 0.0


def _sweeps(buffer: torch.Tensor, finish: Callable[[], None]) -> float:
    best_s = float("inf")
    for _ in range(REPEATS):
        begin = time.perf_counter()
        buffer.sum()
        finish()
        best_s = min(best_s, time.perf_counter() - begin)
    return buffer.nbytes / best_s


def buffer_bytes() -> int:
    """Enough to leave the caches behind, and no more than a small machine can spare."""
    return min(max(SMALLEST_BYTES, TIMES_CACHE * largest_cache_bytes()), LARGEST_BYTES)


def largest_cache_bytes(root: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int:
    """Of the first core, as Linux tells; 0 elsewhere."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    sizes = [0]
    for file in root.glob("index*/size"):
        text = file.read_text().strip()
        number = text.rstrip("KMG")
        if number.isdecimal():
            sizes.append(int(number) * units.get(text[len(number) :], 1))
    return max(sizes)
