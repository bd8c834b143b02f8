"""The network of the pair: a compact Llama whose weights carry Hugging Face's names.

Written out in plain torch because a training step is then about a third faster than with the library's module;
a test holds the two equal.  It must not know text, files or how it is trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

INITIAL_STD = 0.02
# Measured on a CPU in bfloat16: up to this length two plain products beat the fused kernel's backward pass.
PLAIN_ATTENTION = 320


@dataclass(frozen=True)
class Shape:
    """Sizes of one model; ``layers`` is the depth that it has, or grows to."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    context: int = 1024
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class Cache:
    """Keys and values of the positions seen, ``[rows, heads, position, head_size]`` per layer."""

    def __init__(self, layers: int) -> None:
        self.keys: list[Tensor | None] = [None] * layers
        self.values: list[Tensor | None] = [None] * layers
        self.length = 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append one pass's keys and values and return all of the layer's."""
        old_keys, old_values = self.keys[layer], self.values[layer]
        if old_keys is not None and old_values is not None:
            keys = torch.cat((old_keys, keys), dim=2)
            values = torch.cat((old_values, values), dim=2)
        self.keys[layer], self.values[layer] = keys, values
        return keys, values

    def rewind(self, length: int) -> None:
        """Forget every position from ``length`` on."""
        self.keys = [None if item is None else item[:, :, :length] for item in self.keys]
        self.values = [None if item is None else item[:, :, :length] for item in self.values]
        self.length = length

    def keep_rows(self, rows: Tensor) -> None:
        """Forget every row that the boolean ``rows`` does not name."""
        self.keys = [None if item is None else item[rows] for item in self.keys]
        self.values = [None if item is None else item[rows] for item in self.values]


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned gain."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def plain_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Causal attention by two products; all arguments ``[rows, heads, length, head_size]``."""
    length, size = queries.shape[-2:]
    hidden_future = torch.full((length, length), float("-inf"), dtype=queries.dtype, device=queries.device).triu(1)
    scores = torch.matmul(queries * size**-0.5, keys.transpose(-1, -2)) + hidden_future
    return torch.matmul(torch.softmax(scores, dim=-1), values)


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.head_size = shape.heads, shape.head_size
        self.q_proj = nn.Linear(shape.hidden, shape.hidden, bias=False)
        self.k_proj = nn.Linear(shape.hidden, shape.hidden, bias=False)
        self.v_proj = nn.Linear(shape.hidden, shape.hidden, bias=False)
        self.o_proj = nn.Linear(shape.hidden, shape.hidden, bias=False)

    def forward(self, x: Tensor, turn: Turn, layer: int, cache: Cache | None, mask: Tensor | None) -> Tensor:
        rows, length, hidden = x.shape
        split = (rows, length, self.heads, self.head_size)
        queries = turn.apply(self.q_proj(x).view(split)).transpose(1, 2)
        keys = turn.apply(self.k_proj(x).view(split)).transpose(1, 2)
        values = self.v_proj(x).view(split).transpose(1, 2)
        if cache is not None:
            keys, values = cache.extend(layer, keys, values)
        if cache is None and mask is None and queries.dtype == torch.bfloat16 and length <= PLAIN_ATTENTION:
            mixed = plain_attention(queries, keys, values)
        else:
            causal = mask is None and length > 1
            mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=causal)
        out: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(rows, length, hidden))
        return out


class FeedForward(nn.Module):
    """Gated feed-forward: ``down(silu(gate(x)) * up(x))``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.down_proj = nn.Linear(shape.intermediate, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Block(nn.Module):
    """One layer: attention and feed-forward, each added to the stream after a norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.self_attn = Attention(shape)
        self.mlp = FeedForward(shape)
        self.input_layernorm = RMSNorm(shape.hidden, shape.norm_eps)
        self.post_attention_layernorm = RMSNorm(shape.hidden, shape.norm_eps)

    def forward(self, x: Tensor, turn: Turn, layer: int, cache: Cache | None, mask: Tensor | None) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), turn, layer, cache, mask)
        x = x + self.mlp(self.post_attention_layernorm(x))
        return x  # noqa: RET504 (returned at once it is Any to the type checker)


