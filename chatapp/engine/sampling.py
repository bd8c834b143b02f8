"""Logits → the distribution that tokens are drawn from. Draft and target logits pass the same processor.

Order (that of the Hugging Face processors): repetition penalty, temperature, top-k, top-p, min-p. Every row is processed
by itself, so that its bits do not depend on its neighbours in the window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chatapp.domain.request import SamplingSettings
from chatapp.engine.contracts import Row

SPARSE_CANDIDATES = 128
"""Top-p looks at this many largest logits first; only when their mass falls short is the whole row sorted."""
SMALLEST_TEMPERATURE = 1e-30
"""Below it logits would overflow float32 to infinity, and then to NaN; the distribution is one-hot long before."""


class Processor:
    """The processed distribution of one run's settings."""

    def __init__(self, settings: SamplingSettings) -> None:
        self._settings = settings
        self._temperature = max(settings.temperature, SMALLEST_TEMPERATURE)

    def row(self, logits: torch.Tensor, context: Sequence[int]) -> Row:
        """Process one row `[V]`; `context` is every id before this position (prompt, reply and the drafts before it).

        Half precision is widened to float32 first; float64 stays.
        """
        scores = logits if logits.dtype == torch.float64 else logits.float()
        if self._settings.repetition_penalty != 1.0:
            scores = penalise_repetition(scores, context, self._settings.repetition_penalty)
        if self._settings.greedy:
            return Row(scores, torch.softmax(scores, dim=-1))
        return Row(scores, self._truncated(scores / self._temperature))

    def _truncated(self, scaled: torch.Tensor) -> torch.Tensor:
        settings = self._settings
        size = scaled.shape[-1]
        neutral_k = settings.top_k == 0 or settings.top_k >= size
        if neutral_k and settings.top_p >= 1.0 and settings.min_p == 0.0:
            return torch.softmax(scaled, dim=-1)
        if not neutral_k:
            return _dense(*_nucleus(*_top(scaled, settings.top_k), settings), like=scaled)
        values, ids = _top(scaled, min(SPARSE_CANDIDATES, size))
        log_total = torch.logsumexp(scaled, dim=-1)
        mass = float(torch.exp(values - log_total).sum())
        smallest = float(torch.exp(values[-1] - values[0]))
        reaches_p = mass >= settings.top_p
        reaches_min_p = settings.min_p > 0.0 and smallest < settings.min_p
        if not (reaches_p or reaches_min_p) and values.shape[-1] < size:
            values, ids = _top(scaled, size)
        return _dense(*_nucleus(values, ids, settings, log_total), like=scaled)


def penalise_repetition(scores: torch.Tensor, context: Sequence[int], penalty: float) -> torch.Tensor:
    """Divide positive and multiply negative logits of ids seen before (Keskar et al. 2019, CTRL, as Hugging Face does)."""
    seen = torch.tensor(sorted(set(context)), dtype=torch.long)
    seen = seen[seen < scores.shape[-1]]
    values = scores[seen]
    result = scores.clone()
    result[seen] = torch.where(values < 0, values * penalty, values / penalty)
    return result


def _top(scaled: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    values, ids = torch.topk(scaled, count, sorted=True)
    return values, ids


def _nucleus(
    values: torch.Tensor, ids: torch.Tensor, settings: SamplingSettings, log_total: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut descending `values` to top-p (of the mass e^log_total, their own if None) and min-p; returns weights and ids."""
    total = torch.logsumexp(values, dim=-1) if log_total is None else log_total
    weights = torch.exp(values - total)
    keep = torch.ones_like(weights, dtype=torch.bool)
    if settings.top_p < 1.0:
        # A token stays while the mass in front of it is below top_p: the smallest set that reaches it.
        keep &= (torch.cumsum(weights, dim=-1) - weights) < settings.top_p
    if settings.min_p > 0.0:
        keep &= weights >= settings.min_p * weights[0]
    keep[0] = True
    return weights * keep, ids


def _dense(weights: torch.Tensor, ids: torch.Tensor, *, like: torch.Tensor) -> torch.Tensor:
    probs = torch.zeros_like(like)
    probs[ids] = weights / weights.sum()
    return probs
