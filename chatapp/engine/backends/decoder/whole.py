"""The same decoder in one compiled call a pass, its matrix products included: at batch 1 half of the time of calling them
one by one, and for small models a third.

Rows do not depend on one another: every sum has an order of its own. Threads share a pass by columns and heads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's customary name

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.decoder.decoder import PREFILL_ROWS
from chatapp.engine.backends.decoder.shape import DecoderShape
from chatapp.engine.backends.decoder.tiles import TiledCache, position_turns, untouched_zeros
from chatapp.engine.backends.decoder.weights import gain, take_layer

SHARED_FROM_BYTES = 1 << 24
"""What a pass must read, for each of its first rows, for several threads to share it. Waking them takes some 50 µs."""
ROWS_AT_MEMORYS_SPEED = 8
START_SECONDS = 5.0
HeadProduct = Callable[[torch.Tensor], torch.Tensor]


def processor_suits(compiled: ModuleType) -> bool:
    """Whether this is faster than oneDNN's products, as it is with vectors of 256 bits and more; matrix units (AMX) are
    oneDNN's alone."""
    return compiled.LANES >= 8 and not torch.cpu._is_amx_tile_supported()


def suits(shape: DecoderShape, compiled: ModuleType) -> bool:
    """The same for a model."""
    return processor_suits(compiled) and comes_in_pairs(shape)


def comes_in_pairs(shape: DecoderShape) -> bool:
    """Whether every sum is of an even number of products, as those of bfloat16 must be."""
    return not any(size % 2 for size in (shape.hidden, shape.heads * shape.head_dim, shape.intermediate))


@dataclass(frozen=True, slots=True)
class Strips:
    """A matrix `[out, in]` as `kernels.panels.matrix_product` reads it, and its bias in float32."""

    weights: torch.Tensor
    bias: torch.Tensor | None
    bytes_read: int
    """Of the matrix itself, without what fills the last vector."""

    @property
    def bias_at(self) -> int:
        return 0 if self.bias is None else self.bias.data_ptr()


@dataclass(frozen=True, slots=True)
class _Room:
    """What there is room for: rows of a pass, positions, threads that share it."""

    rows: int
    seen: int
    parts: int


