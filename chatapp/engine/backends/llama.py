"""The fast path: a Llama decoder written for one sequence on a CPU.

What makes it fast at batch 1: fused QKV and gate/up matrices packed once for oneDNN, KV buffers allocated once and
addressed by position (a rewind costs nothing), rotary factors computed ahead, no module machinery per call.

What makes it exact: a row's logits are the same bits wherever the row stands in a window. oneDNN's packed product gives
rows that do not depend on how many there are; attention runs one row per batch entry, over a KV length tied to the row's
own block of `KV_BLOCK` positions. `measure_row_exactness` checks both on the machine at hand, and where the check fails
every pass is padded to a constant number of rows.

Source of the architecture: Touvron et al. 2023; weights and names as Hugging Face stores them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's customary name

from chatapp.domain.events import ModelInfo

KV_BLOCK = 128
PADDED_ROWS = 16
Linear = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The numbers of config.json that the forward needs."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    context_limit: int
    rope_theta: float
    norm_eps: float


@dataclass(frozen=True, slots=True)
class _Layer:
    attention_norm: torch.Tensor
    qkv: Linear
    out: Linear
    mlp_norm: torch.Tensor
    gate_up: Linear
    down: Linear
    keys: torch.Tensor
    values: torch.Tensor


class LlamaModel:
    """Implements `contracts.CausalModel` in float32 on the CPU.

    `weights` are Hugging Face names without the `model.` prefix (`lm_head.weight` may be missing: tied). They are
    consumed; the packed copies stay.
    """

    def __init__(self, shape: LlamaShape, weights: Mapping[str, torch.Tensor], info: ModelInfo) -> None:
        self.info = info
        self.vocabulary = shape.vocabulary
        self.context_limit = shape.context_limit
        self._shape = shape
        self._pad_rows = 0
        self.exact_rows = False
        self._embedding = weights["embed_tokens.weight"]
        self._norm = weights["norm.weight"]
        self._head = packed_linear(weights.get("lm_head.weight", self._embedding))
        self._layers = [self._layer(weights, f"layers.{index}.") for index in range(shape.layers)]
        self._rotary = _rotary(shape)
        self._positions = torch.arange(shape.context_limit)
        with torch.inference_mode():
            self.exact_rows = self._choose_rows()

    @property
    def prefill_rows(self) -> int:
        """Chunks small enough that a cancel is heard, and of a size whose rows were checked to be exact."""
        return self._pad_rows or 64

    def _layer(self, weights: Mapping[str, torch.Tensor], prefix: str) -> _Layer:
        shape = self._shape
        attention, mlp = prefix + "self_attn.", prefix + "mlp."
        q, k, v = (weights[f"{attention}{name}_proj.weight"] for name in "qkv")
        q, k = _interleave(q, shape.head_dim), _interleave(k, shape.head_dim)
        cache = (shape.kv_heads, shape.context_limit, shape.head_dim)
        return _Layer(
            attention_norm=weights[prefix + "input_layernorm.weight"],
            qkv=packed_linear(torch.cat([q, k, v])),
            out=packed_linear(weights[attention + "o_proj.weight"]),
            mlp_norm=weights[prefix + "post_attention_layernorm.weight"],
            gate_up=packed_linear(
                torch.cat([weights[mlp + "gate_proj.weight"], weights[mlp + "up_proj.weight"]])
            ),
            down=packed_linear(weights[mlp + "down_proj.weight"]),
            keys=torch.zeros(cache),
            values=torch.zeros(cache),
        )

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        count = len(ids)
        if start + count > self.context_limit:
            raise ValueError(f"position {start + count} is past the context of {self.context_limit}")
        if not self._pad_rows:
            with torch.inference_mode():
                return self._forward(ids, start, rows)
        return self._padded(ids, start, rows)

    def traffic(self, count: int, start: int) -> int:
        return 0

    def _padded(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        """Passes of exactly `PADDED_ROWS` rows, filled up with junk rows that have no place in the cache."""
        results = []
        with torch.inference_mode():
            for begin in range(0, len(ids), PADDED_ROWS):
                part = ids[begin : begin + PADDED_ROWS]
                junk = PADDED_ROWS - len(part)
                results.append(self._forward(part, start + begin, len(part), junk=junk))
            return torch.cat(results)[-rows:]

    def _forward(self, ids: Sequence[int], start: int, rows: int, junk: int = 0) -> torch.Tensor:
        """`junk` rows are appended behind the real ones and never stored; the head sees them too."""
        count = len(ids)
        end = start + count
        x = F.embedding(torch.tensor([*ids, *([0] * junk)]), self._embedding)
        rotary = self._rotary[start:end]
        if junk:
            rotary = torch.cat([rotary, self._rotary[:1].expand(junk, -1, -1)])
        groups = self._attention_groups(start, count)
        for layer in self._layers:
            h = F.rms_norm(x, (self._shape.hidden,), layer.attention_norm, self._shape.norm_eps)
            x = x + layer.out(self._attend(layer, layer.qkv(h), rotary, groups, start, count))
            h = F.rms_norm(x, (self._shape.hidden,), layer.mlp_norm, self._shape.norm_eps)
            gate, up = layer.gate_up(h).chunk(2, dim=-1)
            x = x + layer.down(F.silu(gate) * up)
        if not junk:
            x = x[count - rows :]
        x = F.rms_norm(x, (self._shape.hidden,), self._norm, self._shape.norm_eps)
        logits = self._head(x)
        return logits[:rows] if junk else logits

    def _attention_groups(self, start: int, count: int) -> list[tuple[int, int, int, torch.Tensor]]:
        """Rows by KV block: `(first row, end row, KV length, additive mask [rows, 1, 1, KV])`."""
        groups = []
        row = 0
        while row < count:
            length = min((start + row) // KV_BLOCK * KV_BLOCK + KV_BLOCK, self.context_limit)
            stop = min(count, length - start)
            positions = self._positions[start + row : start + stop]
            hidden = self._positions[:length] > positions[:, None]
            mask = torch.zeros(stop - row, length).masked_fill_(hidden, float("-inf"))
            groups.append((row, stop, length, mask[:, None, None, :]))
            row = stop
        return groups

    def _attend(
        self,
        layer: _Layer,
        qkv: torch.Tensor,
        rotary: torch.Tensor,
        groups: list[tuple[int, int, int, torch.Tensor]],
        start: int,
        count: int,
    ) -> torch.Tensor:
        """`[rows, hidden]`. One batch entry per row: its softmax and its sums see nothing of the other rows."""
        shape = self._shape
        total = qkv.shape[0]
        turned = shape.heads + shape.kv_heads
        qkv = qkv.view(total, turned + shape.kv_heads, shape.head_dim)
        # Rotary pairs were interleaved at load, so that one complex product turns queries and keys together.
        pairs = torch.view_as_complex(qkv[:, :turned].reshape(total, turned, shape.head_dim // 2, 2))
        qk = torch.view_as_real(pairs * rotary).view(total, turned, shape.head_dim)
        end = start + count
        layer.keys[:, start:end] = qk[:count, shape.heads :].transpose(0, 1)
        layer.values[:, start:end] = qkv[:count, turned:].transpose(0, 1)
        queries = qk[:, : shape.heads].reshape(
            total, shape.kv_heads, shape.heads // shape.kv_heads, shape.head_dim
        )
        parts = []
        for first, stop, length, mask in groups:
            parts.append(
                F.scaled_dot_product_attention(
                    queries[first:stop],
                    layer.keys[:, :length].expand(stop - first, -1, -1, -1),
                    layer.values[:, :length].expand(stop - first, -1, -1, -1),
                    attn_mask=mask,
                )
            )
        if total > count:
            parts.append(queries[count:])
        mixed = parts[0] if len(parts) == 1 else torch.cat(parts)
        return mixed.reshape(total, shape.heads * shape.head_dim)

    def _choose_rows(self) -> bool:
        """True when rows are exact as they are, or are made so by padding; sets the padding."""
        if self.measure_row_exactness():
            return True
        self._pad_rows = PADDED_ROWS
        return self.measure_row_exactness()

    def measure_row_exactness(self) -> bool:
        """Whether rows computed together and one by one are the same bits, KV included, on this machine.

        The KV that the check writes lies at positions that any later use overwrites first.
        """
        count = min(24, self.context_limit)
        ids = [(7 * index + 3) % self.vocabulary for index in range(count)]
        single = torch.cat([self.forward([token], at, 1) for at, token in enumerate(ids)])
        for width in (2, 3, 5, 8, 13, 16, count):
            together = [
                self.forward(ids[at : at + width], at, len(ids[at : at + width]))
                for at in range(0, count, width)
            ]
            if not torch.equal(torch.cat(together), single):
                return False
        # A prefill chunk is the widest pass of all.
        chunk = [*ids, *[0] * (self.prefill_rows - count)][: self.context_limit]
        return torch.equal(self.forward(chunk, 0, len(chunk))[:count], single)


def packed_linear(weight: torch.Tensor) -> Linear:
    """`x [rows, in] → [rows, out]` with `weight [out, in]` packed for oneDNN; plain where torch was built without it."""
    weight = weight.contiguous()
    operators = torch.ops.mkldnn
    if not (torch._C._has_mkldnn and hasattr(operators, "_reorder_linear_weight")):
        return lambda x: F.linear(x, weight)
    packed = operators._reorder_linear_weight(weight, PADDED_ROWS)
    product = operators._linear_pointwise
    return lambda x: product(x, packed, None, "none", [], "")


def _interleave(weight: torch.Tensor, head_dim: int) -> torch.Tensor:
    """Reorder each head's output rows from (first half, second half) to pairs; queries and keys alike, so that every dot
    product stays what it was."""
    heads = weight.shape[0] // head_dim
    return weight.view(heads, 2, head_dim // 2, -1).transpose(1, 2).reshape(weight.shape)


def _rotary(shape: LlamaShape) -> torch.Tensor:
    """Unit complex factors `[context, 1, head_dim / 2]` (Su et al. 2021)."""
    exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
    angles = torch.outer(
        torch.arange(shape.context_limit, dtype=torch.float32), 1.0 / shape.rope_theta**exponents
    )
    return torch.polar(torch.ones_like(angles), angles)[:, None, :]
