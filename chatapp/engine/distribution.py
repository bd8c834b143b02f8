"""One position's distribution over the vocabulary, dense or sparse, and the arithmetic that acceptance rules need.

Truncated sampling leaves a few dozen ids of a vocabulary of 128,000: kept as (ids, probabilities) a window costs
microseconds. numpy, not torch: a call on a hundred numbers costs a fifth. Probabilities keep the dtype of the logits
(float32; float64 for the `toy` backend); long sums run block by block and in float64 over the blocks.

What is computed here depends on one row's numbers alone: not on other rows, nor on the number of threads.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chatapp.engine.long_rows import BLOCK, mass, subtracted

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Ids: TypeAlias = npt.NDArray[np.int64]

ONES = {dtype: np.ones(BLOCK, dtype) for dtype in (np.dtype(np.float32), np.dtype(np.float64))}
HAS_VECDOT = hasattr(np, "vecdot")
"""Since numpy 2.0. The compiler of the Neuron SDK holds numpy at 1.26, where the same sums take three times as long."""


class Row:
    """A processed distribution. `best` is the id with the largest score before temperature (greedy's choice, lowest id at a
    tie); `probs` `[n]` sums to 1 and belongs to `ids` `[n]`, ascending; `ids` None means every id, `probs` `[V]`."""

    __slots__ = ("_known", "best", "ids", "probs", "size")

    def __init__(self, best: int, probs: Floats, ids: Ids | None = None, size: int | None = None) -> None:
        """`size` is V; needed with `ids`."""
        self.best = best
        self.probs = probs
        self.ids = ids
        self.size = len(probs) if size is None else size
        self._known: dict[int, float] = {}

    def prob(self, token: int) -> float:
        """Probability of one id. A rule, a policy and the record ask for the same few: each is looked up once."""
        known = self._known.get(token)
        if known is None:
            known = self._known[token] = self._prob(token)
        return known

    def _prob(self, token: int) -> float:
        if self.ids is None:
            return float(self.probs[token])
        place = int(self.ids.searchsorted(token))
        return float(self.probs[place]) if place < len(self.ids) and self.ids[place] == token else 0.0

    def at(self, ids: Ids | None) -> Floats:
        """Probabilities of `ids` (every id if None), in their order."""
        if self.ids is None:
            return self.probs if ids is None else self.probs[ids]
        if ids is None:
            dense = np.zeros(self.size, self.probs.dtype)
            dense[self.ids] = self.probs
            return dense
        places = self.ids.searchsorted(ids)
        places[places == len(self.ids)] = 0
        return np.where(self.ids[places] == ids, self.probs[places], self.probs.dtype.type(0))

    def draw(self, uniform: float) -> int:
        """Inverse-CDF draw with a number of [0, 1)."""
        return draw(self.probs, self.ids, uniform)


class GreedyRow(Row):
    """Temperature 0. Rules look at `best`; probabilities (of temperature 1, for the record only) are computed when asked."""

    __slots__ = ("_log_total", "scores")

    def __init__(self, best: int, scores: Floats) -> None:
        self.best = best
        self.ids = None
        self.size = len(scores)
        self.scores = scores
        self._known = {}
        self._log_total: float | None = None

    def _prob(self, token: int) -> float:
        if self._log_total is None:
            top = self.scores[self.best]
            found = mass(self.scores, top)
            self._log_total = float(top) + math.log(
                total(np.exp(self.scores - top)) if found is None else found
            )
        return math.exp(float(self.scores[token]) - self._log_total)

    @property
    def probs(self) -> Floats:  # type: ignore[override]  # computed where a plain row stores it
        return normalised(np.exp(self.scores - self.scores[self.best]))


class WeighedRow(Row):
    """A dense row of which only weights are known, and their sums: it is seldom that anybody asks for every probability."""

    __slots__ = ("_mass", "_sums", "_weights")

    def __init__(self, best: int, weights: Floats, sums: Floats, mass: float) -> None:
        """`sums` are those of every BLOCK weights, `mass` is that of all. The arrays are the row's from here on."""
        self.best = best
        self.ids = None
        self.size = len(weights)
        self._known = {}
        self._weights = weights
        self._sums: Floats | None = sums
        self._mass = mass

    @property
    def unscaled(self) -> tuple[Floats, float]:
        """Weights and what to divide them by."""
        return self._weights, self._mass

    @property
    def probs(self) -> Floats:  # type: ignore[override]  # computed where a plain row stores it
        if self._sums is not None:
            normalised(self._weights, self._mass)
            self._sums, self._mass = None, 1.0
        return self._weights

    def _prob(self, token: int) -> float:
        # In float32, as in `probs`: the same number whoever asks first.
        return float(self._weights[token] / self._weights.dtype.type(self._mass))

    def draw(self, uniform: float) -> int:
        return draw(self._weights, None, uniform, self._sums)


