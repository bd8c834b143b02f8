"""Names, shapes and fusing of a decoder's weights as Hugging Face stores them (without the `model.` in front)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from chatapp.domain.errors import WeightsDamaged
from chatapp.engine.backends.decoder.linears import Linear
from chatapp.engine.backends.decoder.rotary import interleave
from chatapp.engine.backends.decoder.shape import DecoderShape

M = TypeVar("M")
"""What a decoder makes of a matrix and its bias."""
MakeLinear = Callable[[torch.Tensor, "torch.Tensor | None"], Linear]


@dataclass(frozen=True)
class LayerWeights(Generic[M]):
    """One layer. Gains are float32 and hold √size of what they scale, which RMS normalisation needs anyway;
    `query_key_gain` is `[heads + kv_heads, head_dim]`."""

    attention_gain: torch.Tensor
    qkv: M
    query_key_gain: torch.Tensor | None
    out: M
    mlp_gain: torch.Tensor
    gate_up: M
    down: M

    @property
    def linears(self) -> tuple[M, ...]:
        return (self.qkv, self.out, self.gate_up, self.down)


def expected_shapes(shape: DecoderShape) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight that a decoder of this shape must have; a tied head has none of its own."""
    hidden, wide = shape.hidden, shape.intermediate
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    expected: dict[str, tuple[int, ...]] = {
        "embed_tokens.weight": (shape.vocabulary, hidden),
        "norm.weight": (hidden,),
    }
    if not shape.tied:
        expected["lm_head.weight"] = (shape.vocabulary, hidden)
    matrices: dict[str, tuple[tuple[int, int], bool]] = {
        "self_attn.q_proj": ((queries, hidden), shape.qkv_bias),
        "self_attn.k_proj": ((keys, hidden), shape.qkv_bias),
        "self_attn.v_proj": ((keys, hidden), shape.qkv_bias),
        "self_attn.o_proj": ((hidden, queries), shape.out_bias),
        "mlp.gate_proj": ((wide, hidden), shape.mlp_bias),
        "mlp.up_proj": ((wide, hidden), shape.mlp_bias),
        "mlp.down_proj": ((hidden, wide), shape.mlp_bias),
    }
    gains = {"input_layernorm": hidden, "post_attention_layernorm": hidden}
    if shape.query_key_norm:
        gains |= {"self_attn.q_norm": shape.head_dim, "self_attn.k_norm": shape.head_dim}
    for index in range(shape.layers):
        prefix = f"layers.{index}."
        for name, (size, biased) in matrices.items():
            expected[f"{prefix}{name}.weight"] = size
            if biased:
                expected[f"{prefix}{name}.bias"] = size[:1]
        for name, width in gains.items():
            expected[f"{prefix}{name}.weight"] = (width,)
    return expected


def parameters(shape: DecoderShape) -> int:
    """How many numbers the weights are; a tied head counts once."""
    return sum(math.prod(size) for size in expected_shapes(shape).values())


def check_weights(directory: Path, shape: DecoderShape, weights: Mapping[str, torch.Tensor]) -> None:
    """Raises `WeightsDamaged` naming the first weight that is missing or of another shape."""
    for name, size in expected_shapes(shape).items():
        if name not in weights:
            raise WeightsDamaged(f"{directory} lacks the weight {name}.", remedy="Copy the model again.")
        if tuple(weights[name].shape) != size:
            raise WeightsDamaged(
                f"{name} in {directory} is {tuple(weights[name].shape)}, config.json says {size}.",
                remedy="Copy the model again.",
            )


def gain(weight: torch.Tensor) -> torch.Tensor:
    """RMS normalisation divides by the root of the *mean* square: √size is taken into the gain, once."""
    return weight.float() * math.sqrt(weight.shape[-1])


def take_layer(
    shape: DecoderShape,
    weights: MutableMapping[str, torch.Tensor],
    index: int,
    linear: Callable[[torch.Tensor, torch.Tensor | None], M],
) -> LayerWeights[M]:
    """Fuse layer `index`; its weights are taken out of the mapping, so that no two copies of a model are ever whole."""
    prefix = f"layers.{index}."

    def joined(part: str, names: str, kind: str) -> torch.Tensor:
        found = []
        for name in names.split():
            tensor = weights.pop(f"{prefix}{part}.{name}_proj.{kind}")
            found.append(interleave(tensor, shape.head_dim) if name in ("q", "k") else tensor)
        return torch.cat(found) if len(found) > 1 else found[0]

    def fused(part: str, names: str, *, biased: bool) -> M:
        return linear(joined(part, names, "weight"), joined(part, names, "bias") if biased else None)

    return LayerWeights(
        attention_gain=gain(weights.pop(prefix + "input_layernorm.weight")),
        qkv=fused("self_attn", "q k v", biased=shape.qkv_bias),
        query_key_gain=_query_key_gain(shape, weights, prefix) if shape.query_key_norm else None,
        out=fused("self_attn", "o", biased=shape.out_bias),
        mlp_gain=gain(weights.pop(prefix + "post_attention_layernorm.weight")),
        gate_up=fused("mlp", "gate up", biased=shape.mlp_bias),
        down=fused("mlp", "down", biased=shape.mlp_bias),
    )


def _query_key_gain(
    shape: DecoderShape, weights: MutableMapping[str, torch.Tensor], prefix: str
) -> torch.Tensor:
    parts = []
    for name, heads in (("q_norm", shape.heads), ("k_norm", shape.kv_heads)):
        weight = weights.pop(f"{prefix}self_attn.{name}.weight")
        parts.append(interleave(gain(weight)[:, None], shape.head_dim).view(1, -1).expand(heads, -1))
    return torch.cat(parts)
