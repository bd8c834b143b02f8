"""The same decoder with everything between its matrix products in compiled kernels, which are oneDNN's or int8.

For what `whole` does not do. Where numba is not installed `DecoderModel` serves, which says the same in torch's operators.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType

import torch
import torch.nn.functional as F  # noqa: N812 - the field's customary name

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.decoder.decoder import PREFILL_ROWS, DecoderModel
from chatapp.engine.backends.decoder.linears import Linear, Product
from chatapp.engine.backends.decoder.shape import DecoderShape
from chatapp.engine.backends.decoder.tiles import TiledCache, position_turns
from chatapp.engine.backends.decoder.weights import LayerWeights, MakeLinear

SHARED_FROM_BYTES = 1 << 20
"""Keys and values of a layer from which several threads share its heads. Waking them takes some 20 µs."""


def kernels() -> ModuleType | None:
    """None where numba is not there, or has no compiler for this processor."""
    try:
        from chatapp.engine.backends.decoder import kernels as compiled
    except (ImportError, OSError):
        return None
    return compiled


@dataclass(frozen=True, slots=True)
class _Layer:
    """Products give the activations' dtype. The rest are addresses; what they point to is in `DecoderModel._layers`."""

    qkv: Product
    out: Product
    gate_up: Product
    down: Product
    query_key_gain: int
    mlp_gain: int
    next_gain: int


