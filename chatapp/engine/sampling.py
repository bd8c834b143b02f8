"""Logits → the distribution that tokens are drawn from. Draft and target logits pass the same processor.

Order (that of the Hugging Face processors): penalties and bias, temperature, top-k, top-p, min-p. Every row is processed
by itself, so that its bits do not depend on its neighbours in the window.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from chatapp.domain.request import SamplingSettings
from chatapp.engine.distribution import Floats, GreedyRow, Ids, Row
from chatapp.engine.penalties import Penalties

SMALLEST_TEMPERATURE = 1e-30
"""Below it logits would overflow float32 to infinity, and then to NaN; the distribution is one-hot long before."""
CUTS = (2.0**-6, 2.0**-10, 2.0**-14)
"""Top-p looks at ids of at least this share of the largest probability first, then at more, at last at every id."""


class NotFinite(ValueError):
    """A model gave logits that are not finite."""


class Processor:
    """The processed distribution of one run's settings."""

    def __init__(self, settings: SamplingSettings, prompt_length: int = 0) -> None:
        """`prompt_length` ids of every context are the prompt: presence and frequency penalties leave them out."""
        self._settings = settings
        self._temperature = max(settings.temperature, SMALLEST_TEMPERATURE)
        self._penalties = Penalties(settings, prompt_length)
        whole = settings.top_k == 0 and settings.top_p >= 1.0 and settings.min_p == 0.0
        self._truncates = not whole

    def row(self, logits: torch.Tensor, context: Sequence[int], drafts: Sequence[int] = ()) -> Row:
        """Process one row `[V]`; `context` and then `drafts` are every id before this position.

        Half precision is widened to float32 first; float64 stays. Raises `NotFinite`.
        """
        wide = logits if logits.dtype in (torch.float32, torch.float64) else logits.float()
        scores: Floats = self._penalties.applied(wide.numpy(), context, drafts)
        best = int(scores.argmax())  # numpy's argmax stops at the first NaN
        if not np.isfinite(scores[best]):
            raise NotFinite("logits that are not finite")
        if self._settings.greedy:
            return GreedyRow(best, scores)
        # The largest is taken off before the division: a tiny temperature cannot overflow.
        weights = np.exp((scores - scores[best]) / scores.dtype.type(self._temperature))
        if not self._truncates:
            return Row(best, normalised(weights))
        ids = nucleus(weights, self._settings)
        return Row(best, normalised(weights[ids]), ids, len(scores))


def normalised(weights: Floats) -> Floats:
    result: Floats = weights / weights.sum(dtype=np.float64).astype(weights.dtype)
    return result


def nucleus(weights: Floats, settings: SamplingSettings) -> Ids:
    """The ids that top-k, top-p (of what top-k leaves) and min-p keep, ascending. `weights` `[V]` are the exponentials of
    scaled logits, the largest 1."""
    ids: Ids | None = None
    if 0 < settings.top_k < len(weights):
        ids = largest(weights, settings.top_k)
        weights = weights[ids]
    kept = smallest_set(weights, settings.top_p) if settings.top_p < 1.0 else None
    if settings.min_p > 0.0:
        likely = np.flatnonzero(weights >= settings.min_p)
        kept = likely if kept is None else kept[weights[kept] >= settings.min_p]
    if kept is None:
        return ids if ids is not None else np.arange(len(weights))
    return kept if ids is None else ids[kept]


def largest(weights: Floats, count: int) -> Ids:
    """The `count` largest, ascending ids; at a tie the lower ids."""
    border = np.partition(weights, len(weights) - count)[len(weights) - count]
    above = np.flatnonzero(weights > border)
    tied = np.flatnonzero(weights == border)[: count - len(above)]
    return np.sort(np.concatenate([above, tied]))


def smallest_set(weights: Floats, top_p: float) -> Ids:
    """The fewest ids, largest first, whose mass reaches `top_p` of the whole, ascending."""
    enough = top_p * float(weights.sum(dtype=np.float64))
    for cut in CUTS:
        candidates = np.flatnonzero(weights >= cut)
        chosen = weights[candidates]
        if float(chosen.sum(dtype=np.float64)) >= enough:
            break
    else:
        candidates, chosen = np.arange(len(weights)), weights
    order = np.argsort(-chosen, kind="stable")
    mass = np.cumsum(chosen[order], dtype=np.float64)
    # A token stays while the mass in front of it is below top_p: the smallest set that reaches it.
    count = 1 + int(np.searchsorted(mass[:-1], enough, side="left"))
    return np.sort(candidates[order[:count]])
