"""The KV that compiled kernels read, and the turns of its positions. Knows no weights."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import torch

from chatapp.engine.backends.decoder.rotary import inverse_frequencies
from chatapp.engine.backends.decoder.shape import DecoderShape

FIRST_TILES = 8
VECTOR_BYTES = 64
"""The longest vector's, and a line of the processor's cache."""


class TiledCache:
    """Keys `[kv_heads, 0, tile, …]` and values `[kv_heads, 1, tile, …]` of every layer (see `kernels.attending`).

    Room doubles until the context is full, so that a step allocates none."""

    def __init__(self, shape: DecoderShape, dtype: torch.dtype, compiled: ModuleType) -> None:
        self._shape = shape
        self._dtype = dtype
        self._tile: int = compiled.TILE
        # Values of a head fill whole vectors; what is beyond its size stays zero.
        padded: int = -(-shape.head_dim // compiled.LANES) * compiled.LANES
        self._numbers = padded * self._tile
        self.layers: list[torch.Tensor] = []
        self.tiles = 0

    def hold(self, length: int) -> bool:
        """Have room for `length` positions; whether that meant another place for all of them."""
        if length <= self.tiles * self._tile:
            return False
        shape = self._shape
        tiles = max(FIRST_TILES, 2 * self.tiles, -(-length // self._tile))
        tiles = min(tiles, -(-shape.context_limit // self._tile))
        grown = []
        for index in range(shape.layers):
            layer = untouched_zeros((shape.kv_heads, 2, tiles, self._numbers), self._dtype)
            if self.layers:
                layer[:, :, : self.tiles] = self.layers[index]
            grown.append(layer)
        self.layers, self.tiles = grown, tiles
        return True

    def made_up(self, length: int) -> tuple[torch.Tensor, int]:
        """A layer of random keys and values for `length` positions, and how many tiles that is. One head's are drawn and the
        others' are the same."""
        tiles = -(-length // self._tile)
        generator = torch.Generator().manual_seed(1)
        layer = torch.randn(2, tiles, self._numbers, generator=generator).to(self._dtype)
        return layer.expand(self._shape.kv_heads, -1, -1, -1).contiguous(), tiles


def untouched_zeros(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Zeros that the system has at hand when they are first touched: a large context costs what is used of it. torch's own
    are written at once. They begin where a vector does."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + VECTOR_BYTES, np.uint8)
    begin = -memory.ctypes.data % VECTOR_BYTES
    return torch.from_numpy(memory[begin : begin + size]).view(dtype).view(shape)


def position_turns(shape: DecoderShape) -> torch.Tensor:
    """Cosine and sine of every position and pair of dimensions, `[context, head_dim] float32`."""
    steps = torch.arange(shape.context_limit, dtype=torch.float32)
    angles = torch.outer(steps, inverse_frequencies(shape.rotary, shape.head_dim))
    return torch.stack([angles.cos(), angles.sin()], -1).reshape(shape.context_limit, -1).contiguous()
