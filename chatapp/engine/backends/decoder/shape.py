"""What config.json says about a Llama-shaped decoder, and what of it the fast path cannot do. Knows no tensor.

Families: Llama (with SmolLM and what else calls itself so), Mistral, Qwen2, Qwen3. Configs of transformers 4
(`rope_theta`, `rope_scaling`) and 5 (`rope_parameters`) are read alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatapp.domain.errors import NotAModel
from chatapp.engine.backends.decoder.rotary import SCALINGS, RotaryPositions

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
MAX_FAST_CONTEXT = 8192
"""Positions for which KV is allocated at once; models that allow more get this many on the fast path."""
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


def obstacle(config: dict[str, Any]) -> str | None:
    """Why the fast path cannot run this config, in a few words; None when it can."""
    family = config.get("model_type")
    if family not in FAMILIES:
        return f"architecture {family}"
    if config.get("quantization_config"):
        return "quantised weights"
    if config.get("hidden_act", "silu") not in ("silu", "swish"):
        return f"activation {config.get('hidden_act')}"
    positions = rope_settings(config)
    scaling = positions.get("rope_type", positions.get("type", "default"))
    if any(isinstance(value, dict) for value in positions.values()):
        return "rotary positions that differ by layer"
    if scaling not in SCALINGS:
        return f"rotary positions scaled by {scaling}"
    if (positions.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0) != 1.0:
        return "rotary positions on a part of each head"
    window = sliding_window(config)
    if window is not None and window < _context(config):
        return f"attention over a sliding window of {window} positions"
    return None


def sliding_window(config: dict[str, Any]) -> int | None:
    """Positions that a token sees on the layer that sees least; None where every layer sees all."""
    window = config.get("sliding_window")
    if not isinstance(window, int) or config.get("model_type") == "llama":
        return None
    if config.get("model_type") in ("qwen2", "qwen3"):
        kinds = config.get("layer_types")
        if isinstance(kinds, list):
            return window if "sliding_attention" in kinds else None
        return window if config.get("use_sliding_window") else None
    return window


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
        raise NotAModel(f"{what}: its numbers do not fit together ({shape}).", remedy=remedy)
    return shape


def rope_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The rotary settings of either transformers, with the base among them."""
    old, new = (
        value if isinstance(value, dict) else {}
        for value in (config.get("rope_scaling"), config.get("rope_parameters"))
    )
    theta = config.get("rope_theta") or old.get("rope_theta") or new.get("rope_theta")
    return {**(old or new), **({"rope_theta": theta} if theta else {})}


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
        context_limit=_context(config),
        norm_eps=float(config.get("rms_norm_eps", 1e-6)),
        rotary=_rotary_positions(config),
        tied=bool(config.get("tie_word_embeddings", False)),
        qkv_bias=attention_bias or family == "qwen2",
        out_bias=attention_bias,
        mlp_bias=bool(config.get("mlp_bias", False)) and family == "llama",
        query_key_norm=family == "qwen3",
    )


def _context(config: dict[str, Any]) -> int:
    return min(int(config.get("max_position_embeddings", 2048)), MAX_FAST_CONTEXT)


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
