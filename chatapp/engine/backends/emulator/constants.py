"""Names of `transformers_neuronx.constants` that its users pass in. Knows nothing of what they lead to.

Source: transformers_neuronx 0.13, constants.py.
"""

from __future__ import annotations

import enum


class Layout(str, enum.Enum):
    """Order of the dimensions hidden (H), sequence (S) and batch (B)."""

    HSB = "HSB"
    BSH = "BSH"
    SBH = "SBH"


class GQA(enum.Enum):
    """How key/value heads are spread when there are fewer of them than query heads."""

    SHARD_OVER_HEADS = "shard-over-heads"
    SHARD_OVER_BATCH = "shard-over-batch"
    REPLICATED_HEADS = "replicated-heads"
    ALL_GATHER_HEADS = "all-gather-heads"


LAYOUT_HSB = "HSB"
LAYOUT_BSH = "BSH"
LAYOUT_SBH = "SBH"