class WholeDecoder:
    """Implements `contracts.CausalModel`.

    `weights` are Hugging Face names without the `model.` prefix (no `lm_head.weight`: tied), all float32 or all bfloat16,
    which is what matrices read and the KV is in; what is summed up is float32. They are taken out of the mapping.
    """

    backend = "decoder"
    prefill_rows = PREFILL_ROWS

    def __init__(
        self,
        shape: DecoderShape,
        weights: MutableMapping[str, torch.Tensor],
        info: ModelInfo,
        compiled: ModuleType,
        *,
        product: HeadProduct | None = None,
        product_bytes: int = 0,
    ) -> None:
        """`compiled` are the kernels. `product` multiplies with the head in torch (`[rows, hidden]` to `[rows, V]`), reading
        `product_bytes`; None leaves that to the kernel."""
        self.info = info
        self.vocabulary = shape.vocabulary
        self.context_limit = shape.context_limit
        self.shape = shape
        self.exact_rows = False
        """A row's logits are the same bits at any place of any window (`exactness` measures it)."""
        self._compiled = compiled
        self._embedding = weights.pop("embed_tokens.weight").contiguous()
        self.dtype = self._embedding.dtype
        self._gain = gain(weights.pop("norm.weight"))
        self._product = product
        head = weights.pop("lm_head.weight", self._embedding)
        self._head = None if product is not None else self._strips(head, None)
        self._width = shape.hidden if product is not None else self._whole(shape.vocabulary)
        self._layers = [take_layer(shape, weights, index, self._strips) for index in range(shape.layers)]
        self._turns = position_turns(shape)
        self._kv = TiledCache(shape, self.dtype, compiled)
        self._kernel: Callable[..., None] = compiled.passing(str(self.dtype).removeprefix("torch."))
        self._addresses = np.zeros((shape.layers, compiled.LAYER_NUMBERS), np.int64)
        for numbers, layer in zip(self._addresses, self._layers, strict=True):
            query_key = layer.query_key_gain
            numbers[:11] = (
                layer.attention_gain.data_ptr(), *_places(layer.qkv), 0 if query_key is None else query_key.data_ptr(),
                *_places(layer.out), layer.mlp_gain.data_ptr(), *_places(layer.gate_up), *_places(layer.down),
            )  # fmt: skip
        self._meeting = untouched_zeros((compiled.MEETING_BYTES,), torch.uint8)
        self._model = self._numbers()
        self._room = _Room(0, 0, 1)
        self._scratch = torch.empty(0)
        self._ids = np.zeros(PREFILL_ROWS, np.int64)
        # To ask numpy for them takes longer than some of the work.
        self._model_at, self._ids_at = self._model.ctypes.data, self._ids.ctypes.data
        self._pool: ThreadPoolExecutor | None = None
        self._pool_parts = 1
        matrices = [one for layer in self._layers for one in layer.linears]
        head_bytes = product_bytes if self._head is None else self._head.bytes_read
        self._weight_bytes = head_bytes + sum(one.bytes_read for one in matrices)

    def _numbers(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """What `kernels.whole.MODEL_NUMBERS` names, in that order; what grows is written in by `_make_room`."""
        shape = self.shape
        numbers = np.zeros(self._compiled.MODEL_NUMBERS, np.int64)
        numbers[:] = (
            self._addresses.ctypes.data, shape.layers, self._embedding.data_ptr(), self._gain.data_ptr(),
            *((0, 0) if self._head is None else _places(self._head)), shape.vocabulary, 0, self._turns.data_ptr(), 0,
            self._meeting.data_ptr(), shape.hidden, shape.heads, shape.kv_heads, shape.head_dim, shape.intermediate,
        )  # fmt: skip
        return numbers

    def _whole(self, columns: int) -> int:
        lanes: int = self._compiled.LANES
        return -(-columns // lanes) * lanes

    def _strips(self, weight: torch.Tensor, bias: torch.Tensor | None) -> Strips:
        """`[out, in]` to `[in, STRIP]` after `[in, STRIP]`, bfloat16 to `[in / 2, STRIP, 2]`; the last as wide as it is."""
        out, into = weight.shape
        columns = self._whole(out)
        pair = 4 // weight.element_size()
        laid_out = untouched_zeros((columns * into,), weight.dtype)
        for column in range(0, columns, self._compiled.STRIP):
            part = weight[column : column + self._compiled.STRIP]
            wide = min(self._compiled.STRIP, columns - column)
            part = F.pad(part, (0, 0, 0, wide - part.shape[0])).view(wide, into // pair, pair)
            laid_out[column * into :][: wide * into] = part.transpose(0, 1).reshape(-1)
        if bias is None:
            return Strips(laid_out, None, weight.nbytes)
        in_vectors = untouched_zeros((columns,), torch.float32)
        in_vectors[:out] = bias
        return Strips(laid_out, in_vectors, weight.nbytes + in_vectors.nbytes)

    def traffic(self, count: int, start: int) -> int:
        """See `contracts.CausalModel`."""
        shape = self.shape
        positions = 2 * shape.layers * shape.kv_heads * shape.head_dim * (start + count)
        return self._weight_bytes + self.dtype.itemsize * (positions + count * shape.hidden)

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        """See `contracts.CausalModel`."""
        count = len(ids)
        if start + count > self.context_limit:
            raise ValueError(f"position {start + count} is past the context of {self.context_limit}")
        if start < 0 or not 0 < rows <= count:
            raise ValueError(f"{rows} rows of {count} from position {start} on")
        if min(ids) < 0 or max(ids) >= self.vocabulary:
            raise IndexError(f"ids must lie in 0 … {self.vocabulary - 1}")
        if count > len(self._ids):
            self._ids = np.zeros(count, np.int64)
            self._ids_at = self._ids.ctypes.data
        self._ids[:count] = ids
        parts = self._parts(count, start) if torch.get_num_threads() > 1 else 1
        room = self._room
        if count > room.rows or start + count > room.seen or parts > room.parts:
            self._make_room(count, start + count, parts)
        result = torch.empty(rows, self._width)
        self._run(
            parts, self._model_at, self.shape.norm_eps, self._ids_at, count, start, rows, result.data_ptr()
        )
        if self._product is None:
            return result if self._width == self.vocabulary else result[:, : self.vocabulary]
        with torch.inference_mode():
            return self._product(result).float()

    def _make_room(self, rows: int, seen: int, parts: int) -> None:
        """For passes of so many rows that end at position `seen`, and twice that, so that a reply seldom needs more."""
        self._kv.hold(seen)
        self._addresses[:, 11] = [layer.data_ptr() for layer in self._kv.layers]
        self._model[7] = self._kv.tiles
        held, old = self._kv.tiles * self._compiled.TILE, self._room
        room = _Room(max(rows, old.rows), min(held, self.context_limit), max(parts, old.parts))
        self._scratch = self._scratch_for(room)
        self._model[9] = self._scratch.data_ptr()
        self._room = room

    def _scratch_for(self, room: _Room) -> torch.Tensor:
        shape = self.shape
        size: int = self._compiled.measuring()(
            self.dtype.itemsize, room.rows, room.seen, room.parts, shape.hidden, shape.heads, shape.kv_heads,
            shape.head_dim, shape.intermediate,
        )  # fmt: skip
        return untouched_zeros((size,), torch.uint8)

    def _parts(self, count: int, start: int) -> int:
        """How many threads share a pass."""
        threads = torch.get_num_threads()
        if self.traffic(count, start) * -(-count // ROWS_AT_MEMORYS_SPEED) < SHARED_FROM_BYTES:
            return 1
        if threads != self._pool_parts:
            self._start_pool(threads)
        return self._pool_parts if self._pool is not None else 1

    def _start_pool(self, parts: int) -> None:
        """All threads at once: those of a pass wait for one another, and one that did not come would be waited for in vain."""
        if self._pool is not None:
            self._pool.shutdown()
        self._pool, self._pool_parts = None, parts
        pool, all_there = ThreadPoolExecutor(parts - 1, "chatapp-pass"), threading.Barrier(parts)
        try:
            for _ in range(parts - 1):
                pool.submit(all_there.wait, START_SECONDS)
            all_there.wait(START_SECONDS)
        except (RuntimeError, threading.BrokenBarrierError):  # the system starts no more threads
            all_there.abort()
            pool.shutdown(wait=False)
            return
        self._pool = pool

    def _run(self, parts: int, *what: float) -> None:
        """`what` is all but the last two of `kernels.passing`'s arguments."""
        if parts == 1:
            self._kernel(*what, 0, 1)
            return
        assert self._pool is not None
        others: list[Future[None]] = []
        try:
            for part in range(1, parts):
                others += [self._pool.submit(self._kernel, *what, part, parts)]
            self._kernel(*what, 0, parts)
        except BaseException:
            # Python takes no more work while it ends, and may be interrupted: those that began wait for ones that never come.
            self._meeting[self._compiled.GIVEN_UP] = 1
            wait(others)
            self._meeting.zero_()
            raise
        for other in others:
            other.result()

    def attention_probe(self, depth: int, rows: int) -> Callable[[int, int], torch.Tensor]:
        """See `DecoderModel.attention_probe`; the first layer as a whole, so that it is the same compiled code."""
        layer = self._addresses[:1].copy()
        kv, tiles = self._kv.made_up(depth)
        layer[0, 11] = kv.data_ptr()
        scratch = self._scratch_for(_Room(rows, depth, 1))
        model = self._numbers()
        model[0], model[1], model[4], model[7], model[9] = layer.ctypes.data, 1, 0, tiles, scratch.data_ptr()
        ids = np.array([(7 * index + 3) % self.vocabulary for index in range(rows)], np.int64)
        start = depth - rows

        def mixed(first: int, count: int, _read: object = (layer, kv, scratch)) -> torch.Tensor:
            result = torch.empty(count, self.shape.hidden)
            places = (model.ctypes.data, self.shape.norm_eps, ids[first:].ctypes.data)
            self._run(1, *places, count, start + first, count, result.data_ptr())
            return result

        return mixed


def _places(matrix: Strips) -> tuple[int, int]:
    return matrix.weights.data_ptr(), matrix.bias_at
