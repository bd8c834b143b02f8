"""Passes over every logit of a long row, compiled where numba is there. Whoever gets None does it by numpy.

A vocabulary of 128,256 ids takes numpy four passes of some 10 to 40 µs for what one pass does in 16; one of 8,192 takes it half
as much time again as the pass, in calls. Shorter ones stay as they are. What is computed depends on one row's numbers alone,
and on nothing that may change within a process.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

LONG = 2_048
"""Rows of a vocabulary of at least this many ids."""
BLOCK = 512
"""Long rows are summed in blocks of this many: short enough for float32 sums of 1e-7, and for one thread in any BLAS."""
FEW = 1_024
"""More ids of a sparse row than this are raced by numpy, whose logarithms are vectorised."""
CANDIDATES = 16_384
"""Of so many ids at most it can be told in one pass which of them top-p keeps."""


def weighed(
    scores: npt.NDArray[np.floating[Any]], top: np.floating[Any], temperature: float
) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.float64], float] | None:
    """e^((scores − top) / temperature), a new array, their sums by every BLOCK, and the whole sum as good as one in float64."""
    kernels = _kernels() if _is_long(scores) else None
    if kernels is None:
        return None
    scores = np.ascontiguousarray(scores)
    result, sums = np.empty_like(scores), np.empty(-(-len(scores) // BLOCK))
    mass = kernels.weighing()(
        _address(scores), _address(result), _address(sums), len(scores), float(top), temperature
    )
    return result, sums, mass


def narrowed(
    scores: npt.NDArray[np.floating[Any]],
    top: np.floating[Any],
    temperature: float,
    top_p: float,
    min_p: float,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None:
    """What top-p and then min-p keep: ids, ascending, and their probabilities. None also where that is more than can be told
    without looking at every id again."""
    kernels = _kernels() if _is_long(scores) else None
    if kernels is None:
        return None
    scores = np.ascontiguousarray(scores)
    ids, probs = np.empty(CANDIDATES, np.int64), np.empty(CANDIDATES, np.float32)
    work = np.empty(kernels.WORK_BYTES, np.uint8)
    count = kernels.narrowing()(
        _address(scores), len(scores), float(top), temperature, top_p, min_p, _address(ids), _address(probs), CANDIDATES,
        _address(work),
    )  # fmt: skip
    # Copies: a few numbers need not hold room for thousands.
    return (ids[:count].copy(), probs[:count].copy()) if count else None


def subtracted(
    target: npt.NDArray[np.floating[Any]],
    target_mass: float,
    draft: npt.NDArray[np.floating[Any]],
    draft_mass: float,
    weight: float,
) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.float64], float] | None:
    """max(weight · target / target_mass − draft / draft_mass, 0), a new array, its sums by every BLOCK, and the whole sum."""
    kernels = _kernels() if _is_long(target) and _is_long(draft) and len(target) == len(draft) else None
    if kernels is None:
        return None
    result, sums = np.empty_like(target), np.empty(-(-len(target) // BLOCK))
    mass = kernels.subtracting()(
        _address(target), _address(draft), _address(result), _address(sums), len(target), weight, target_mass, draft_mass
    )  # fmt: skip
    return result, sums, mass


def mass(scores: npt.NDArray[np.floating[Any]], top: np.floating[Any]) -> float | None:
    """Σ e^(scores − top)."""
    kernels = _kernels() if _is_long(scores) else None
    if kernels is None:
        return None
    scores = np.ascontiguousarray(scores)
    found: float = kernels.massing()(_address(scores), len(scores), float(top))
    return found


def raced(
    weights: npt.NDArray[np.floating[Any]], ids: npt.NDArray[np.int64] | None, size: int, base: int
) -> int | None:
    """The place of the winner of `randomness.Streams.race`, of all `size` ids or of those given; `base` is 64 bits."""
    few = ids is None or len(weights) <= FEW
    kernels = _kernels() if size >= LONG and weights.dtype == np.float32 and few else None
    if kernels is None:
        return None
    signed = base - (base >> 63 << 64)
    # Rows may be a plugin's, and laid out in any way.
    weights = np.ascontiguousarray(weights)
    place: int
    if ids is None:
        place = kernels.racing()(_address(weights), len(weights), signed)
    else:
        ids = np.ascontiguousarray(ids, np.int64)
        place = kernels.racing_among()(_address(ids), _address(weights), min(len(ids), len(weights)), signed)
    return place


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
    narrowed(rows[0], rows[0, 0], 1.0, 0.9, 0.0)
    subtracted(rows[0], 1.0, rows[1], 1.0, 1.0)
    mass(rows[0], rows[0, 0])
    raced(rows[0], None, vocabulary, 0)
    raced(rows[0, :1], np.zeros(1, np.int64), vocabulary, 0)


def _is_long(scores: npt.NDArray[np.floating[Any]]) -> bool:
    return len(scores) >= LONG and scores.dtype == np.float32


@lru_cache(maxsize=1)
def _kernels() -> ModuleType | None:
    # Not before a long row comes: numba takes half a second to import.
    from chatapp.engine.backends.decoder.fused import kernels

    return kernels()


def _address(array: npt.NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
