"""Applications of the emulated neuronx-distributed-inference, made through its import names as any user of it would."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from chatapp.engine.backends.emulator import launches
from chatapp.engine.backends.emulator.nxdi import PACKAGE

WINDOW = 4
POSITIONS = 64
BUCKETS = {"context_encoding_buckets": [16, 32], "token_generation_buckets": [32, POSITIONS]}
ROPE = {"rope_theta": 10_000.0, "rope_scaling": None}
"""What transformers 5 does not hand over."""


def library(name: str) -> Any:
    return import_module(f"{PACKAGE}.{name}")


def neuron_config(**changes: Any) -> Any:
    """A target's, in float32, with two buckets each."""
    arguments = {
        "seq_len": POSITIONS,
        "max_context_length": 32,
        "torch_dtype": torch.float32,
        "enable_bucketing": True,
        "speculation_length": WINDOW,
        **{name: list(buckets) for name, buckets in BUCKETS.items()},
        **changes,
    }
    return library("models.config").NeuronConfig(**arguments)


def application(checkpoint: Path, **changes: Any) -> Any:
    """Neither compiled nor loaded."""
    llama = library("models.llama.modeling_llama")
    hook = library("utils.hf_adapter").load_pretrained_config(str(checkpoint))
    config = llama.LlamaInferenceConfig(neuron_config(**changes), load_config=hook, **ROPE)
    return llama.NeuronLlamaForCausalLM(str(checkpoint), config)


def loaded(checkpoint: Path, directory: Path, **changes: Any) -> Any:
    """Compiled into `directory` and loaded from there."""
    made = application(checkpoint, **changes)
    made.compile(str(directory))
    made.load(str(directory))
    return made


def call(made: Any, ids: list[int], start: int, mask: list[int] | None) -> torch.Tensor:
    """Logits `[rows, V]` of `ids` at `start` and behind."""
    positions = torch.arange(start, start + len(ids))[None]
    given = None if mask is None else torch.tensor([mask])
    logits: torch.Tensor = made(
        input_ids=torch.tensor([ids]), attention_mask=given, position_ids=positions
    ).logits[0]
    return logits


def launched(made: Any) -> list[tuple[str, int]]:
    """(kind, bucket) of every graph that was launched so far."""
    return [(launch.kind, launch.bucket) for launch in launches.of(made)]
