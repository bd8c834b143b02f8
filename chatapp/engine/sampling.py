"""Logits → the distribution that tokens are drawn from. Draft and target logits pass the same processor.

Order (that of the Hugging Face processors): penalties and bias, temperature, top-k, top-p, min-p. Every row is processed
by itself, so that its bits do not depend on its neighbours in the window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from chatapp.domain.request import SamplingSettings
from chatapp.engine.distribution import Floats, GreedyRow, Ids, Row, WeighedRow, normalised, total
from chatapp.engine.long_rows import narrowed, weighed
from chatapp.engine.penalties import Penalties, put_back

SMALLEST_TEMPERATURE = 1e-30
"""Below it logits would overflow float32 to infinity, and then to NaN; the distribution is one-hot long before."""
CUTS = (2.0**-6, 2.0**-10, 2.0**-14)
"""Top-p looks at ids of at least this share of the largest probability first, then at more, at last at every id."""
SHORT = 256
"""Rows that are sorted sooner than cut."""
SORTED_AT_ONCE = 1024
"""More candidates than this are not sorted whole: halves that are wholly in or wholly out are put aside first."""
GROUP = 16
"""Top-k: groups of fewer ids than this are not worth forming."""


class NotFinite(ValueError):
    """A model gave logits that are not finite."""


class Processor:
    """The processed distribution of one run's settings."""

    def __init__(self, settings: SamplingSettings, prompt_length: int = 0) -> None:
        """`prompt_length` ids of every context are the prompt: presence and frequency penalties leave them out."""
        self._settings = settings
        self._temperature = max(settings.temperature, SMALLEST_TEMPERATURE)
        self._penalties = Penalties(settings, prompt_length)

    def row(self, logits: torch.Tensor, context: Sequence[int], drafts: Sequence[int] = ()) -> Row:
        """Process one row `[V]`; `context` and then `drafts` are every id before this position.

        Half precision is widened to float32 first; float64 stays. Raises `NotFinite`.
        """
        wide = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
        scores: Floats = wide.numpy()
        if self._settings.greedy:
            scores = self._penalties.applied(scores, context, drafts)
            return GreedyRow(best_of(scores), scores)
        scores = np.ascontiguousarray(scores)  # elsewhere one number could be in several places
        before = self._penalties.apply(scores, context, drafts)
        try:
            return self._distribution(best_of(scores), scores)
        finally:
            if before is not None:
                put_back(scores, before)

    def _distribution(self, best: int, scores: Floats) -> Row:
        """Of logits that belong to somebody else: nothing of them stays in the row."""
        settings = self._settings
        if 0 < settings.top_k < len(scores):
            ids = largest(scores, settings.top_k)
            return self._kept(best, self._weights(scores[ids], scores[best]), None, ids, len(scores))
        if settings.top_p < 1.0:
            found = narrowed(scores, scores[best], self._temperature, settings.top_p, settings.min_p)
            if found is not None:
                return Row(best, found[1], found[0], len(scores))
        dense = weighed(scores, scores[best], self._temperature)
        if dense is None:
            return self._kept(best, self._weights(scores, scores[best]), None, None, len(scores))
        weights, sums, mass = dense
        if settings.top_p >= 1.0 and settings.min_p <= 0.0:
            return WeighedRow(best, weights, sums, mass)
        return self._kept(best, weights, mass, None, len(scores))

    def _kept(self, best: int, weights: Floats, mass: float | None, ids: Ids | None, size: int) -> Row:
        """What top-p and min-p leave; `mass` is the weights' sum where it is known, `ids` whose they are (None: everyone's)."""
        kept = nucleus(weights, self._settings.top_p, self._settings.min_p, mass)
        if kept is not None:
            weights, mass = weights[kept], None
            ids = kept if ids is None else ids[kept]
        return Row(best, normalised(weights, mass), ids, size)

    def _weights(self, scores: Floats, top: np.floating[Any]) -> Floats:
        """Exponentials of scaled logits, the largest 1. The largest is taken off before the division: a tiny temperature
        cannot overflow."""
        result: Floats = scores - top
        if self._temperature != 1.0:
            result /= result.dtype.type(self._temperature)
        return np.exp(result, out=result)


