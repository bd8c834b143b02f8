"""What neuronx-distributed-inference is asked to compile for one side of a pair: its `NeuronConfig`, as plain arguments.

Everything that the library would accept and then do wrong is refused here. Must not import the library.
Source: neuronx-distributed-inference 0.9, models/config.py and models/model_base.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from chatapp.domain.decoder_config import obstacle, rope_settings
from chatapp.domain.errors import InvalidSetting, UnsupportedModel
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.request import MAX_WINDOW
from chatapp.engine.backends.checkpoint import Checkpoint
from chatapp.engine.backends.neuron import building as shared
from chatapp.engine.backends.neuron.recipe import Role
from chatapp.engine.backends.nxdi.graphs import Graphs

NUMBERS = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


def window_of(windows: Sequence[int]) -> int:
    """Rows of every target pass, of which this library compiles one number: the smallest of `windows` that holds every k, else
    the largest. Not simply the largest: all rows' logits cross to the host in every pass, and 64 rows of 128,256 are 33 MB."""
    holding = [window for window in windows if window >= MAX_WINDOW]
    return min(holding) if holding else max(windows, default=0)


def resolved(settings: NeuronSettings, cores: int = 0) -> NeuronSettings:
    """As `neuron.building.resolved`, with what this library makes of it: one window, and none for the draft. Raises
    `InvalidSetting`, `DeviceUnavailable`."""
    settings = shared.resolved(settings, cores)
    width = window_of(settings.windows)
    if not 2 <= width < settings.token_buckets[0]:
        # One that begins at position 0 would go to the context graph, so it needs room before it in every bucket.
        raise InvalidSetting(
            "windows",
            f"A window of {width} rows is not between 2 and the shortest token bucket, {settings.token_buckets[0]}: "
            "choose a longer context.",
        )
    if width in settings.context_buckets:
        # The traced graph tells prompts from windows by their length alone (model_base.py, `_is_context_encoding`).
        raise InvalidSetting(
            "context",
            f"A context bucket of {width} cannot stand beside a window of {width}: this library takes prompts of that "
            "length for windows and gives other logits.",
        )
    return replace(settings, library="nxdi", windows=(width,), draft_windows=())


def graphs_of(settings: NeuronSettings, role: Role) -> Graphs:
    """What is compiled for one side; `settings` are resolved."""
    rows = settings.windows[0] if role == "target" else 1
    return Graphs(settings.positions, rows, settings.token_buckets, settings.context_buckets)


def neuron_config_arguments(settings: NeuronSettings, role: Role) -> dict[str, Any]:
    """Of `NeuronConfig`, from resolved settings. Fresh lists each time: the library sorts and keeps them."""
    arguments: dict[str, Any] = {
        "batch_size": 1,
        "tp_degree": settings.tp_degree,
        "seq_len": settings.positions,
        "max_context_length": settings.context_buckets[-1],
        "torch_dtype": NUMBERS[settings.dtype],
        "enable_bucketing": True,
        "token_generation_buckets": list(settings.token_buckets),
        "context_encoding_buckets": list(settings.context_buckets),
        # Logits come to the host, where they are processed and accepted like those of every other backend.
        "on_device_sampling_config": None,
        "padding_side": "right",
    }
    if role == "target":
        arguments["speculation_length"] = settings.windows[0]
    return arguments


def checkpoint_arguments(checkpoint: Checkpoint) -> dict[str, Any]:
    """Of `InferenceConfig`, beside what it reads itself: with transformers 5 it finds no `rope_theta` and refuses, and silently
    loses the scaling of Llama 3.1 and later."""
    positions = rope_settings(checkpoint.config)
    theta = float(positions.pop("rope_theta", 10000.0))
    scaled = positions.get("rope_type", positions.get("type", "default")) != "default"
    return {"rope_theta": theta, "rope_scaling": positions if scaled else None}


def require_fit(checkpoint: Checkpoint) -> None:
    """Raises `UnsupportedModel` for what the library cannot run, or would run wrongly."""
    why = obstacle(checkpoint.config)
    if why is None and checkpoint.split_files():
        why = "its weights are saved tensor by tensor, which transformers-neuronx alone reads"
    if why is not None:
        raise UnsupportedModel(
            f"{checkpoint.name} cannot run on NeuronCores by neuronx-distributed-inference: {why}.",
            remedy="Choose a Llama, or a model shaped like one, in its own weights as safetensors.",
        )