class FusedDecoder(DecoderModel):
    """Implements `contracts.CausalModel`; arguments are those of `DecoderModel`."""

    def __init__(
        self,
        shape: DecoderShape,
        weights: MutableMapping[str, torch.Tensor],
        linear: MakeLinear,
        kv_dtype: torch.dtype,
        info: ModelInfo,
    ) -> None:
        super().__init__(shape, weights, linear, kv_dtype, info)
        compiled = kernels()
        assert compiled is not None
        # int8 products give float32; oneDNN's give what they read.
        int8 = any(one.kind.startswith("int8") for one in self.linears)
        self._dtype = torch.float32 if int8 else kv_dtype
        self._kernels = compiled
        act, kv = (str(dtype).removeprefix("torch.") for dtype in (self._dtype, kv_dtype))
        self._normalise: Callable[..., None] = compiled.normalising(act)
        self._gate: Callable[..., None] = compiled.gating(act)
        self._attend_heads: Callable[..., None] = compiled.attending(act, kv)
        self._turns = position_turns(shape)
        self._fused = [self._layer(index, layer) for index, layer in enumerate(self._layers)]
        self._last = self._product(self._head)
        self._size_eps = shape.hidden * shape.norm_eps
        self._kv = TiledCache(shape, kv_dtype, compiled)
        self._buffers(PREFILL_ROWS)
        self._scratch = torch.empty(0)
        self._pool: ThreadPoolExecutor | None = None

    def _layer(self, index: int, layer: LayerWeights[Linear]) -> _Layer:
        following = self._layers[index + 1].attention_gain if index + 1 < len(self._layers) else self._gain
        gain = layer.query_key_gain
        return _Layer(
            qkv=self._product(layer.qkv),
            out=self._product(layer.out),
            gate_up=self._product(layer.gate_up),
            down=self._product(layer.down),
            query_key_gain=gain.data_ptr() if gain is not None else 0,
            mlp_gain=layer.mlp_gain.data_ptr(),
            next_gain=following.data_ptr(),
        )

    def _product(self, linear: Linear) -> Product:
        if self._dtype == torch.bfloat16 or linear.kind.startswith("int8"):
            return linear.product
        return lambda x: linear.product(x).float()  # as it is, where it is float32 already

    def _buffers(self, rows: int) -> None:
        shape, dtype = self.shape, self._dtype
        self._x = torch.zeros(rows, shape.hidden)
        self._h = torch.zeros(rows, shape.hidden, dtype=dtype)
        # Rows that only fill a pass up are multiplied too: they must be numbers.
        self._mixed = torch.zeros(rows, shape.heads * shape.head_dim, dtype=dtype)
        self._wide = torch.zeros(rows, shape.intermediate, dtype=dtype)

    def _pass(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        count = len(ids)
        total = max(count, self.least_rows)
        if total > self._x.shape[0]:
            self._buffers(total)
        self._kv.hold(start + count)
        tokens = torch.tensor(ids if total == count else [*ids, *[0] * (total - count)])
        x, h, mixed, wide = self._x[:total], self._h[:total], self._mixed[:total], self._wide[:total]
        x.copy_(F.embedding(tokens, self._embedding))
        x_at, h_at, wide_at, mixed_at = x.data_ptr(), h.data_ptr(), wide.data_ptr(), mixed.data_ptr()
        hidden, inner, eps = self.shape.hidden, self.shape.intermediate, self._size_eps
        normalise, gate = self._normalise, self._gate
        attend = self._attending(start, count, self._kv.tiles)
        normalise(x_at, 0, self._layers[0].attention_gain.data_ptr(), h_at, total, hidden, eps)
        for layer, kv in zip(self._fused, self._kv.layers, strict=True):
            qkv = layer.qkv(h)
            attend(qkv.data_ptr(), mixed_at, kv.data_ptr(), layer.query_key_gain)
            # Named, so that they live for as long as a kernel reads them.
            added = layer.out(mixed)
            normalise(x_at, added.data_ptr(), layer.mlp_gain, h_at, total, hidden, eps)
            gate_up = layer.gate_up(h)
            gate(gate_up.data_ptr(), wide_at, total, inner)
            added = layer.down(wide)
            normalise(x_at, added.data_ptr(), layer.next_gain, h_at, total, hidden, eps)
        read = self._read_by_head(count, total, rows)
        logits = self._last(h[total - read :]).float()
        return logits[count - rows - (total - read) :][:rows]

    def _attending(self, start: int, count: int, tiles: int) -> Callable[[int, int, int, int], None]:
        """Attention of one layer over all heads, as a function of the addresses of qkv, out, a cache of so many tiles, and
        the gain of queries and keys (0: none)."""
        shape, kernel, turns = self.shape, self._attend_heads, self._turns.data_ptr()
        heads, kv_heads, size = shape.heads, shape.kv_heads, shape.head_dim
        eps = size * shape.norm_eps
        parts = self._parts(start + count)
        each = self._make_scratch(start + count, count, parts)
        scratch = self._scratch.data_ptr()
        if parts == 1:

            def alone(qkv: int, out: int, cache: int, gain: int) -> None:
                kernel(
                    qkv, out, cache, tiles, turns, gain, scratch, start, count, heads, kv_heads, size, eps, 0, kv_heads
                )  # fmt: skip

            return alone
        if self._pool is None:
            self._pool = ThreadPoolExecutor(parts - 1, "chatapp-heads")
        pool, bounds = self._pool, [kv_heads * part // parts for part in range(parts + 1)]

        def together(qkv: int, out: int, cache: int, gain: int) -> None:
            def some(part: int) -> None:
                place = scratch + part * each * 4
                first, stop = bounds[part], bounds[part + 1]
                kernel(
                    qkv, out, cache, tiles, turns, gain, place, start, count, heads, kv_heads, size, eps, first, stop
                )  # fmt: skip

            others = [pool.submit(some, part) for part in range(1, parts)]
            some(0)
            for other in others:
                other.result()

        return together

    def attention_probe(self, depth: int, rows: int) -> Callable[[int, int], torch.Tensor]:
        shape, start = self.shape, depth - rows
        width = (shape.heads + 2 * shape.kv_heads) * shape.head_dim
        qkv = torch.randn(rows, width, generator=torch.Generator().manual_seed(1)).to(self._dtype)
        kv, tiles = self._kv.made_up(depth)
        gain = self._fused[0].query_key_gain

        def mixed(first: int, count: int) -> torch.Tensor:
            out = torch.empty(count, shape.heads * shape.head_dim, dtype=self._dtype)
            part = qkv[first : first + count]
            self._attending(start + first, count, tiles)(part.data_ptr(), out.data_ptr(), kv.data_ptr(), gain)
            return out

        return mixed

    def _parts(self, length: int) -> int:
        shape = self.shape
        read = 2 * shape.kv_heads * shape.head_dim * length * self.attention.dtype.itemsize
        return 1 if read < SHARED_FROM_BYTES else min(torch.get_num_threads(), shape.kv_heads)

    def _make_scratch(self, length: int, count: int, parts: int) -> int:
        """Room for queries, scores and mixes of a chunk, of every part; returns the float32 numbers of one."""
        queries: int = min(count, self._kernels.CHUNK) * (self.shape.heads // self.shape.kv_heads)
        each: int = self._kernels.scratch_numbers(queries, self.shape.head_dim, length)
        if self._scratch.numel() < parts * each:
            self._scratch = torch.empty(2 * parts * each)
        return each
