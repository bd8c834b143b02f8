"""Tiny random models in Hugging Face layout, saved by transformers itself, each with a small tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from tests.helpers import tokenizers as small

VOCABULARY = 420
LLAMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 320,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 5,
}
GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 320,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def llama_config(**changes: Any) -> LlamaConfig:
    return LlamaConfig(**{**LLAMA, **changes})


def mistral_config(**changes: Any) -> MistralConfig:
    return MistralConfig(**{**LLAMA, "sliding_window": 24, **changes})


def yarn_config(**changes: Any) -> LlamaConfig:
    """A Llama that the fast path leaves to transformers."""
    positions = {"rope_type": "yarn", "factor": 2.0, "rope_theta": 10_000.0}
    return llama_config(**{"rope_parameters": positions, **changes})


def qwen2_config(**changes: Any) -> Qwen2Config:
    return Qwen2Config(**{**LLAMA, **changes})


def qwen3_config(**changes: Any) -> Qwen3Config:
    return Qwen3Config(**{**LLAMA, "head_dim": 12, **changes})


def gpt2_config(**changes: Any) -> GPT2Config:
    return GPT2Config(**{**GPT2, **changes})


def reference(config: Any, *, seed: int = 0, spread: float = 0.25) -> Any:
    """transformers' own model with random weights; `spread` wide enough that tokens differ clearly."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).float()
        with torch.no_grad():
            matrices = [one for one in model.named_parameters() if one[1].ndim > 1]
            # Biases and gains too: one that is left out must show.
            vectors = [one for one in model.named_parameters() if one[1].ndim == 1]
            for _, matrix in matrices:
                matrix.normal_(0.0, spread)
            for name, vector in vectors:
                vector.normal_(0.0 if name.endswith("bias") else 1.0, 0.1)
    return model.eval()


def save(
    directory: Path,
    config: Any,
    *,
    seed: int = 0,
    tokenizer: Tokenizer | None = None,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """A whole model directory."""
    reference(config, seed=seed).to(dtype).save_pretrained(directory)
    small.save(tokenizer or small.byte_level(size=VOCABULARY), directory)
    return directory


def change_config(directory: Path, **changes: Any) -> None:
    """Set keys of config.json; None takes a key away."""
    path = directory / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def change_weights(directory: Path, **changes: torch.Tensor | None) -> None:
    """Set tensors of model.safetensors by name (dots written as two underscores); None takes one away."""
    path = directory / "model.safetensors"
    weights = load_file(path)
    for name, tensor in changes.items():
        key = name.replace("__", ".")
        assert key in weights, key
        if tensor is None:
            del weights[key]
        else:
            weights[key] = tensor
    save_file(weights, path, metadata={"format": "pt"})
