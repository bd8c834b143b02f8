"""Passes over every logit of a long row, compiled where numba is there. Whoever gets None does it by numpy.

A vocabulary of 128,256 ids takes numpy four passes of some 10 to 40 µs for what one pass does in 16; short rows gain little and
stay as they are. What is computed depends on one row's numbers alone, and on nothing that may change within a process.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

LONG = 16_384
"""Rows of at least this many ids."""


def weighed(
    scores: npt.NDArray[np.floating[Any]], top: np.floating[Any], temperature: float
) -> tuple[npt.NDArray[np.floating[Any]], float] | None:
    """e^((scores − top) / temperature), a new array, and its sum as good as one in float64."""
    kernels = _kernels() if _is_long(scores) else None
    if kernels is None:
        return None
    scores = np.ascontiguousarray(scores)
    result = np.empty_like(scores)
    mass = kernels.weighing()(_address(scores), _address(result), len(scores), float(top), temperature)
    return result, mass


def mass(scores: npt.NDArray[np.floating[Any]], top: np.floating[Any]) -> float | None:
    """Σ e^(scores − top)."""
    kernels = _kernels() if _is_long(scores) else None
    if kernels is None:
        return None
    scores = np.ascontiguousarray(scores)
    found: float = kernels.massing()(_address(scores), len(scores), float(top))
    return found


def turned(window: npt.NDArray[np.float32], out: npt.NDArray[np.float32]) -> bool:
    """Copy `window` `[n, V]`, a view of rows laid out `[V, n]`, into `out` `[n, V]`; False where it is no such view."""
    kernels = _kernels() if len(window) > 1 and _is_long(window[0]) else None
    if kernels is None or not window.T.flags.c_contiguous or not out.flags.c_contiguous:
        return False
    kernels.turning()(_address(window), _address(out), *window.shape)
    return True


def prepare(vocabulary: int) -> None:
    """Compile what rows of this length will need, or read what was compiled: seconds at most, and not in a reply."""
    if vocabulary < LONG:
        return
    rows = np.zeros((2, vocabulary), np.float32)
    turned(np.zeros((vocabulary, 2), np.float32).T, rows)
    weighed(rows[0], rows[0, 0], 1.0)
    mass(rows[0], rows[0, 0])


def _is_long(scores: npt.NDArray[np.floating[Any]]) -> bool:
    return len(scores) >= LONG and scores.dtype == np.float32


@lru_cache(maxsize=1)
def _kernels() -> ModuleType | None:
    # Not before a long row comes: numba takes half a second to import.
    from chatapp.engine.backends.decoder.fused import kernels

    return kernels()


def _address(array: npt.NDArray[np.floating[Any]]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
