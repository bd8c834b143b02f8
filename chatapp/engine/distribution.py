"""One position's distribution over the vocabulary, dense or sparse, and the arithmetic that acceptance rules need.

Truncated sampling leaves a few dozen ids of a vocabulary of 128,000: kept as (ids, probabilities) a window costs
microseconds. numpy, not torch: a call on a hundred numbers costs a fifth. Probabilities keep the dtype of the logits
(float32; float64 for the `toy` backend), sums run in float64.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Ids: TypeAlias = npt.NDArray[np.int64]


class Row:
    """A processed distribution. `best` is the id with the largest score before temperature (greedy's choice, lowest id at a
    tie); `probs` `[n]` sums to 1 and belongs to `ids` `[n]`, ascending; `ids` None means every id, `probs` `[V]`."""

    __slots__ = ("best", "ids", "probs", "size")

    def __init__(self, best: int, probs: Floats, ids: Ids | None = None, size: int | None = None) -> None:
        """`size` is V; needed with `ids`."""
        self.best = best
        self.probs = probs
        self.ids = ids
        self.size = len(probs) if size is None else size

    def prob(self, token: int) -> float:
        """Probability of one id."""
        if self.ids is None:
            return float(self.probs[token])
        place = int(np.searchsorted(self.ids, token))
        return float(self.probs[place]) if place < len(self.ids) and self.ids[place] == token else 0.0

    def at(self, ids: Ids | None) -> Floats:
        """Probabilities of `ids` (every id if None), in their order."""
        if self.ids is None:
            return self.probs if ids is None else self.probs[ids]
        if ids is None:
            dense = np.zeros(self.size, self.probs.dtype)
            dense[self.ids] = self.probs
            return dense
        places = np.searchsorted(self.ids, ids)
        places[places == len(self.ids)] = 0
        return np.where(self.ids[places] == ids, self.probs[places], self.probs.dtype.type(0))

    def draw(self, uniform: float) -> int:
        """Inverse-CDF draw with a number of [0, 1)."""
        return draw(self.probs, self.ids, uniform)


class GreedyRow(Row):
    """Temperature 0. Rules look at `best`; probabilities (of temperature 1, for the record only) are computed when asked."""

    __slots__ = ("_log_total", "_scores")

    def __init__(self, best: int, scores: Floats) -> None:
        self.best = best
        self.ids = None
        self.size = len(scores)
        self._scores = scores
        self._log_total: float | None = None

    def prob(self, token: int) -> float:
        if self._log_total is None:
            top = self._scores[self.best]
            self._log_total = float(top) + float(np.log(np.exp(self._scores - top).sum(dtype=np.float64)))
        return float(np.exp(float(self._scores[token]) - self._log_total))

    @property
    def probs(self) -> Floats:  # type: ignore[override]  # computed where a plain row stores it
        weights = np.exp(self._scores - self._scores[self.best])
        result: Floats = weights / weights.sum(dtype=np.float64).astype(weights.dtype)
        return result


def one_hot(token: int, size: int) -> Row:
    """All mass on one id: the distribution of a proposal that was not sampled."""
    return Row(token, np.ones(1, np.float64), np.array([token], np.int64), size)


def draw(weights: Floats, ids: Ids | None, uniform: float) -> int:
    """The smallest place whose cumulative weight exceeds `uniform` of the total, as an id.

    `weights` are non-negative and of any positive mass. Never gives a place of weight zero.
    """
    cumulative = np.cumsum(weights, dtype=np.float64)
    place = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    if place >= len(weights):
        # uniform × total was rounded up to the total: the last place that has mass owns that end of the interval.
        place = int(np.flatnonzero(weights)[-1])
    return place if ids is None else int(ids[place])


def residual(target: Row, draft: Row, weight: float = 1.0) -> Floats:
    """max(weight · target − draft, 0), not normalised, on the target's support: aligned with `target.ids`."""
    scaled = target.probs if weight == 1.0 else target.probs * target.probs.dtype.type(weight)
    result: Floats = np.maximum(scaled - draft.at(target.ids), 0)
    return result


def draw_residual(target: Row, draft: Row, uniform: float, weight: float = 1.0) -> tuple[int, bool]:
    """A draw from the normalised residual; from the target itself (and True) where rounding left no mass to normalise."""
    rest = residual(target, draft, weight)
    if float(rest.sum(dtype=np.float64)) <= np.finfo(target.probs.dtype).eps:
        return target.draw(uniform), True
    return draw(rest, target.ids, uniform), False
