"""The forward of a Llama-shaped decoder for one sequence on a CPU. Knows no file and no reason why it was chosen.

What makes it fast at batch 1: fused QKV and gate/up matrices laid out once for the kernel that reads them, KV
addressed by position (a rewind costs nothing), rotary factors computed ahead, few operators per layer and
no module machinery. The residual stream is float32 in every case; what the matrices read and the KV are in the checkpoint's
own numbers.

Source of the architecture: Touvron et al. 2023; Qwen3's query and key normalisation: Yang et al. 2025.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from functools import cached_property

import torch
import torch.nn.functional as F  # noqa: N812 - the field's customary name

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.decoder.attention import (
    KV_BLOCK,
    MOST_FILLED,
    Attention,
    Group,
    KeyValueCache,
    LayerCache,
)
from chatapp.engine.backends.decoder.linears import Linear
from chatapp.engine.backends.decoder.rotary import factors
from chatapp.engine.backends.decoder.shape import DecoderShape
from chatapp.engine.backends.decoder.weights import LayerWeights, MakeLinear, gain, take_layer

PREFILL_ROWS = 64
"""Small enough that a cancel is heard between passes, large enough that the matrices are read seldom."""


class DecoderModel:
    """Implements `contracts.CausalModel`.

    `weights` are Hugging Face names without the `model.` prefix (no `lm_head.weight`: tied). They are taken out of the
    mapping; what `linear` made of them stays. `kv_dtype` is float32 or bfloat16.
    """

    backend = "decoder"

    def __init__(
        self,
        shape: DecoderShape,
        weights: MutableMapping[str, torch.Tensor],
        linear: MakeLinear,
        kv_dtype: torch.dtype,
        info: ModelInfo,
    ) -> None:
        self.info = info
        self.vocabulary = shape.vocabulary
        self.context_limit = shape.context_limit
        self.shape = shape
        self.attention = Attention(
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            dtype=kv_dtype,
        )
        self._cache = KeyValueCache(
            layers=shape.layers, kv_heads=shape.kv_heads, head_dim=shape.head_dim, dtype=kv_dtype
        )
        self.least_rows = 1
        self.constant_rows = False
        self.exact_rows = False
        """A row's logits are the same bits at any place of any window (`exactness` measures it)."""
        self._embedding = weights.pop("embed_tokens.weight")
        self._gain = gain(weights.pop("norm.weight"))
        self._head = linear(weights.pop("lm_head.weight", self._embedding), None)
        self._layers = [take_layer(shape, weights, index, linear) for index in range(shape.layers)]
        self._turned = shape.heads + shape.kv_heads
        self._kind = torch.tensor([0] * shape.heads + [1] * shape.kv_heads + [2] * shape.kv_heads)
        # √(sum of squares + size · eps) is the hypotenuse of the norm and √(size · eps).
        self._hidden_eps = torch.tensor((shape.hidden * shape.norm_eps) ** 0.5)
        self._head_eps = torch.tensor((shape.head_dim * shape.norm_eps) ** 0.5)
        self._weight_bytes = sum(linear.bytes_read for linear in self.linears)

    @cached_property
    def _rotary(self) -> torch.Tensor:
        """Computed by the first pass that needs it: at long contexts these are hundreds of megabytes, and compiled kernels
        have their own."""
        return factors(self.shape.rotary, self.shape.head_dim, self.shape.context_limit + MOST_FILLED)

    @property
    def linears(self) -> tuple[Linear, ...]:
        return (*(linear for layer in self._layers for linear in layer.linears), self._head)

    @property
    def prefill_rows(self) -> int:
        return self.least_rows if self.constant_rows else PREFILL_ROWS

    def probes(self) -> list[tuple[Linear, int, int]]:
        """Products of a layer and the head: each with the width of its rows and how many of the same shape there are."""
        shape, layer = self.shape, self._layers[0]
        widths = (shape.hidden, shape.heads * shape.head_dim, shape.hidden, shape.intermediate)
        alike = [(linear, width, shape.layers) for linear, width in zip(layer.linears, widths, strict=True)]
        return [*alike, (self._head, shape.hidden, 1)]

    def fill_up(self, least_rows: int, *, constant: bool = False) -> None:
        """From now on passes have at least this many rows (1 … 16), or exactly as many when `constant`."""
        self.least_rows = least_rows
        self.constant_rows = constant
        self.attention.least_rows = least_rows

    def traffic(self, count: int, start: int) -> int:
        embedded = count * self.shape.hidden * self._embedding.itemsize
        position = 2 * self.shape.kv_heads * self.shape.head_dim * self.attention.dtype.itemsize
        return self._weight_bytes + embedded + self.shape.layers * position * (start + count)

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        count = len(ids)
        if start + count > self.context_limit:
            raise ValueError(f"position {start + count} is past the context of {self.context_limit}")
        with torch.inference_mode():
            if start == 0:
                self._cache.clear()
            if not self.constant_rows or count <= self.least_rows:
                return self._pass(ids, start, rows)
            parts = []
            for begin in range(0, count, self.least_rows):
                part = ids[begin : begin + self.least_rows]
                parts.append(self._pass(part, start + begin, len(part)))
            return torch.cat(parts)[-rows:]

    def attention_probe(self, depth: int, rows: int) -> Callable[[int, int], torch.Tensor]:
        """Attention alone at a depth in the context, with made-up keys and values, so that nothing has to be computed up to
        there: what it gives for rows `first` … `first + count` of the last `rows` positions, computed together."""
        attention, shape = self.attention, self.shape
        generator = torch.Generator().manual_seed(1)
        queries = torch.randn(rows, shape.heads, shape.head_dim, generator=generator).to(attention.dtype)
        # One head's are drawn and the others' are the same.
        length = -(-depth // KV_BLOCK) * KV_BLOCK
        keys, values = (
            torch.randn(length, shape.head_dim, generator=generator)
            .to(attention.dtype)
            .expand(shape.kv_heads, -1, -1)
            .contiguous()
            for _ in range(2)
        )
        start = depth - rows

        def mixed(first: int, count: int) -> torch.Tensor:
            total = max(count, self.least_rows)
            part = queries[first : first + total]
            part = torch.cat([part, part[:1].expand(total - len(part), -1, -1)])
            return attention.mix(part, keys, values, attention.groups(start + first, count, total))[:count]

        return mixed

    def _pass(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        """One pass over the weights. Rows that fill it up stand behind the real ones and leave nothing in the KV."""
        count = len(ids)
        total = max(count, self.least_rows)
        tokens = torch.tensor(ids if total == count else [*ids, *[0] * (total - count)])
        x = F.embedding(tokens, self._embedding).float()
        rotary = self._rotary[start : start + total].index_select(1, self._kind)
        groups = self.attention.groups(start, count, total)
        self._cache.lay_out(groups[-1].length)
        for layer, cache in zip(self._layers, self._cache.layers, strict=True):
            h = normalised(x, layer.attention_gain, self._hidden_eps)
            x.add_(layer.out.product(self._attend(layer, cache, h, rotary, groups, start, count)))
            h = normalised(x, layer.mlp_gain, self._hidden_eps)
            gate, up = layer.gate_up.product(h).chunk(2, -1)
            x.add_(layer.down.product(F.silu(gate).mul_(up)))
        read = self._read_by_head(count, total, rows)
        logits = self._head.product(normalised(x[total - read :], self._gain, self._hidden_eps)).float()
        return logits[count - rows - (total - read) :][:rows]

    def _read_by_head(self, count: int, total: int, rows: int) -> int:
        """How many of the last rows of a pass: it is a product like the others, and gets as many as they need."""
        return total if total > count else min(max(rows, self.least_rows), count)

    def _attend(
        self,
        layer: LayerWeights[Linear],
        cache: LayerCache,
        h: torch.Tensor,
        rotary: torch.Tensor,
        groups: list[Group],
        start: int,
        count: int,
    ) -> torch.Tensor:
        """`[rows, heads · head_dim]`; the first `count` rows' keys and values go into the cache."""
        shape = self.shape
        qkv = layer.qkv.product(h).float()
        total = qkv.shape[0]
        if layer.query_key_gain is not None:
            qk = qkv.view(total, -1, shape.head_dim)[:, : self._turned]
            qk.copy_(normalised(qk, layer.query_key_gain, self._head_eps))
        torch.view_as_complex(qkv.view(total, -1, shape.head_dim // 2, 2)).mul_(rotary)
        heads = qkv.view(total, -1, shape.head_dim).to(self.attention.dtype)
        queries, written = heads.split_with_sizes((shape.heads, 2 * shape.kv_heads), 1)
        cache.both[:, start : start + count].copy_(written[:count].transpose(0, 1))
        return self.attention.mix(queries, cache.keys, cache.values, groups)


def normalised(x: torch.Tensor, gain: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """RMS normalisation of the last dimension in four operators, of which torch's own takes twice as many. `gain` holds
    √size, and `eps` is √(size · ε)."""
    return torch.div(x, torch.linalg.vector_norm(x, 2, -1, True).hypot_(eps)).mul_(gain)
