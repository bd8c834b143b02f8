"""The emulator's `neuronx_distributed_inference.models.config`: the keys that an application without fused speculation,
quantisation or block KV uses, with the library's defaults and its messages.

Source: neuronx-distributed-inference 0.9 and 0.10, models/config.py. Must not know what is computed with the numbers.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

CONFIG_FILE = "neuron_config.json"
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def to_torch_dtype(name: str) -> torch.dtype:
    assert name in _DTYPES, f"Unsupported dtype: {name}"
    return _DTYPES[name]


def to_dict(value: Any) -> Any:
    """Plain values of a config, dtypes by name and classes by module and name."""
    if isinstance(value, dict):
        return {key: to_dict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_dict(item) for item in value]
    if inspect.isclass(value):
        return {"__module__": value.__module__, "__name__": value.__name__}
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if hasattr(value, "__dict__"):
        return {key: to_dict(item) for key, item in vars(value).items()}
    return value


class OnDeviceSamplingConfig:
    """Asks the graphs for token ids in place of logits."""

    def __init__(self, **kwargs: Any) -> None:
        self.do_sample = kwargs.pop("do_sample", False)
        self.top_k = kwargs.pop("top_k", 1)
        self.top_p = kwargs.pop("top_p", 1.0)
        self.temperature = kwargs.pop("temperature", 1.0)
        self.dynamic = kwargs.pop("dynamic", False)
        self.deterministic = kwargs.pop("deterministic", False)
        self.global_topk = kwargs.pop("global_topk", 256)


class NeuronConfig:
    """What is compiled. A key that is not known is named in the log and otherwise ignored."""

    def __init__(self, **kwargs: Any) -> None:
        self._lengths(kwargs)
        self._numbers(kwargs)
        self._bucketing(kwargs)
        self.fused_qkv = kwargs.pop("fused_qkv", False)
        self.sequence_parallel_enabled = kwargs.pop("sequence_parallel_enabled", False)
        self.quantized = kwargs.pop("quantized", False)
        self.async_mode = kwargs.pop("async_mode", False)
        sampling = kwargs.pop("on_device_sampling_config", None)
        self.on_device_sampling_config = (
            OnDeviceSamplingConfig(**sampling) if isinstance(sampling, dict) else sampling
        )
        self.output_logits = kwargs.pop("output_logits", False)
        self.speculation_length = kwargs.pop("speculation_length", 0)
        self.enable_fused_speculation = kwargs.pop("enable_fused_speculation", False)
        self.enable_eagle_speculation = kwargs.pop("enable_eagle_speculation", False)
        self.is_medusa = kwargs.pop("is_medusa", False)
        self.token_tree_config = kwargs.pop("token_tree_config", None)
        self.tp_degree = kwargs.pop("tp_degree", 1)
        self.world_size = kwargs.pop("world_size", self.tp_degree)
        self.start_rank_id = kwargs.pop("start_rank_id", 0)
        self.save_sharded_checkpoint = kwargs.pop("save_sharded_checkpoint", False)
        self.skip_warmup = kwargs.pop("skip_warmup", False)
        if kwargs:
            logging.warning(f"NeuronConfig init: Unexpected keyword arguments: {kwargs}")  # noqa: G004, LOG015 - its line

    def _lengths(self, kwargs: dict[str, Any]) -> None:
        self.batch_size = kwargs.pop("batch_size", 1)
        self.padding_side = kwargs.pop("padding_side", "right")
        self.allow_input_truncation = kwargs.pop("allow_input_truncation", False)
        self.seq_len = kwargs.pop("seq_len", 128)
        self.n_active_tokens = kwargs.pop("n_active_tokens", self.seq_len)
        self.n_positions = kwargs.pop("n_positions", self.seq_len)
        self.max_context_length = kwargs.pop("max_context_length", self.seq_len)
        self.max_new_tokens = kwargs.pop("max_new_tokens", self.seq_len - self.max_context_length) or None
        self.max_length = kwargs.pop("max_length", self.seq_len)
        assert self.max_context_length <= self.max_length, "max_context_length cannot be more than max_length"

    def _numbers(self, kwargs: dict[str, Any]) -> None:
        self.on_cpu = kwargs.pop("on_cpu", False)
        self.overrides_torch_dtype = "torch_dtype" in kwargs
        dtype = kwargs.pop("torch_dtype", torch.bfloat16)
        self.torch_dtype = to_torch_dtype(dtype) if isinstance(dtype, str) else dtype

    def _bucketing(self, kwargs: dict[str, Any]) -> None:
        self.enable_bucketing = kwargs.pop("enable_bucketing", False)
        self.buckets = kwargs.pop("buckets", [self.seq_len])
        self.context_encoding_buckets = kwargs.pop("context_encoding_buckets", None)
        self.token_generation_buckets = kwargs.pop("token_generation_buckets", None)
        for name, buckets, most in (
            ("Context", self.context_encoding_buckets, self.max_context_length),
            ("Token generation", self.token_generation_buckets, self.max_length),
        ):
            if buckets is not None:
                buckets.sort()
                assert buckets[-1] <= most, f"{name} bucket {buckets[-1]} should be <= {most}"


class InferenceConfig:
    """A `NeuronConfig` together with the checkpoint's own numbers, which `load_config` sets as attributes."""

    def __init__(
        self,
        neuron_config: NeuronConfig,
        fused_spec_config: Any = None,
        load_config: Callable[[InferenceConfig], None] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.neuron_config = neuron_config
        self.fused_spec_config = fused_spec_config
        if load_config is not None:
            load_config(self)
        self.metadata = metadata
        for key, value in kwargs.items():
            setattr(self, key, value)
        self.num_cores_per_group = 1
        self.validate_config()

    def get_required_attributes(self) -> list[str]:
        return []

    def validate_config(self) -> None:
        missing_attributes = [name for name in self.get_required_attributes() if not hasattr(self, name)]
        assert len(missing_attributes) == 0, f"Config must define {missing_attributes}"

    def save(self, model_path: str) -> None:
        directory = Path(model_path)
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(to_dict(self), indent=2, sort_keys=True)
        (directory / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def get_neuron_config_cls(cls) -> type[NeuronConfig]:
        return NeuronConfig


class LlamaInferenceConfig(InferenceConfig):
    """models/llama/modeling_llama.py"""

    def get_required_attributes(self) -> list[str]:
        return [
            "hidden_size",
            "num_attention_heads",
            "num_hidden_layers",
            "num_key_value_heads",
            "pad_token_id",
            "vocab_size",
            "max_position_embeddings",
            "rope_theta",
            "rms_norm_eps",
            "hidden_act",
        ]
