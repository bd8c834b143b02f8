"""Which models the fast path can run, read from config.json alone: said before anything heavy is loaded, and again by the
loader that acts on it. Knows no tensor and no file.

Configs of transformers 4 (`rope_theta`, `rope_scaling`) and 5 (`rope_parameters`) are read alike.
"""

from __future__ import annotations

from typing import Any

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
MAX_FAST_CONTEXT = 8192
"""Positions for which KV is allocated at once; models that allow more get this many on the fast path."""
SCALINGS = ("default", "linear", "llama3")
"""Of rotary positions."""


def obstacle(config: dict[str, Any]) -> str | None:
    """Why the fast path cannot run this config, in a few words; None when it can."""
    family = config.get("model_type")
    if family not in FAMILIES:
        return f"architecture {family or 'unknown'}"
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
    if window is not None and window < fast_context(config):
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


def fast_context(config: dict[str, Any]) -> int:
    """The context limit on the fast path, in tokens."""
    return min(int(config.get("max_position_embeddings", 2048)), MAX_FAST_CONTEXT)


def rope_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The rotary settings of either transformers, with the base among them."""
    old, new = (
        value if isinstance(value, dict) else {}
        for value in (config.get("rope_scaling"), config.get("rope_parameters"))
    )
    theta = config.get("rope_theta") or old.get("rope_theta") or new.get("rope_theta")
    return {**(old or new), **({"rope_theta": theta} if theta else {})}