def best_of(scores: Floats) -> int:
    """The id with the largest logit, the lowest at a tie. Raises `NotFinite`."""
    best = int(scores.argmax())  # numpy's argmax stops at the first NaN
    if not math.isfinite(scores[best]):
        raise NotFinite("logits that are not finite")
    return best


def largest(scores: Floats, count: int) -> Ids:
    """The `count` largest and whatever ties with the smallest of them, ascending ids."""
    width = 4 * count
    if len(scores) < GROUP * width:
        return np.flatnonzero(scores >= _nth_largest(scores, count))
    # Of `width` groups, each has its largest: the count-th of those is a floor under what is looked for.
    whole = len(scores) // width * width
    floor = _nth_largest(scores[:whole].reshape(-1, width).max(axis=0), count)
    ids = np.flatnonzero(scores >= floor)
    chosen = scores[ids]
    return ids[chosen >= _nth_largest(chosen, count)]


def _nth_largest(values: Floats, n: int) -> np.floating[Any]:
    result: np.floating[Any] = np.partition(values, len(values) - n)[len(values) - n]
    return result


def nucleus(weights: Floats, top_p: float, min_p: float, mass: float | None = None) -> Ids | None:
    """The places that top-p and min-p keep, ascending; None where they keep all. The largest weight is 1; `mass` is the sum
    where it is known."""
    kept = smallest_set(weights, top_p, mass) if top_p < 1.0 else None
    if min_p > 0.0:
        kept = np.flatnonzero(weights >= min_p) if kept is None else kept[weights[kept] >= min_p]
    return kept


def smallest_set(weights: Floats, top_p: float, mass: float | None = None) -> Ids:
    """The fewest places, largest first and lower ones first at a tie, whose mass reaches `top_p` of the whole, ascending."""
    enough = top_p * (total(weights) if mass is None else mass)
    places, chosen = _candidates(weights, enough)
    border, count = _border(chosen, enough)
    kept = (chosen >= border).nonzero()[0]
    if len(kept) > count:
        tied = (chosen[kept] == border).nonzero()[0]
        kept = np.delete(kept, tied[count - len(kept) :])
    return kept if places is None else places[kept]


def _candidates(weights: Floats, enough: float) -> tuple[Ids | None, Floats]:
    """Places that hold the smallest set of mass `enough`, and their weights: those above a cut where they suffice, else all."""
    if len(weights) > SHORT and CUTS:
        # The lowest cut alone looks at every id; what is above the others is among those few. As few as can be sorted at once
        # are sorted sooner than cut.
        some = (weights >= CUTS[-1]).nonzero()[0]
        theirs = weights[some]
        for cut in CUTS[:-1] if len(some) > SORTED_AT_ONCE else ():
            above = (theirs >= cut).nonzero()[0]
            chosen = theirs[above]
            if total(chosen) >= enough:
                return some[above], chosen
        if total(theirs) >= enough:
            return some, theirs
    return None, weights


def _border(values: Floats, enough: float) -> tuple[np.floating[Any], int]:
    """The smallest value of the smallest set of mass `enough`, and the set's size."""
    surely = 0
    while len(values) > SORTED_AT_ONCE:
        half = len(values) // 2
        halves = np.partition(values, half)
        mass = total(halves[half:])
        if mass < enough:
            enough -= mass
            surely += len(values) - half
            values = halves[:half]
        else:
            values = halves[half:]
    descending = np.sort(values)[::-1]
    mass_before = descending.cumsum(dtype=np.float64)[:-1]
    # A token stays while the mass in front of it is below top_p: the smallest set that reaches it.
    count = 1 + int(mass_before.searchsorted(enough, side="left"))
    return descending[count - 1], surely + count
