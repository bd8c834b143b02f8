"""Positions as rotations (Su et al. 2021), with the scalings `linear` (Chen et al. 2023) and `llama3` (Llama 3.1's).

Pairs of a head's dimensions lie side by side here (`interleave`), so that queries and keys are turned by one complex
product; both are reordered alike, so every dot product stays what it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class RotaryPositions:
    """How positions become angles. `factor` stretches the context; the rest is for `llama3` alone, which stretches
    wavelengths longer than `original_context / low_frequency_factor` fully, shorter ones than `original_context /
    high_frequency_factor` not at all and those between in part."""

    theta: float = 10000.0
    scaling: str = "default"
    factor: float = 1.0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_context: int = 8192


def inverse_frequencies(positions: RotaryPositions, head_dim: int) -> torch.Tensor:
    """Radians per position, `[head_dim / 2] float32`."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    frequencies = 1.0 / positions.theta**exponents
    if positions.scaling == "linear":
        return frequencies / positions.factor
    if positions.scaling == "llama3":
        # In this order: a last bit of a frequency is 1e-5 radians at position 300.
        turns = positions.original_context / (2 * math.pi / frequencies)
        low, high = positions.low_frequency_factor, positions.high_frequency_factor
        unscaled = ((turns - low) / (high - low)).clamp(0.0, 1.0)
        return unscaled * frequencies + (1.0 - unscaled) * frequencies / positions.factor
    return frequencies


def factors(positions: RotaryPositions, head_dim: int, count: int) -> torch.Tensor:
    """Complex factors of the first `count` positions `[count, 3, head_dim / 2]`: for queries, which take the
    1 / √head_dim of attention with them, for keys, and 1 for values, which so can stay in one piece with them."""
    steps = torch.arange(count, dtype=torch.float32)
    angles = torch.outer(steps, inverse_frequencies(positions, head_dim))
    size = torch.ones_like(angles)
    queries, keys = torch.polar(size * head_dim**-0.5, angles), torch.polar(size, angles)
    return torch.stack([queries, keys, torch.ones_like(keys)], dim=1)


def interleave(rows: torch.Tensor, head_dim: int) -> torch.Tensor:
    """Reorder each head's rows (of a weight, bias or gain) from (first half, second half) to pairs."""
    heads = rows.shape[0] // head_dim
    return rows.view(heads, 2, head_dim // 2, -1).transpose(1, 2).reshape(rows.shape)