def one_hot(token: int, size: int) -> Row:
    """All mass on one id: the distribution of a proposal that was not sampled."""
    return Row(token, np.ones(1, np.float64), np.array([token], np.int64), size)


def block_sums(weights: Floats) -> Floats:
    """Sums of every BLOCK numbers, the last of what is left; float64."""
    whole = len(weights) // BLOCK * BLOCK
    sums = np.empty(-(-len(weights) // BLOCK))
    blocks = weights[:whole].reshape(-1, BLOCK)
    sums[: whole // BLOCK] = np.vecdot(blocks, ONES[weights.dtype]) if HAS_VECDOT else blocks.sum(axis=1)
    if whole < len(weights):
        sums[-1] = weights[whole:].sum(dtype=np.float64)
    return sums


def total(weights: Floats) -> float:
    """The sum, as good as one in float64."""
    if len(weights) <= BLOCK:
        return float(weights.sum(dtype=np.float64))
    return float(block_sums(weights).sum())


def normalised(weights: Floats, known: float | None = None) -> Floats:
    """`weights` themselves, divided in place by their sum, which may be `known`."""
    weights /= weights.dtype.type(total(weights) if known is None else known)
    return weights


def draw(weights: Floats, ids: Ids | None, uniform: float, sums: Floats | None = None) -> int:
    """The smallest place whose cumulative weight exceeds `uniform` of the total, as an id.

    `weights` are non-negative and of any positive mass; `sums` are their block sums where those are known. Never gives a
    place of weight zero.
    """
    if len(weights) <= BLOCK:
        place = _place(weights, uniform)
    else:
        # The block first, then the place in it: two short cumulative sums instead of one long.
        cumulative = np.cumsum(block_sums(weights) if sums is None else sums)
        wanted = uniform * cumulative[-1]
        block = int(cumulative.searchsorted(wanted, side="right"))
        if block == len(cumulative):
            block = int(np.flatnonzero(np.diff(cumulative, prepend=0.0))[-1])
        before = float(cumulative[block - 1]) if block else 0.0
        inside = weights[block * BLOCK : (block + 1) * BLOCK]
        place = block * BLOCK + _place(inside, (wanted - before) / (cumulative[block] - before))
    return place if ids is None else int(ids[place])


def _place(weights: Floats, uniform: float) -> int:
    cumulative = weights.cumsum(dtype=np.float64)
    place = int(cumulative.searchsorted(uniform * cumulative[-1], side="right"))
    if place >= len(weights):
        # uniform × total was rounded up to the total: the last place that has mass owns that end of the interval.
        place = int(np.flatnonzero(weights)[-1])
    return place


def residual(target: Row, draft: Row, weight: float = 1.0) -> Floats:
    """max(weight · target − draft, 0), not normalised, on the target's support: aligned with `target.ids`."""
    scaled = target.probs if weight == 1.0 else target.probs * target.probs.dtype.type(weight)
    drafted = draft.at(target.ids)
    result: Floats = np.maximum(scaled, drafted)
    result -= drafted
    return result


def draw_residual(target: Row, draft: Row, uniform: float, weight: float = 1.0) -> tuple[int, bool]:
    """A draw from the normalised residual; from the target itself (and True) where rounding left no mass to normalise."""
    if isinstance(target, WeighedRow) and isinstance(draft, WeighedRow):
        found = subtracted(*target.unscaled, *draft.unscaled, weight)
        if found is not None:
            rest, sums, mass_left = found
            if mass_left <= np.finfo(rest.dtype).eps:
                return target.draw(uniform), True
            return draw(rest, None, uniform, sums), False
    rest = residual(target, draft, weight)
    if total(rest) <= np.finfo(target.probs.dtype).eps:
        return target.draw(uniform), True
    return draw(rest, target.ids, uniform), False
