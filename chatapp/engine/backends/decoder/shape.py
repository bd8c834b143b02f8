"""What config.json says about a Llama-shaped decoder; what of it the fast path cannot do is said by
`domain.decoder_config`, which needs no engine. Knows no tensor.

Families: Llama (with SmolLM and what else calls itself so), Mistral, Qwen2, Qwen3. Configs of transformers 4
(`rope_theta`, `rope_scaling`) and 5 (`rope_parameters`) are read alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatapp.domain.decoder_config import fast_context, obstacle, rope_settings
from chatapp.domain.errors import NotAModel
from chatapp.engine.backends.decoder.rotary import RotaryPositions

__all__ = ["DecoderShape", "obstacle", "read_shape"]

QWEN3_HEAD_DIM = 128
"""What a Qwen3 config means that names none."""


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """The numbers and switches of config.json that the forward needs."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    context_limit: int
    norm_eps: float
    rotary: RotaryPositions
    tied: bool = True
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    query_key_norm: bool = False

    @property
    def rope_theta(self) -> float:
        return self.rotary.theta

    @property
    def plain(self) -> bool:
        """Llama as first published: neither biases nor norms of queries and keys nor scaled positions."""
        extras = (self.qkv_bias, self.out_bias, self.mlp_bias, self.query_key_norm)
        return not any(extras) and self.rotary.scaling == "default"


def read_shape(directory: Path, config: dict[str, Any]) -> DecoderShape:
    """`directory` is named in messages only. Raises `NotAModel` where a number is lacking or makes no model."""
    what = f"{directory}/config.json describes no {str(config.get('model_type')).capitalize()} model"
    remedy = "Download or copy the model again."
    try:
        shape = _shape(config)
    except KeyError as error:
        raise NotAModel(f"{what}: it lacks {error.args[0]}.", remedy=remedy) from error
    except (TypeError, ValueError, ArithmeticError) as error:
        raise NotAModel(f"{what} ({error}).", remedy=remedy) from error
    sizes = (shape.vocabulary, shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.intermediate)
    fitting = min(sizes) > 0 and shape.context_limit > 1 and shape.heads % shape.kv_heads == 0
    if not fitting or shape.head_dim < 2 or shape.head_dim % 2:
        numbers = (
            f"{shape.layers} layers, {shape.hidden} wide, {shape.heads} heads of {shape.head_dim}, {shape.kv_heads} for "
            f"keys, {shape.intermediate} in the MLP, {shape.vocabulary} tokens, {shape.context_limit} positions"
        )
        raise NotAModel(f"{what}: its numbers do not fit together ({numbers}).", remedy=remedy)
    return shape


def _shape(config: dict[str, Any]) -> DecoderShape:
    family = config.get("model_type")
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    head_dim = int(config.get("head_dim") or (QWEN3_HEAD_DIM if family == "qwen3" else hidden // heads))
    attention_bias = bool(config.get("attention_bias", False)) and family in ("llama", "qwen3")
    return DecoderShape(
        vocabulary=int(config["vocab_size"]),
        hidden=hidden,
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=head_dim,
        intermediate=int(config["intermediate_size"]),
        context_limit=fast_context(config),
        norm_eps=float(config.get("rms_norm_eps", 1e-6)),
        rotary=_rotary_positions(config),
        tied=bool(config.get("tie_word_embeddings", False)),
        qkv_bias=attention_bias or family == "qwen2",
        out_bias=attention_bias,
        mlp_bias=bool(config.get("mlp_bias", False)) and family == "llama",
        query_key_norm=family == "qwen3",
    )


def _rotary_positions(config: dict[str, Any]) -> RotaryPositions:
    found = rope_settings(config)
    theta = float(found.get("rope_theta") or 10000.0)
    scaling = found.get("rope_type", found.get("type", "default"))
    if scaling == "linear":
        return RotaryPositions(theta, scaling, factor=float(found["factor"]))
    if scaling == "llama3":
        original = found.get("original_max_position_embeddings") or config["max_position_embeddings"]
        return RotaryPositions(
            theta,
            scaling,
            factor=float(found["factor"]),
            low_frequency_factor=float(found["low_freq_factor"]),
            high_frequency_factor=float(found["high_freq_factor"]),
            original_context=int(original),
        )
    return RotaryPositions(theta)
