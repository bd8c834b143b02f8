"""Models made for measuring: random weights in real Hugging Face directories, checkpoints in another dtype, and a draft
that is always right.

Speed does not depend on what the weights are, only on how many; acceptance does, so that a rigged draft says what a window
costs and yields at a known acceptance. Whatever is measured on these is labelled synthetic. Used by benchmarks alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from chatapp.domain.errors import InvalidSetting
from chatapp.domain.events import ModelInfo
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.contracts import CausalModel

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
SPREAD = 0.02
"""Standard deviation of the random matrices: what such models are initialised with before training."""
SURE = 1e4
"""Logit of the token that a rigged draft proposes; far above any that random weights give."""


@dataclass(frozen=True, slots=True)
class RandomShape:
    """A Llama with a tied head. `inner` is the width of its MLP."""

    layers: int
    hidden: int
    heads: int
    inner: int
    vocabulary: int = 32_000


SHAPES = {
    "5M": RandomShape(layers=4, hidden=128, heads=2, inner=512),
    "30M": RandomShape(layers=10, hidden=384, heads=6, inner=1024),
    "110M": RandomShape(layers=12, hidden=768, heads=12, inner=2048),
}


def shape_named(name: str) -> RandomShape:
    """Raises `InvalidSetting` for a shape that does not exist."""
    if name not in SHAPES:
        raise InvalidSetting("shape", f"There is no shape {name!r}; known are {', '.join(SHAPES)}.")
    return SHAPES[name]


def write_random(
    directory: Path, shape: RandomShape, dtype: str, *, tokenizer: Path, context: int = 1024, seed: int = 0
) -> Path:
    """A whole model directory with random weights in `dtype` (torch's name), and the tokenizer files of another model."""
    from safetensors.torch import save_file

    directory.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    weights = {name: _random(size, generator).to(getattr(torch, dtype)) for name, size in _tensors(shape)}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(_config(shape, dtype, context)), encoding="utf-8")
    _copy_tokenizer(tokenizer, directory)
    return directory


def write_spread(
    directory: Path, shape: RandomShape, factor: float, blur: float, *, tokenizer: Path, context: int
) -> Path:
    """`write_random` in float32 with matrices `factor` times as large, so that what comes next depends on the text, and with a
    share `blur` of them drawn anew: such a draft agrees with the target of the same shape, without blur, to a degree."""
    from safetensors.torch import load_file, save_file

    write_random(directory, shape, "float32", tokenizer=tokenizer, context=context)
    file = directory / "model.safetensors"
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for name, tensor in load_file(file).items():
        own = torch.empty_like(tensor).normal_(0.0, SPREAD, generator=generator)
        weights[name] = tensor if tensor.ndim == 1 else factor * ((1.0 - blur) * tensor + blur * own)
    save_file(weights, file, metadata={"format": "pt"})
    return directory


def write_recast(source: Path, directory: Path, dtype: str) -> Path:
    """The checkpoint of `source` with every tensor in `dtype`. Raises `ModelError` as reading it does."""
    from safetensors.torch import save_file

    checkpoint = read_checkpoint(source)
    directory.mkdir(parents=True)
    weights = checkpoint.load_weights(getattr(torch, dtype))
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    config = {key: value for key, value in checkpoint.config.items() if key != "dtype"} | {
        "torch_dtype": dtype
    }
    (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
    generation = source / "generation_config.json"
    if generation.exists():
        shutil.copy(generation, directory)
    _copy_tokenizer(source, directory)
    return directory


class RiggedModel:
    """Implements `contracts.CausalModel`: pays the forwards of a real model, then says what it was told.

    The logits of the row at position p are sharply peaked at `story[p + 1]`, the id that the target will want next. Rows
    behind the end of the story keep the model's own logits.
    """

    def __init__(self, model: CausalModel, story: Sequence[int]) -> None:
        """`story` is prompt and reply as the target writes it, from position 0."""
        self._model = model
        self.story = list(story)

    @property
    def info(self) -> ModelInfo:
        return self._model.info

    @property
    def vocabulary(self) -> int:
        return self._model.vocabulary

    @property
    def context_limit(self) -> int:
        return self._model.context_limit

    @property
    def prefill_rows(self) -> int:
        return self._model.prefill_rows

    def forward(self, ids: Sequence[int], start: int, rows: int) -> torch.Tensor:
        logits = self._model.forward(ids, start, rows)
        first = start + len(ids) - rows
        with torch.inference_mode():  # the model's logits may be changed in place in there alone
            for row in range(rows):
                following = first + row + 1
                if following < len(self.story):
                    logits[row, self.story[following]] = SURE
        return logits

    def traffic(self, count: int, start: int) -> int:
        return self._model.traffic(count, start)


def set_compute_threads(count: int) -> None:
    """For everything that torch computes from here on, ours and the peers'."""
    torch.set_num_threads(count)


def _tensors(shape: RandomShape) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "model.embed_tokens.weight", (shape.vocabulary, shape.hidden)
    yield "model.norm.weight", (shape.hidden,)
    for index in range(shape.layers):
        prefix = f"model.layers.{index}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{prefix}{norm}.weight", (shape.hidden,)
        for projection in "qkvo":
            yield f"{prefix}self_attn.{projection}_proj.weight", (shape.hidden, shape.hidden)
        for projection in ("gate", "up"):
            yield f"{prefix}mlp.{projection}_proj.weight", (shape.inner, shape.hidden)
        yield f"{prefix}mlp.down_proj.weight", (shape.hidden, shape.inner)


def _random(size: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    if len(size) == 1:
        return torch.ones(size)
    return torch.empty(size).normal_(0.0, SPREAD, generator=generator)


def _config(shape: RandomShape, dtype: str, context: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.hidden // shape.heads,
        "intermediate_size": shape.inner,
        "hidden_act": "silu",
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "torch_dtype": dtype,
        # Random text has no end; transformers takes a missing key for Llama's own ids.
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def _copy_tokenizer(source: Path, directory: Path) -> None:
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copy(source / name, directory)
