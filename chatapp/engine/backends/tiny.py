"""Very small Llama decoders in numpy, for drafts.

Below a few million weights a torch call costs more than what it computes; numpy's cost a fifth, which makes a draft step of
the built-in pair three times as fast. For draft models alone: a row's bits here depend on how many rows are computed
together, which a draft may (it changes what is proposed, never what is written) and a target may not.

The matrix products run in numpy's BLAS; `chatapp.__main__` keeps that to one thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.decoder.shape import DecoderShape

Matrix = npt.NDArray[np.float32]
LARGEST_LAYERS = 2_000_000
"""Parameters of all layers, without embedding and head. Above it they leave the second-level cache, and oneDNN or int8
kernels are as fast."""
LARGEST_HEAD = 1_000_000
"""Parameters of a head that numpy reads as fast as any kernel; a larger one is better read in fewer bytes."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """Matrices are `[in, out]`, with the weights of the norm in front multiplied into their rows. KV is `[kv heads,
    context, head_dim]`."""

    qkv: Matrix
    out: Matrix
    gate_up: Matrix
    down: Matrix
    keys: Matrix
    values: Matrix


class TinyDraft:
    """Implements `contracts.CausalModel` in float32 for plain Llama shapes: no biases, no query or key norm, plain rotary
    positions. `weights` are Hugging Face names without the `model.` prefix; a missing `lm_head.weight` means tied."""

    prefill_rows = 64

    def __init__(
        self,
        shape: DecoderShape,
        weights: Mapping[str, torch.Tensor],
        info: ModelInfo,
        *,
        product: Callable[[torch.Tensor], torch.Tensor] | None = None,
        product_bytes: int = 0,
    ) -> None:
        """`product` multiplies with the head in torch (`[rows, hidden]` to `[rows, V]`), reading `product_bytes`; None
        leaves that to numpy."""
        self.info = info
        self.vocabulary = shape.vocabulary
        self.context_limit = shape.context_limit
        self._shape = shape
        self._scale = np.float32(shape.head_dim**-0.5)
        self._embedding = _numpy(weights["embed_tokens.weight"])
        self._gain = _numpy(weights["norm.weight"])
        self._product = product
        head = weights.get("lm_head.weight", weights["embed_tokens.weight"])
        self._head = np.ascontiguousarray(_numpy(head).T) if product is None else None
        self._layers = [self._layer(weights, f"layers.{index}.") for index in range(shape.layers)]
        self._rotary = _rotary(shape)
        matrices = [m for one in self._layers for m in (one.qkv, one.out, one.gate_up, one.down)]
        head_bytes = product_bytes if self._head is None else self._head.nbytes
        self._weight_bytes = head_bytes + sum(matrix.nbytes for matrix in matrices)

    def _layer(self, weights: Mapping[str, torch.Tensor], prefix: str) -> _Layer:
        shape = self._shape
        attention, mlp = prefix + "self_attn.", prefix + "mlp."
        q, k, v = (_numpy(weights[f"{attention}{name}_proj.weight"]) for name in "qkv")
        qkv = np.concatenate([_interleaved(q, shape.head_dim), _interleaved(k, shape.head_dim), v])
        gate_up = np.concatenate([_numpy(weights[f"{mlp}{name}_proj.weight"]) for name in ("gate", "up")])
        before_attention = _numpy(weights[prefix + "input_layernorm.weight"])
        before_mlp = _numpy(weights[prefix + "post_attention_layernorm.weight"])
        cache = (shape.kv_heads, shape.context_limit, shape.head_dim)
        return _Layer(
            qkv=np.ascontiguousarray((qkv * before_attention).T),
            out=np.ascontiguousarray(_numpy(weights[attention + "o_proj.weight"]).T),
            gate_up=np.ascontiguousarray((gate_up * before_mlp).T),
            down=np.ascontiguousarray(_numpy(weights[mlp + "down_proj.weight"]).T),
            keys=np.zeros(cache, np.float32),
            values=np.zeros(cache, np.float32),
        )

    def traffic(self, count: int, start: int) -> int:
        """See `contracts.CausalModel`."""
        shape = self._shape
        positions = shape.layers * shape.kv_heads * shape.head_dim * 2
        return self._weight_bytes + 4 * (positions * (start + count) + count * shape.hidden)

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        """See `contracts.CausalModel`."""
        if start + len(ids) > self.context_limit:
            raise ValueError(f"position {start + len(ids)} is past the context of {self.context_limit}")
        last = self._one(ids[0], start) if len(ids) == 1 else self._many(list(ids), start, rows)
        if self._head is not None:
            return torch.from_numpy(last @ self._head)
        assert self._product is not None
        with torch.inference_mode():
            return self._product(torch.from_numpy(last)).float()

    def _one(self, token: int, at: int) -> Matrix:
        """`[1, hidden]`, ready for the head. One row needs no mask and no axis for it; a norm is one factor of the product behind it."""
        shape = self._shape
        heads, kv_heads, size = shape.heads, shape.kv_heads, shape.head_dim
        turned, end = heads + kv_heads, at + 1
        x = self._embedding[token]
        rotary = self._rotary[at]
        for layer in self._layers:
            qkv = x @ layer.qkv
            qkv *= self._factor(x)
            qk = (qkv[: turned * size].view(np.complex64).reshape(turned, size // 2) * rotary).view(
                np.float32
            )
            layer.keys[:, at] = qk[heads:]
            layer.values[:, at] = qkv[turned * size :].reshape(kv_heads, size)
            queries = qk[:heads].reshape(kv_heads, heads // kv_heads, size)
            weights = np.matmul(queries, layer.keys[:, :end].transpose(0, 2, 1))
            mixed = np.matmul(_softmax(weights, self._scale), layer.values[:, :end])
            x = x + mixed.reshape(heads * size) @ layer.out
            gate_up = x @ layer.gate_up
            gate_up *= self._factor(x)
            x = x + _gated(gate_up, shape.intermediate) @ layer.down
        result: Matrix = x * self._factor(x)
        result *= self._gain
        return result.reshape(1, -1)

    def _factor(self, x: Matrix) -> np.float32:
        return np.float32(1.0 / math.sqrt(float(x.dot(x)) / self._shape.hidden + self._shape.norm_eps))

    def _many(self, ids: list[int], start: int, rows: int) -> Matrix:
        """`[rows, hidden]`, ready for the head: prefill chunks, and the two ids after a window that was accepted whole."""
        shape = self._shape
        heads, kv_heads, size, count = shape.heads, shape.kv_heads, shape.head_dim, len(ids)
        turned, end = heads + kv_heads, start + count
        group = heads // kv_heads
        x = self._embedding[ids]
        rotary = self._rotary[start:end, None]
        hidden = np.arange(end) > np.arange(start, end)[:, None]
        for layer in self._layers:
            qkv = self._normed(x) @ layer.qkv
            pairs = np.ascontiguousarray(qkv[:, : turned * size]).view(np.complex64)
            qk = (pairs.reshape(count, turned, size // 2) * rotary).view(np.float32)
            layer.keys[:, start:end] = qk[:, heads:].transpose(1, 0, 2)
            values = qkv[:, turned * size :].reshape(count, kv_heads, size)
            layer.values[:, start:end] = values.transpose(1, 0, 2)
            queries = qk[:, :heads].reshape(count, kv_heads, group, size).transpose(1, 2, 0, 3)
            weights = np.matmul(queries, layer.keys[:, None, :end].transpose(0, 1, 3, 2))
            weights[:, :, hidden] = -np.inf
            mixed = np.matmul(_softmax(weights, self._scale), layer.values[:, None, :end])
            x = x + mixed.transpose(2, 0, 1, 3).reshape(count, heads * size) @ layer.out
            x = x + _gated(self._normed(x) @ layer.gate_up, shape.intermediate) @ layer.down
        result = self._normed(x[count - rows :])
        result *= self._gain
        return result

    def _normed(self, x: Matrix) -> Matrix:
        squares = np.mean(x * x, axis=-1, keepdims=True)
        result: Matrix = x / np.sqrt(squares + np.float32(self._shape.norm_eps))
        return result


def _softmax(weights: Matrix, scale: np.float32) -> Matrix:
    """Over the last axis, in place."""
    weights *= scale
    weights -= weights.max(axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def _gated(gate_up: Matrix, intermediate: int) -> Matrix:
    """silu(gate) · up. The exponential of a very negative gate is infinity, and its silu 0, as it should be."""
    gate, up = gate_up[..., :intermediate], gate_up[..., intermediate:]
    with np.errstate(over="ignore"):
        divisor: Matrix = np.exp(-gate)
    divisor += np.float32(1.0)
    result: Matrix = gate / divisor
    result *= up
    return result


def _numpy(tensor: torch.Tensor) -> Matrix:
    return tensor.float().numpy()


def _interleaved(weight: Matrix, head_dim: int) -> Matrix:
    """Each head's output rows from (first half, second half) to pairs: one complex product turns a head. Queries and keys
    alike, so that every dot product stays what it was."""
    heads = weight.reshape(-1, 2, head_dim // 2, weight.shape[1])
    return heads.transpose(0, 2, 1, 3).reshape(weight.shape)


def _rotary(shape: DecoderShape) -> npt.NDArray[np.complex64]:
    """Unit complex factors `[context, head_dim / 2]` (Su et al. 2021)."""
    exponents = np.arange(0, shape.head_dim, 2, dtype=np.float32) / shape.head_dim
    angles = np.outer(np.arange(shape.context_limit, dtype=np.float32), 1.0 / shape.rope_theta**exponents)
    result: npt.NDArray[np.complex64] = np.exp(1j * angles).astype(np.complex64)
    return result
