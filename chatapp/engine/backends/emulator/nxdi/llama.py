"""The arithmetic that an emulated device does: a Llama decoder whose visibility is a mask from outside.

Knows no bucket and no graph. `decoder.decoder` is the fast one; here every key can be hidden or shown, every write has its
slot given, and what is masked has the library's finite score, so that what a wrong mask does on the device it does here.
Source of the architecture: Touvron et al. 2023; of the masked score: neuronx-distributed-inference 0.9,
modules/attention/attention_base.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's customary name

from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.decoder.rotary import RotaryPositions, inverse_frequencies


class Llama:
    """One sequence's KV, `positions` slots of it, and the weights, all in `dtype`."""

    def __init__(
        self, config: Any, weights: Mapping[str, torch.Tensor], positions: int, dtype: torch.dtype
    ) -> None:
        """`config` has the names of a Llama's config.json as attributes; `weights` those of its checkpoint."""
        self._weights = weights
        self._dtype = dtype
        self._heads = int(config.num_attention_heads)
        self._kv_heads = int(config.num_key_value_heads)
        self._head_dim = int(getattr(config, "head_dim", None) or config.hidden_size // self._heads)
        self._eps = float(config.rms_norm_eps)
        self._layers = int(config.num_hidden_layers)
        self._frequencies = inverse_frequencies(rotary_positions(config), self._head_dim)
        self.kv = torch.zeros(self._layers, 2, self._kv_heads, positions, self._head_dim, dtype=dtype)

    @classmethod
    def load(cls, directory: str, config: Any, positions: int, dtype: torch.dtype) -> Llama:
        loaded = read_checkpoint(Path(directory)).load_weights(dtype)
        weights = {name.removeprefix("model."): tensor for name, tensor in loaded.items()}
        weights.setdefault("lm_head.weight", weights["embed_tokens.weight"])
        return cls(config, weights, positions, dtype)

    @property
    def bytes(self) -> int:
        """Of weights and KV, a tied head counted twice as on the device."""
        return sum(tensor.nbytes for tensor in self._weights.values()) + self.kv.nbytes

    def states(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        seen: torch.Tensor,
        slots: torch.Tensor,
    ) -> torch.Tensor:
        """Normalised last states `[n, hidden]` of `ids` `[n]` at rotary `positions` `[n]`.

        `seen` `[stored]` says which of the first KV slots every row sees, before this call's own keys are written; of its own
        the rows see each other up to themselves. Keys and values go to `slots` `[n]`.
        """
        x = self._weights["embed_tokens.weight"][ids]
        visible = torch.cat(
            [seen.expand(len(ids), -1), torch.ones(len(ids), len(ids), dtype=torch.bool).tril()], dim=1
        )
        turns = self._turns(positions)
        for layer in range(self._layers):
            prefix = f"layers.{layer}."
            h = self._norm(x, f"{prefix}input_layernorm")
            x = x + self._attend(layer, h, turns, visible, len(seen), slots)
            h = self._norm(x, f"{prefix}post_attention_layernorm")
            gate, up = self._linear(h, f"{prefix}mlp.gate_proj"), self._linear(h, f"{prefix}mlp.up_proj")
            x = x + self._linear(F.silu(gate) * up, f"{prefix}mlp.down_proj")
        return self._norm(x, "norm")

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """`[n, V] float32`, made in the device's numbers and cast afterwards."""
        return self._linear(states, "lm_head").float()

    def _attend(
        self,
        layer: int,
        h: torch.Tensor,
        turns: tuple[torch.Tensor, torch.Tensor],
        visible: torch.Tensor,
        stored: int,
        slots: torch.Tensor,
    ) -> torch.Tensor:
        prefix = f"layers.{layer}.self_attn."
        queries = turned(self._split(self._linear(h, f"{prefix}q_proj"), self._heads), turns)
        keys = turned(self._split(self._linear(h, f"{prefix}k_proj"), self._kv_heads), turns)
        values = self._split(self._linear(h, f"{prefix}v_proj"), self._kv_heads)
        group = self._heads // self._kv_heads
        old = self.kv[layer, :, :, :stored]
        all_keys = torch.cat([old[0], keys], dim=1).repeat_interleave(group, dim=0)
        all_values = torch.cat([old[1], values], dim=1).repeat_interleave(group, dim=0)
        scores = (queries @ all_keys.transpose(1, 2)) * self._head_dim**-0.5
        scores = torch.where(visible, scores, torch.finfo(self._dtype).min)
        mixed = scores.softmax(dim=-1, dtype=torch.float32).to(self._dtype) @ all_values
        self.kv[layer, 0, :, slots] = keys
        self.kv[layer, 1, :, slots] = values
        return self._linear(mixed.transpose(0, 1).reshape(len(h), -1), f"{prefix}o_proj")

    def _split(self, rows: torch.Tensor, heads: int) -> torch.Tensor:
        return rows.view(len(rows), heads, self._head_dim).transpose(0, 1)

    def _turns(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        angles = torch.outer(positions.float(), self._frequencies).repeat(1, 2)
        return angles.cos().to(self._dtype), angles.sin().to(self._dtype)

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias"))

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        gain = self._weights[f"{name}.weight"]
        wide = x.float()
        return gain * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self._eps)).to(self._dtype)


def turned(x: torch.Tensor, turns: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """`[heads, n, head_dim]` turned by its positions' angles, halves of a head paired."""
    cosines, sines = turns
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat([-second, first], dim=-1) * sines


def rotary_positions(config: Any) -> RotaryPositions:
    """Of the attributes `rope_theta` and `rope_scaling` alone: without the latter there is no scaling."""
    scaling = getattr(config, "rope_scaling", None) or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    theta = float(config.rope_theta)
    if kind == "llama3":
        return RotaryPositions(
            theta,
            kind,
            factor=float(scaling["factor"]),
            low_frequency_factor=float(scaling["low_freq_factor"]),
            high_frequency_factor=float(scaling["high_freq_factor"]),
            original_context=int(scaling["original_max_position_embeddings"]),
        )
    if kind == "linear":
        return RotaryPositions(theta, kind, factor=float(scaling["factor"]))
    return RotaryPositions(theta)
