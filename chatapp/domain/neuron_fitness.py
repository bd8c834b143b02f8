"""What of a checkpoint transformers-neuronx cannot run, or would run wrongly without a word; read from config.json alone, so that
the planner and the loader say the same. Knows no tensor, no file and no library.

Sources: transformers_neuronx 0.13, llama/config.py:32-48, llama/model.py:308 (neuron-contract.md §§1.1, 1.2).
"""

from __future__ import annotations

from typing import Any

ROPE_TYPES = ("default", "llama3")
THETA_OF_OLD = 10_000.0
"""What a transformers below 5 reads from a config.json that only transformers 5 understands."""

COPY_AGAIN = "Download or copy the model again."


def misfit(config: dict[str, Any]) -> tuple[str, str] | None:
    """What is wrong, and what to do; None for a config that the library runs as it is meant."""
    family = config.get("model_type")
    if family != "llama":
        return (
            f"of its models only Llama verifies several tokens at once, this is {family or 'unknown'}",
            "Choose a Llama model, or run it on the processor.",
        )
    if config.get("quantization_config"):
        return "its weights are quantised", "Choose the checkpoint in bfloat16 or float16."
    if config.get("hidden_act", "silu") != "silu":
        return f"its activation is {config.get('hidden_act')}", "Choose another model."
    biases = [name for name in ("attention_bias", "mlp_bias") if config.get(name)]
    if biases:
        return f"the library has no {' or '.join(biases)}", "Choose a model without biases."
    return _head_misfit(config) or _rope_misfit(config)


def _head_misfit(config: dict[str, Any]) -> tuple[str, str] | None:
    heads, hidden, named = (config.get(name) for name in ("num_attention_heads", "hidden_size", "head_dim"))
    if named is None or not isinstance(heads, int) or not isinstance(hidden, int) or heads < 1:
        return None  # what is no number is said by whoever reads the shape
    if named != hidden // heads:
        return (
            f"the library takes heads of {hidden // heads} numbers whatever config.json says, and it says {named}",
            "Choose a model whose head_dim is hidden_size / num_attention_heads.",
        )
    return None


def _rope_misfit(config: dict[str, Any]) -> tuple[str, str] | None:
    old, new = config.get("rope_scaling") or {}, config.get("rope_parameters") or {}
    theta = new.get("rope_theta") if isinstance(new, dict) else None
    if not (isinstance(old, dict) and isinstance(new, dict) and isinstance(theta, float | int | None)):
        return "its config.json says nothing usable of how positions are rotated", COPY_AGAIN
    kind = old.get("rope_type", old.get("type", "default"))
    if kind not in ROPE_TYPES:
        return (
            f"its positions are scaled by {kind}",
            f"Models with {' or '.join(ROPE_TYPES)} positions can run.",
        )
    lost = theta is not None and "rope_theta" not in config and float(theta) != THETA_OF_OLD
    if lost or (new.get("rope_type", "default") != "default" and not old):
        return (
            "its config.json is written for transformers 5, of which the library would miss how positions are rotated",
            "Add rope_theta and rope_scaling to config.json with the values that stand in rope_parameters.",
        )
    return None
