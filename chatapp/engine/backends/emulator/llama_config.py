"""What the library takes from config.json of a Llama, and what it refuses. Knows no weights.

Source: transformers_neuronx 0.13, llama/config.py:17-56; neuron-contract.md §1.2.
"""

from __future__ import annotations

from typing import Any

from chatapp.engine.backends.decoder.rotary import RotaryPositions

ROPE_TYPES = ("default", "llama3")
ROPE_THETA_OF_OLD = 10_000.0


class LlamaConfig:
    """The attributes of the library's own configuration object. Raises `ValueError` for scaled positions it lacks."""

    def __init__(
        self,
        config: Any,
        n_positions: list[int] | int,
        batch_size: list[int] | int,
        amp: str,
        tp_degree: int,
        *,
        new_transformers: bool = False,
    ) -> None:
        rope = dict(getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {})
        kind = rope.get("rope_type", rope.get("type"))
        if rope and kind is not None and kind not in ROPE_TYPES:
            raise ValueError(
                f"Only default and llama3 ropes scaling types are currently supported. Received {kind}"
            )
        self.intermediate_size: int = config.intermediate_size
        self.hidden_size: int = config.hidden_size
        self.num_attention_heads: int = config.num_attention_heads
        # An explicit head_dim is not asked for.
        self.attention_head_size: int = config.hidden_size // config.num_attention_heads
        self.num_key_value_heads: int = (
            getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        )
        self.num_hidden_layers: int = config.num_hidden_layers
        self.vocab_size: int = config.vocab_size
        self.hidden_act: str = config.hidden_act
        self.bos_token_id: Any = config.bos_token_id
        self.eos_token_id: Any = config.eos_token_id
        self.max_position_embeddings: int = config.max_position_embeddings
        self.rms_norm_eps: float = config.rms_norm_eps
        theta = getattr(config, "rope_theta", None) or rope.get("rope_theta")
        self.rope_theta = ROPE_THETA_OF_OLD if new_transformers or theta is None else float(theta)
        self.rope_scaling: dict[str, Any] | None = rope if kind == "llama3" else None
        self.n_positions = n_positions
        self.batch_size = batch_size
        self.amp = amp
        self.tp_degree = tp_degree
        self.model_type = "llama"

    @property
    def rotary(self) -> RotaryPositions:
        scaling = self.rope_scaling
        if scaling is None:
            return RotaryPositions(self.rope_theta)
        return RotaryPositions(
            self.rope_theta,
            "llama3",
            factor=float(scaling["factor"]),
            low_frequency_factor=float(scaling["low_freq_factor"]),
            high_frequency_factor=float(scaling["high_freq_factor"]),
            original_context=int(scaling["original_max_position_embeddings"]),
        )
