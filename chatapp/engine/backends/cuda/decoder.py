"""The forward of a Llama-shaped decoder over static KV, as operations on tensors alone.

Positions are tensors on the device, so that one captured pass serves every place in the text: keys and values are written
at them, and the mask is made from them. What a pass does depends on its number of rows and on `reach`, how many positions of
the KV it looks at, and on nothing else. Rows that only fill a pass up stand behind the real ones; what they leave in the KV
lies at positions that any later pass overwrites before it looks at them.

Shares names, shapes, fusing and rotary factors with the fast path on the CPU; knows no graph and no sampling.
"""

from __future__ import annotations

from collections.abc import MutableMapping

import torch
import torch.nn.functional as F  # noqa: N812 - the field's customary name

from chatapp.engine.backends.decoder.linears import Linear
from chatapp.engine.backends.decoder.rotary import factors
from chatapp.engine.backends.decoder.shape import DecoderShape
from chatapp.engine.backends.decoder.weights import LayerWeights, take_layer

KV_BLOCK = 256
"""Positions that lie together in the KV and are read by one product. With few rows and few KV heads, products over the whole
context would leave most of a GPU idle; cut into blocks they fill it, and a fixed cut keeps the order of the sums."""


class StaticDecoder:
    """`weights` are Hugging Face names without the `model.` prefix, on `device` and in the checkpoint's dtype; they are taken
    out of the mapping. `positions` are those of the KV, a multiple of `KV_BLOCK`."""

    def __init__(
        self,
        shape: DecoderShape,
        weights: MutableMapping[str, torch.Tensor],
        device: torch.device,
        positions: int,
    ) -> None:
        self.shape = shape
        self._embedding = weights.pop("embed_tokens.weight")
        self.dtype = self._embedding.dtype
        self._norm = weights.pop("norm.weight").float()
        self._head = plain_linear(weights.pop("lm_head.weight", self._embedding), None)
        self._layers = [take_layer(shape, weights, index, plain_linear) for index in range(shape.layers)]
        size = (shape.layers, 2, positions // KV_BLOCK, shape.kv_heads, KV_BLOCK, shape.head_dim)
        self._cache = torch.zeros(size, dtype=self.dtype, device=device)
        self._rotary = factors(shape.rotary, shape.head_dim, positions).to(device)
        turned = [0] * shape.heads + [1] * shape.kv_heads
        self._query_or_key = torch.tensor(turned, device=device)
        self._places = torch.arange(positions, device=device)
        linears = (linear for layer in self._layers for linear in layer.linears)
        self._weight_bytes = sum(linear.bytes_read for linear in linears) + self._head.bytes_read

    def traffic(self, count: int, end: int) -> int:
        """Bytes that a pass of `count` rows must read at least, the last of them at position `end` − 1."""
        shape = self.shape
        embedded = count * shape.hidden * self.dtype.itemsize
        position = 2 * shape.kv_heads * shape.head_dim * self.dtype.itemsize
        return self._weight_bytes + embedded + shape.layers * position * end

    def clear(self) -> None:
        """Zero the KV. What a failed pass left behind would reach other replies: 0 × NaN is NaN, behind a mask too."""
        self._cache.zero_()

    def rows(self, ids: torch.Tensor, start: torch.Tensor, reach: int) -> torch.Tensor:
        """`ids [m] int64` at positions `start` (int64 `[]`), `start` + 1, … → normalised states `[m, hidden]`."""
        shape = self.shape
        count = ids.shape[0]
        places = start + self._places[:count]
        rotary = self._rotary.index_select(0, places).index_select(1, self._query_or_key)
        rows = places.repeat_interleave(shape.heads // shape.kv_heads)
        hidden = self._places[:reach].view(-1, 1, 1, KV_BLOCK) > rows[:, None]
        x = F.embedding(ids, self._embedding).float()
        for layer, cache in zip(self._layers, self._cache, strict=True):
            h = self._normalised(x, layer.attention_gain)
            x = x + layer.out.product(self._attend(layer, cache, h, rotary, places, hidden)).float()
            gate, up = layer.gate_up.product(self._normalised(x, layer.mlp_gain)).chunk(2, -1)
            x = x + layer.down.product(F.silu(gate) * up).float()
        states: torch.Tensor = F.rms_norm(x, (shape.hidden,), self._norm, shape.norm_eps)
        return states.to(self.dtype)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """`[m, hidden] → [m, V] float32`."""
        return self._head.product(states).float()

    def _normalised(self, x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        # The fused layers' gains hold √size, for a norm by the root of the sum of squares.
        width = x.shape[-1]
        normed: torch.Tensor = F.rms_norm(x, (width,), None, self.shape.norm_eps) * (gain * width**-0.5)
        return normed.to(self.dtype)

    def _attend(
        self,
        layer: LayerWeights[Linear],
        cache: torch.Tensor,
        h: torch.Tensor,
        rotary: torch.Tensor,
        places: torch.Tensor,
        hidden: torch.Tensor,
    ) -> torch.Tensor:
        """`[m, heads · head_dim]`. KV heads are the batch, and all rows share one reading of their keys and values."""
        shape = self.shape
        count, turned = h.shape[0], shape.heads + shape.kv_heads
        qkv = layer.qkv.product(h).float().view(count, turned + shape.kv_heads, shape.head_dim)
        qk = qkv[:, :turned]
        if layer.query_key_gain is not None:
            normed = F.rms_norm(qk, (shape.head_dim,), None, shape.norm_eps)
            qk = normed * (layer.query_key_gain * shape.head_dim**-0.5)
        pairs = torch.view_as_complex(qk.reshape(count, turned, -1, 2))
        qk = torch.view_as_real(pairs * rotary).view(count, turned, shape.head_dim).to(self.dtype)
        block, offset = places // KV_BLOCK, places % KV_BLOCK
        cache[0][block, :, offset] = qk[:, shape.heads :]
        cache[1][block, :, offset] = qkv[:, turned:].to(self.dtype)
        groups, blocks = shape.heads // shape.kv_heads, hidden.shape[0]
        queries = qk[:, : shape.heads].view(count, shape.kv_heads, groups, shape.head_dim)
        queries = queries.transpose(0, 1).reshape(shape.kv_heads, count * groups, shape.head_dim)
        mixed = _mix(queries, cache[0][:blocks], cache[1][:blocks], hidden)
        mixed = mixed.view(shape.kv_heads, count, groups, shape.head_dim).transpose(0, 1)
        return mixed.reshape(count, shape.heads * shape.head_dim).to(self.dtype)


def _mix(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    """Attention of `queries [heads, rows, head_dim]` over `[blocks, heads, KV_BLOCK, head_dim]`, float32: every block by
    itself, then their sums. `hidden` is `[blocks, 1, rows, KV_BLOCK]`."""
    blocks, heads, size, width = keys.shape
    every = queries.expand(blocks, -1, -1, -1).reshape(blocks * heads, -1, width)
    scores = torch.bmm(every, keys.reshape(blocks * heads, size, width).transpose(1, 2))
    scores = scores.view(blocks, heads, -1, size).float().masked_fill(hidden, float("-inf"))
    weights = torch.exp(scores - scores.amax((0, 3), keepdim=True))
    total = weights.sum((0, 3))
    parts = torch.bmm(
        weights.to(values.dtype).view(blocks * heads, -1, size), values.reshape(blocks * heads, size, width)
    )
    return parts.view(blocks, heads, -1, width).float().sum(0) / total[..., None]


def plain_linear(weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
    """The library's own product, in the weight's dtype."""
    size = weight.numel() + (bias.numel() if bias is not None else 0)
    return Linear(lambda x: F.linear(x, weight, bias), "plain", size * weight.itemsize)
