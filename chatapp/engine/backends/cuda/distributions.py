"""Processing, drawing and shared noise as tensor operations: what `sampling`, `distribution` and `randomness` do on the
host, restated for a device, in fixed shapes and without a look at any value.

Sums over the vocabulary run in integers of 2^-44: exact in any order. A parallel sum of floats depends on how the kernel
cuts it up, so a row's bits would depend on how many rows stand beside it; a running sum would not even be the same twice.
Everything else works on each element by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from chatapp.domain.request import SamplingSettings
from chatapp.engine.sampling import SMALLEST_TEMPERATURE

FIXED_ONE = 2.0**44
"""Weights are at most 1 and a vocabulary is at most 2^18 ids: sums stay below 2^62. What is below 2^-45 counts nothing."""
OFF = 2.0
"""A top-p that keeps every id: what lies in front of it never reaches twice the whole."""


def signed(value: int) -> int:
    """64 bits as torch's int64 reads them."""
    return value - 2**64 if value >= 2**63 else value


GOLDEN = signed(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = signed(0xBF58476D1CE4E5B9), signed(0x94D049BB133111EB)


@dataclass(frozen=True, slots=True)
class Knobs:
    """Sampling settings as scalars on the device, so that a captured graph serves every setting: float64 `[]` each."""

    temperature: torch.Tensor
    top_k: torch.Tensor
    top_p: torch.Tensor
    min_p: torch.Tensor

    @classmethod
    def of(cls, words: torch.Tensor) -> Knobs:
        """Four neighbouring float64 of a buffer, as views."""
        return cls(words[0], words[1], words[2], words[3])


def knob_values(settings: SamplingSettings, vocabulary: int) -> tuple[float, float, float, float]:
    """What `Knobs` holds for these settings."""
    return (
        max(settings.temperature, SMALLEST_TEMPERATURE),
        float(settings.top_k or vocabulary),
        settings.top_p if settings.top_p < 1.0 else OFF,
        settings.min_p,
    )


def truncates(settings: SamplingSettings) -> bool:
    return settings.top_k > 0 or settings.top_p < 1.0 or settings.min_p > 0.0


def processed(scores: torch.Tensor, knobs: Knobs, *, truncating: bool) -> torch.Tensor:
    """`[n, V]` logits → `[n, V]` distributions, float32 both; order as in `sampling`."""
    if not truncating:
        weights = _weights(scores, scores.amax(-1, keepdim=True), knobs)
        return weights / _total(weights).to(weights.dtype)
    ordered, order = scores.sort(dim=-1, descending=True, stable=True)
    weights = _truncated(ordered, knobs)
    return torch.zeros_like(scores).scatter(-1, order, weights / _total(weights).to(weights.dtype))


def _weights(scores: torch.Tensor, top: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """Exponentials of scaled logits, the largest 1. It is taken off first: a tiny temperature cannot overflow."""
    return torch.exp((scores - top) / knobs.temperature.float())


def _truncated(ordered: torch.Tensor, knobs: Knobs) -> torch.Tensor:
    """Weights of logits in falling order, 0 where top-k (and what ties with its last), top-p (of what top-k leaves; at a tie
    the lower ids) or min-p does not keep them."""
    weights = _weights(ordered, ordered[..., :1], knobs)
    last = (knobs.top_k.long() - 1).clamp_max(ordered.shape[-1] - 1).reshape(1)
    among = ordered >= ordered.index_select(-1, last)
    mass = _fixed(weights).masked_fill(~among, 0)
    until = mass.cumsum(-1)
    enough = knobs.top_p * until[..., -1:].double()
    # A token stays while the mass in front of it is below top_p: the smallest set that reaches it.
    kept = among & ((until - mass).double() < enough) & (weights >= knobs.min_p)
    return weights.masked_fill(~kept, 0.0)


def log_totals(scores: torch.Tensor) -> torch.Tensor:
    """log Σ exp of each row, `[n, V] → [n] float64`: greedy's probabilities for the record."""
    top = scores.amax(-1, keepdim=True)
    return top[..., 0].double() + _total(torch.exp(scores - top))[..., 0].log()


def drawn(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Inverse-CDF draw: `[V]` non-negative weights and a float64 `[]` of [0, 1) → int64 `[]`. Never a place of weight 0."""
    until = _fixed(weights).cumsum(-1)
    total = until[-1]
    place = torch.searchsorted(until.double(), (uniform * total.double()).reshape(1), right=True)[0]
    # uniform × total may round up to the total: the last place that has mass owns that end of the interval.
    last = (until < total).sum()
    return torch.minimum(place, last).clamp_max(weights.shape[-1] - 1)


def mass_of(weights: torch.Tensor) -> torch.Tensor:
    """Σ weights, float64 `[]`."""
    return _total(weights)[0]


def exponential_noise(bases: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """`randomness.Streams.exponential` for the positions of `bases [n]` and every id: `[n, V] float64`.

    `ids` are `noise_ids(V)`. The same bits up to the logarithm, whose last bit may be another on another device.
    """
    state = ids + bases[:, None]
    state = (state ^ _shifted(state, 30)) * MIX_1
    state = (state ^ _shifted(state, 27)) * MIX_2
    state = state ^ _shifted(state, 31)
    uniform = (_shifted(state, 11).double() + 0.5) * 2.0**-53
    return -torch.log(uniform)


def noise_ids(vocabulary: int, device: torch.device) -> torch.Tensor:
    """(id + 1) · golden ratio, modulo 2^64: `[V] int64`."""
    return (torch.arange(vocabulary, device=device) + 1) * GOLDEN


def _shifted(state: torch.Tensor, bits: int) -> torch.Tensor:
    """Right shift of unsigned 64 bits: torch's repeats the sign."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _fixed(weights: torch.Tensor) -> torch.Tensor:
    return (weights.double() * FIXED_ONE).round().long()


def _total(weights: torch.Tensor) -> torch.Tensor:
    """Sum over the last dimension, kept as 1, float64."""
    return _fixed(weights).sum(-1, keepdim=True).double() / FIXED_ONE
