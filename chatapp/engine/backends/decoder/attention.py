"""The KV of one sequence and attention over it. Knows nothing of weights and layers.

A row's sums must not depend on its window, so that its logits are the same bits wherever it stands: the KV that it reads
ends with the row's own block of `KV_BLOCK` positions (what lies behind the row is masked), and where a kernel sums a few
rows in another order than many, `least_rows` of them are computed at once.

KV heads are the batch and all rows of a window share one product, so that keys and values are read once per pass, not
once per row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's customary name

KV_BLOCK = 128
MOST_FILLED = 16
"""The most rows that `least_rows` may be."""


FUSED_QUERIES = 32
"""Rows of queries per key head that torch's fused kernel takes at a time on processors."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows `first` … `stop` of a pass, which end in one block: computed with their neighbours `low` … `high` over `length`
    positions. `mask` is added to the scores (see `Attention.groups` for its shape)."""

    first: int
    stop: int
    low: int
    high: int
    length: int
    mask: torch.Tensor


@dataclass(frozen=True, slots=True)
class LayerCache:
    """`both` `[2 · kv_heads, length, head_dim]` holds the keys and, behind them, the values: one copy writes a pass's."""

    both: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor


class KeyValueCache:
    """Keys and values of every layer, over whole blocks.

    The length is that of the last row's block and no more: oneDNN copies whatever is not in one piece, and would copy all
    keys and values in every pass. So they are copied when a block is full, once in `KV_BLOCK` tokens.
    """

    def __init__(self, *, layers: int, kv_heads: int, head_dim: int, dtype: torch.dtype) -> None:
        self._kv_heads = kv_heads
        empty = torch.zeros(2 * kv_heads, 0, head_dim, dtype=dtype)
        self.layers = [self._layer(empty) for _ in range(layers)]
        self._length = 0

    def lay_out(self, length: int) -> None:
        """Hold `length` positions; what lies behind them is dropped. One block too many stays: windows go back and forth
        over the end of a block."""
        if self._length - KV_BLOCK <= length <= self._length:
            return
        kept = min(length, self._length)
        for index, old in enumerate(self.layers):
            # Zeros, since what is masked is multiplied by nought, and memory may hold what is not a number.
            both = old.both.new_zeros(old.both.shape[0], length, old.both.shape[2])
            both[:, :kept] = old.both[:, :kept]
            self.layers[index] = self._layer(both)
        self._length = length

    def clear(self) -> None:
        """Forget all. What a failed pass left would reach other replies: 0 × NaN is NaN, behind a mask too."""
        self._length = 0
        self.layers = [self._layer(layer.both[:, :0]) for layer in self.layers]

    def _layer(self, both: torch.Tensor) -> LayerCache:
        return LayerCache(both, both[: self._kv_heads], both[self._kv_heads :])


class Attention:
    """Grouped-query attention in `dtype` (float32 or bfloat16) for `heads` queries over `kv_heads` keys and values."""

    def __init__(self, *, heads: int, kv_heads: int, head_dim: int, dtype: torch.dtype) -> None:
        self._kv_heads = kv_heads
        self._shared_by = heads // kv_heads
        self._head_dim = head_dim
        self.dtype = dtype
        self.least_rows = 1
        # Row i + MOST_FILLED is position i of a block; rows before and behind see what the first and the last one see.
        place = torch.arange(-MOST_FILLED, KV_BLOCK + MOST_FILLED).clamp(0, KV_BLOCK - 1)
        hidden = torch.arange(KV_BLOCK) > place.repeat_interleave(self._shared_by)[:, None]
        self._last_block = torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, float("-inf"))

    def groups(self, start: int, count: int, total: int) -> list[Group]:
        """The first `count` of `total` rows by block, in float32 at most a fused product's; row 0 is position `start`. Masks are `[rows · shared_by, length]` in
        float32 and `[KV_BLOCK, rows · shared_by]` in bfloat16, which masks nothing but the last block."""
        groups = []
        # torch's fused kernel takes so many queries at a time, and sums a short rest of more than that in another order.
        most = total if self.dtype == torch.bfloat16 else max(1, FUSED_QUERIES // self._shared_by)
        first = 0
        while first < count:
            length = (start + first) // KV_BLOCK * KV_BLOCK + KV_BLOCK
            stop = min(count, length - start, first + most)
            high = min(max(stop, first + self.least_rows), total)
            low = max(min(first, high - self.least_rows), 0)
            offset = start + low - (length - KV_BLOCK) + MOST_FILLED
            last = self._last_block[offset * self._shared_by : (offset + high - low) * self._shared_by]
            if self.dtype == torch.bfloat16:
                # In one piece: it is added in every layer, and a turned one takes six times as long.
                mask = last.t().contiguous()
            else:
                mask = F.pad(last, (length - KV_BLOCK, 0))
            groups.append(Group(first, stop, low, high, length, mask))
            first = stop
        return groups

    def mix(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, groups: list[Group]
    ) -> torch.Tensor:
        """`queries [total, heads, head_dim]`, already scaled, over `[kv_heads, length, head_dim]` each →
        `[total, heads · head_dim]`. Rows that are in no group (they only fill the pass up) come back as they are."""
        total, rows = queries.shape[0], groups[-1].stop
        parts = [self._mix_group(queries, keys, values, group) for group in groups]
        if rows < total:
            parts.append(queries[rows:].reshape(total - rows, -1))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _mix_group(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, group: Group
    ) -> torch.Tensor:
        rows = group.high - group.low
        heads, shared_by, size = self._kv_heads, self._shared_by, self._head_dim
        if rows < queries.shape[0]:
            queries = queries[group.low : group.high]
        if rows > 1:
            queries = queries.view(rows, heads, shared_by, size).transpose(0, 1)
        # For a single row all of these are views.
        queries = queries.reshape(heads, rows * shared_by, size)
        if keys.shape[1] != group.length:
            keys, values = keys[:, : group.length], values[:, : group.length]
        if self.dtype == torch.bfloat16:
            mixed = _bfloat16_attention(queries, keys, values, group.mask)
        else:
            mixed = F.scaled_dot_product_attention(
                queries[None], keys[None], values[None], attn_mask=group.mask, scale=1.0
            )
        if rows == 1:
            return mixed.reshape(1, heads * shared_by * size)
        mixed = mixed.view(heads, rows, shared_by, size).transpose(0, 1)
        if group.stop - group.first < rows:
            mixed = mixed[group.first - group.low : group.stop - group.low]
        return mixed.reshape(group.stop - group.first, heads * shared_by * size)


def _bfloat16_attention(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """`[heads, rows, head_dim]`. torch's fused kernel takes bfloat16 rows through float32 products and a single row through
    an unvectorised one. oneDNN reads each matrix once and in place when it stands on the side where it needs no other
    layout: keys on the left, values on the right. That takes the same time for one row as for 16."""
    scores = torch.bmm(keys, queries.transpose(1, 2))
    scores[:, -KV_BLOCK:].add_(mask)
    return torch.bmm(torch.softmax(scores.transpose(1, 2), -1), values)
