"""Directory → model: picks the backend and says why. Knows every backend; is known by the session only."""

from __future__ import annotations

from typing import Any, Literal

import torch

from chatapp.domain.errors import NotAModel, WeightsDamaged
from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.checkpoint import Checkpoint
from chatapp.engine.backends.llama import LlamaModel, LlamaShape
from chatapp.engine.contracts import CausalModel

MAX_FAST_CONTEXT = 8192
"""Positions for which KV is allocated at once; models that allow more get this many on the fast path."""


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_config(checkpoint: Checkpoint) -> None:
    """What can be said from config.json alone. Raises `NotAModel`."""
    if fast_path_obstacle(checkpoint.config) is None:
        llama_shape(checkpoint)


def load_model(
    checkpoint: Checkpoint,
    device: str,
    *,
    role: Literal["target", "draft"] = "target",  # noqa: ARG001 - int8 weights depend on it
    weights: str = "auto",  # noqa: ARG001 - as above
) -> CausalModel:
    """The fast path where the shape allows it, transformers otherwise. Raises `ModelError`."""
    if device == "cpu" and fast_path_obstacle(checkpoint.config) is None:
        return _load_llama(checkpoint)
    from chatapp.engine.backends.hf import TransformersModel

    return TransformersModel.load(
        checkpoint, device, torch.float32 if device == "cpu" else _own_dtype(checkpoint)
    )


def fast_path_obstacle(config: dict[str, Any]) -> str | None:
    """Why the fast path cannot run this config; None when it can."""
    if config.get("model_type") != "llama":
        return f"architecture {config.get('model_type')}"
    for key in ("attention_bias", "mlp_bias"):
        if config.get(key):
            return key
    scaling = _mapping(config, "rope_scaling") or _mapping(config, "rope_parameters")
    if scaling.get("rope_type", scaling.get("type", "default")) != "default":
        return "scaled rotary positions"
    if config.get("hidden_act", "silu") != "silu":
        return f"activation {config.get('hidden_act')}"
    if config.get("quantization_config"):
        return "quantised weights"
    return None


def _mapping(config: dict[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def llama_shape(checkpoint: Checkpoint) -> LlamaShape:
    """Raises `NotAModel` where config.json lacks a number or holds one that makes no model."""
    what = f"{checkpoint.directory}/config.json describes no Llama model"
    remedy = "Download or copy the model again."
    try:
        shape = _shape(checkpoint.config)
    except KeyError as error:
        raise NotAModel(f"{what}: it lacks {error.args[0]}.", remedy=remedy) from error
    except (TypeError, ValueError, ArithmeticError) as error:
        raise NotAModel(f"{what} ({error}).", remedy=remedy) from error
    sizes = (shape.vocabulary, shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.intermediate)
    fitting = min(sizes) > 0 and shape.context_limit > 1 and shape.heads % shape.kv_heads == 0
    if not fitting or shape.head_dim < 2 or shape.head_dim % 2:
        raise NotAModel(f"{what}: its numbers do not fit together ({shape}).", remedy=remedy)
    return shape


def _shape(config: dict[str, Any]) -> LlamaShape:
    heads = int(config["num_attention_heads"])
    hidden = int(config["hidden_size"])
    # transformers 5 writes `rope_parameters`; before, `rope_theta` stood by itself.
    theta = config.get("rope_theta") or _mapping(config, "rope_parameters").get("rope_theta") or 10000.0
    return LlamaShape(
        vocabulary=int(config["vocab_size"]),
        hidden=hidden,
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or hidden // heads),
        intermediate=int(config["intermediate_size"]),
        context_limit=min(int(config.get("max_position_embeddings", 2048)), MAX_FAST_CONTEXT),
        rope_theta=float(theta),
        norm_eps=float(config.get("rms_norm_eps", 1e-6)),
    )


def expected_shapes(shape: LlamaShape, *, tied: bool) -> dict[str, tuple[int, ...]]:
    """Names (without `model.`) and shapes of every weight that a Llama of this shape must have; a tied head has none."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    expected: dict[str, tuple[int, ...]] = {
        "embed_tokens.weight": (shape.vocabulary, shape.hidden),
        "norm.weight": (shape.hidden,),
    }
    if not tied:
        expected["lm_head.weight"] = (shape.vocabulary, shape.hidden)
    for index in range(shape.layers):
        prefix = f"layers.{index}."
        expected |= {
            prefix + "input_layernorm.weight": (shape.hidden,),
            prefix + "post_attention_layernorm.weight": (shape.hidden,),
            prefix + "self_attn.q_proj.weight": (queries, shape.hidden),
            prefix + "self_attn.k_proj.weight": (keys, shape.hidden),
            prefix + "self_attn.v_proj.weight": (keys, shape.hidden),
            prefix + "self_attn.o_proj.weight": (shape.hidden, queries),
            prefix + "mlp.gate_proj.weight": (shape.intermediate, shape.hidden),
            prefix + "mlp.up_proj.weight": (shape.intermediate, shape.hidden),
            prefix + "mlp.down_proj.weight": (shape.hidden, shape.intermediate),
        }
    return expected


def _load_llama(checkpoint: Checkpoint) -> LlamaModel:
    shape = llama_shape(checkpoint)
    tied = bool(checkpoint.config.get("tie_word_embeddings", False))
    weights = {
        name.removeprefix("model."): tensor for name, tensor in checkpoint.load_weights(torch.float32).items()
    }
    if tied:
        weights.pop("lm_head.weight", None)
    for name, size in expected_shapes(shape, tied=tied).items():
        if name not in weights:
            raise WeightsDamaged(
                f"{checkpoint.directory} lacks the weight {name}.", remedy="Copy the model again."
            )
        if tuple(weights[name].shape) != size:
            raise WeightsDamaged(
                f"{name} in {checkpoint.directory} is {tuple(weights[name].shape)}, config.json says {size}.",
                remedy="Copy the model again.",
            )
    info = ModelInfo(
        checkpoint.name,
        checkpoint.architecture,
        sum(tensor.numel() for tensor in weights.values()),
        "float32",
        checkpoint.weights_sha256(),
    )
    return LlamaModel(shape, weights, info)


def _own_dtype(checkpoint: Checkpoint) -> torch.dtype:
    name = checkpoint.config.get("torch_dtype") or checkpoint.config.get("dtype") or "float32"
    return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(str(name), torch.float32)
