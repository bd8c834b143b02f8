"""What a launch computes: a Llama over one KV array that is addressed by position. Knows no graph and no bucket.

Numbers are computed in float32; weights, keys, values and logits are rounded to the model's own type on the way. Padded heads
and other cores' shares do not exist here: they add nothing but zeros.

Source of what is visible: transformers_neuronx 0.13, hlo.py:2975-3074, layers/attention.py:412-504; neuron-contract.md §2.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's customary name

from chatapp.engine.backends.decoder.rotary import inverse_frequencies
from chatapp.engine.backends.emulator.llama_config import LlamaConfig

MASKED = -30_000.0
"""What a masked score becomes: a number, so rows that see nothing are means and not NaN."""


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """Of one layer, as `[out, in]`, values of the model's type held in float32."""

    attention_gain: torch.Tensor
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    out: torch.Tensor
    mlp_gain: torch.Tensor
    gate: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor


class KeyValues:
    """Keys and values of every layer, `[positions, batch, kv_heads, head_size]` each, for one batch size."""

    def __init__(self, config: LlamaConfig, positions: int, batch: int, dtype: torch.dtype) -> None:
        self._shape = (positions, batch, config.num_key_value_heads, config.attention_head_size)
        self._dtype = dtype
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []

    def add_layer(self) -> None:
        # Normal tensors, whoever asks: what is made in inference mode cannot be written outside of it.
        with torch.inference_mode(False):
            self.keys.append(torch.zeros(self._shape, dtype=self._dtype))
            self.values.append(torch.zeros(self._shape, dtype=self._dtype))

    def zero(self) -> None:
        for tensor in (*self.keys, *self.values):
            tensor.zero_()


@dataclass(frozen=True, slots=True)
class Rows:
    """The tokens of a launch: `hidden [batch, rows, hidden]`, positions `cache_ids [batch, rows]`, and the first visible
    position `start_ids [batch]`. A context launch reads nothing that is stored; others what is stored before their least
    position."""

    hidden: torch.Tensor
    cache_ids: torch.Tensor
    start_ids: torch.Tensor
    reads_stored: bool


class Arithmetic:
    """The layers that were loaded, in order, and the head."""

    def __init__(self, config: LlamaConfig, dtype: torch.dtype) -> None:
        self.config = config
        self.dtype = dtype
        self.layers: list[LayerWeights] = []
        self.gain = torch.empty(0)
        self.head = torch.empty(0)
        """`[padded vocabulary, hidden]`."""
        with torch.inference_mode(False):
            self._frequencies = inverse_frequencies(config.rotary, config.attention_head_size)

    def rounded(self, tensor: torch.Tensor) -> torch.Tensor:
        """To the model's type, and back to float32 for the products."""
        with torch.inference_mode(False):
            return tensor.detach().to(self.dtype).float()

    def run(self, rows: Rows, cache: KeyValues, wanted: slice) -> torch.Tensor:
        """Logits of the `wanted` rows, `[padded vocabulary, rows, batch]` in the model's type, as the device returns them.
        Writes every row's key and value at its position."""
        turned = self._rotary(rows.cache_ids)
        stored, fresh = self._visible(rows)
        x = self.rounded(rows.hidden)
        for layer, keys, values in zip(self.layers, cache.keys, cache.values, strict=True):
            h = self._normalised(x, layer.attention_gain)
            x = x + F.linear(self._attend(layer, h, rows, turned, stored, fresh, keys, values), layer.out)
            h = self._normalised(x, layer.mlp_gain)
            x = x + F.linear(F.silu(F.linear(h, layer.gate)) * F.linear(h, layer.up), layer.down)
        logits = F.linear(self._normalised(x[:, wanted], self.gain), self.head)
        return logits.to(self.dtype).permute(2, 1, 0)

    def _normalised(self, x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.config.rms_norm_eps) * gain

    def _rotary(self, cache_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines by `cache_ids` alone, `[batch, rows, 1, head_size]`; `start_ids` do not shift them."""
        angles = cache_ids[:, :, None, None].float() * self._frequencies
        angles = torch.cat((angles, angles), -1)
        return angles.cos(), angles.sin()

    def _visible(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Which stored positions `[batch, 1, 1, stored]` and which of the rows themselves `[batch, 1, rows, rows]` count."""
        start = rows.start_ids[:, None, None, None]
        count = rows.cache_ids.shape[1]
        lower = torch.ones(count, count, dtype=torch.bool).tril()[None, None]
        if not rows.reads_stored:
            return torch.zeros(1, 1, 1, 0, dtype=torch.bool), lower & (torch.arange(count) >= start)
        least = rows.cache_ids.min(1).values[:, None, None, None]
        places = torch.arange(int(least.max()))
        return (places >= start) & (places < least), lower

    def _attend(
        self,
        layer: LayerWeights,
        h: torch.Tensor,
        rows: Rows,
        turned: tuple[torch.Tensor, torch.Tensor],
        stored: torch.Tensor,
        fresh: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
    ) -> torch.Tensor:
        """`[batch, rows, heads · head_size]`."""
        batch, count, _ = h.shape
        kv_heads, size = self.config.num_key_value_heads, self.config.attention_head_size
        heads = (batch, count, -1, size)
        query = _turn(F.linear(h, layer.query).view(heads), turned) * size**-0.5
        key = _turn(F.linear(h, layer.key).view(heads), turned).to(self.dtype)
        value = F.linear(h, layer.value).view(heads).to(self.dtype)
        length = stored.shape[-1]
        seen_keys = torch.cat((keys[:length].transpose(0, 1), key), 1).float()
        seen_values = torch.cat((values[:length].transpose(0, 1), value), 1).float()
        # Query heads in groups, each over the one key/value head that it shares.
        grouped = query.view(batch, count, kv_heads, -1, size)
        scores = torch.einsum("bikgd,bjkd->bkgij", grouped, seen_keys)
        visible = torch.cat(
            (stored.expand(batch, 1, count, length), fresh.expand(batch, 1, count, count)), -1
        )
        probabilities = scores.masked_fill(~visible[:, :, None], MASKED).softmax(-1)
        mixed = torch.einsum("bkgij,bjkd->bikgd", probabilities, seen_values)
        for line in range(batch):
            keys[rows.cache_ids[line], line] = key[line]
            values[rows.cache_ids[line], line] = value[line]
        return mixed.reshape(batch, count, -1)


def _turn(heads: torch.Tensor, turned: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    cosines, sines = turned
    first, second = heads.chunk(2, -1)
    return heads * cosines + torch.cat((-second, first), -1) * sines
