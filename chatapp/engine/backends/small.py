"""Small decoders in one compiled call, for drafts.

Below a few million weights every call costs more than what it computes, so the whole forward is one. For draft models: a
target that small would be served by it as well, but its rows would not be those of the products that larger ones use.

Where numba is not installed, `tiny` does the same in numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's customary name

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.decoder.fused import position_turns, untouched_zeros
from chatapp.engine.backends.decoder.rotary import interleave
from chatapp.engine.backends.decoder.shape import DecoderShape
from chatapp.engine.backends.decoder.weights import gain


class SmallDraft:
    """Implements `contracts.CausalModel` for plain Llama shapes: no biases, no query or key norm, plain rotary positions.

    `weights` are Hugging Face names without the `model.` prefix, all float32 or all bfloat16; what is computed in between
    is float32. A missing `lm_head.weight` means tied.
    """

    backend = "small"
    prefill_rows = 64

    def __init__(
        self,
        shape: DecoderShape,
        weights: Mapping[str, torch.Tensor],
        info: ModelInfo,
        compiled: ModuleType,
        *,
        product: Callable[[torch.Tensor], torch.Tensor] | None = None,
        product_bytes: int = 0,
    ) -> None:
        """`compiled` are the kernels. `product` multiplies with the head in torch (`[rows, hidden]` to `[rows, V]`), reading
        `product_bytes`; None leaves that to the kernel."""
        self.info = info
        self.vocabulary = shape.vocabulary
        self.context_limit = shape.context_limit
        self._shape = shape
        self._strip: int = compiled.STRIP
        self._embedding = weights["embed_tokens.weight"].contiguous()
        self._gain = gain(weights["norm.weight"])
        self._product = product
        self._head = None if product else self._strips(weights.get("lm_head.weight", self._embedding))
        self._width = shape.hidden if product else self._whole(shape.vocabulary)
        self._kept = [self._layer(weights, f"layers.{index}.") for index in range(shape.layers)]
        self._addresses = torch.tensor(
            [part.data_ptr() if part is not None else 0 for layer in self._kept for part in layer]
        )
        self._turns = position_turns(shape)
        dtype = self._embedding.dtype
        self._kernel: Callable[..., None] = compiled.drafting(str(dtype).removeprefix("torch."))
        tile, lanes = compiled.TILE, compiled.LANES
        self._tiles: int = -(-shape.context_limit // tile)
        padded: int = -(-shape.head_dim // lanes) * lanes
        room = (shape.layers, shape.kv_heads, 2, self._tiles, padded * tile)
        self._cache = untouched_zeros(room, torch.float32)
        widest = max(
            (shape.heads + 2 * shape.kv_heads) * shape.head_dim, 2 * shape.intermediate, shape.hidden
        )
        group = shape.heads // shape.kv_heads
        scores = group * (shape.head_dim + padded + 1 + self._tiles * tile + 16)
        self._scratch = torch.zeros(5 * self._whole(widest) + scores)
        self._ids = np.zeros(self.prefill_rows, np.int64)
        self._ids_at = self._ids.ctypes.data
        # Unpacking addresses takes longer than some of the work: they are the same in every call.
        self._before = (self._addresses.data_ptr(), shape.layers, self._embedding.data_ptr(), self._gain.data_ptr(),
            self._head.data_ptr() if self._head is not None else 0)  # fmt: skip
        self._behind = (self._width, self._cache.data_ptr(), self._cache[0].nbytes, self._tiles, self._turns.data_ptr(),
            self._scratch.data_ptr(), shape.hidden, shape.heads, shape.kv_heads, shape.head_dim, shape.intermediate,
            shape.norm_eps)  # fmt: skip
        matrices = [part for layer in self._kept for part in layer if part is not None and part.dim() > 1]
        head_bytes = product_bytes if self._head is None else self._head.nbytes
        self._weight_bytes = head_bytes + sum(matrix.nbytes for matrix in matrices)

    def _layer(self, weights: Mapping[str, torch.Tensor], prefix: str) -> tuple[torch.Tensor | None, ...]:
        """What `kernels.draft.LAYER_ADDRESSES` names, in that order."""
        attention, mlp = prefix + "self_attn.", prefix + "mlp."
        size = self._shape.head_dim
        queries, keys, values = (weights[f"{attention}{name}_proj.weight"] for name in "qkv")
        qkv = torch.cat([interleave(queries, size), interleave(keys, size), values])
        gate_up = torch.cat([weights[f"{mlp}{name}_proj.weight"] for name in ("gate", "up")])
        return (
            gain(weights[prefix + "input_layernorm.weight"]),
            self._strips(qkv),
            None,
            self._strips(weights[attention + "o_proj.weight"]),
            gain(weights[prefix + "post_attention_layernorm.weight"]),
            self._strips(gate_up),
            self._strips(weights[mlp + "down_proj.weight"]),
        )

    def _whole(self, columns: int) -> int:
        return -(-columns // self._strip) * self._strip

    def _strips(self, weight: torch.Tensor) -> torch.Tensor:
        """`[out, in]` to `[strips, in, STRIP]`."""
        out, into = weight.shape
        padded = F.pad(weight, (0, 0, 0, self._whole(out) - out))
        return padded.view(-1, self._strip, into).transpose(1, 2).contiguous()

    def traffic(self, count: int, start: int) -> int:
        """See `contracts.CausalModel`. Weights are counted once: they stay in the processor's cache."""
        shape = self._shape
        positions = self._cache.itemsize * shape.layers * shape.kv_heads * shape.head_dim * 2
        embedded = self._embedding.itemsize * count * shape.hidden
        return self._weight_bytes + positions * (start + count) + embedded

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        """See `contracts.CausalModel`."""
        count = len(ids)
        if start + count > self.context_limit:
            raise ValueError(f"position {start + count} is past the context of {self.context_limit}")
        if min(ids) < 0 or max(ids) >= self.vocabulary:
            raise IndexError(f"ids must lie in 0 … {self.vocabulary - 1}")
        if count > len(self._ids):
            self._ids = np.zeros(count, np.int64)
            self._ids_at = self._ids.ctypes.data
        self._ids[:count] = ids
        result = torch.empty(rows, self._width)
        self._kernel(self._ids_at, count, start, rows, *self._before, result.data_ptr(), *self._behind)
        if self._product is None:
            return result if self._width == self.vocabulary else result[:, : self.vocabulary]
        with torch.inference_mode():
            return self._product(result).float()