class Turn:
    """Rotary position embedding for the positions of one pass, ``[positions, 1, head_size]`` or per row."""

    def __init__(self, positions: Tensor, shape: Shape, dtype: torch.dtype) -> None:
        half = torch.arange(0, shape.head_size, 2, device=positions.device, dtype=torch.float32)
        rates = shape.rope_theta ** (-half / shape.head_size)
        angles = positions.to(torch.float32)[..., None] * rates
        self.cos = torch.cat((angles.cos(), angles.cos()), dim=-1).unsqueeze(-2).to(dtype)
        self.sin = torch.cat((-angles.sin(), angles.sin()), dim=-1).unsqueeze(-2).to(dtype)

    def apply(self, x: Tensor) -> Tensor:
        """Turn ``x [rows, positions, heads, head_size]``; halves are rotated, as Llama's weights expect."""
        return x * self.cos.to(x.dtype) + x.roll(x.shape[-1] // 2, dims=-1) * self.sin.to(x.dtype)


class Stack(nn.Module):
    """What Hugging Face calls ``model``: embedding, layers, last norm."""

    def __init__(self, shape: Shape, layers: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.layers = nn.ModuleList(Block(shape) for _ in range(layers))
        self.norm = RMSNorm(shape.hidden, shape.norm_eps)


class Llama(nn.Module):
    """A Llama with tied embeddings, ``layers`` deep (the shape's depth when not given)."""

    def __init__(self, shape: Shape, layers: int | None = None) -> None:
        super().__init__()
        self.shape = shape
        depth = shape.layers if layers is None else layers
        self.model = Stack(shape, depth)
        self._initialise()

    def _initialise(self) -> None:
        for name, weight in self.named_parameters():
            if weight.dim() < 2:
                continue
            small = name.endswith(("o_proj.weight", "down_proj.weight"))
            nn.init.normal_(weight, std=INITIAL_STD / (2 * self.shape.layers) ** 0.5 if small else INITIAL_STD)

    @property
    def depth(self) -> int:
        return len(self.model.layers)

    @property
    def device(self) -> torch.device:
        return self.model.embed_tokens.weight.device

    def blocks(self) -> Iterator[Block]:
        for block in self.model.layers:
            assert isinstance(block, Block)
            yield block

    def hidden(self, ids: Tensor, cache: Cache | None = None, mask: Tensor | None = None,
               positions: Tensor | None = None) -> Tensor:
        """The last norm's output ``[rows, length, hidden]`` for ``ids [rows, length]``.

        ``mask`` (True where attention is allowed, broadcast to ``[rows, heads, length, seen]``) is needed when
        a cache already holds positions and more than one token is given, or when rows have padding in front.
        """
        start = cache.length if cache is not None else 0
        if positions is None:
            positions = torch.arange(start, start + ids.shape[1], device=ids.device)
        x = self.model.embed_tokens(ids)
        turn = Turn(positions, self.shape, x.dtype)
        for layer, block in enumerate(self.blocks()):
            x = block(x, turn, layer, cache, mask)
        if cache is not None:
            cache.length = start + ids.shape[1]
        out: Tensor = self.model.norm(x)
        return out

    def logits_of(self, hidden: Tensor) -> Tensor:
        """Logits ``[..., vocabulary]`` of ``hidden`` states ``[..., hidden]``."""
        return functional.linear(hidden, self.model.embed_tokens.weight)

    def forward(self, ids: Tensor, cache: Cache | None = None, mask: Tensor | None = None,
                positions: Tensor | None = None) -> Tensor:
        return self.logits_of(self.hidden(ids, cache, mask, positions))
