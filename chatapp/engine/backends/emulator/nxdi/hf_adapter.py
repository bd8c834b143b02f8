"""The emulator's `neuronx_distributed_inference.utils.hf_adapter`, of which only the config hook is used.

Source: neuronx-distributed-inference 0.9, utils/hf_adapter.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatapp.engine.backends.emulator.nxdi.config import InferenceConfig, to_torch_dtype


def load_pretrained_config(
    model_path_or_name: str | None = None, hf_config: Any = None
) -> Callable[[InferenceConfig], None]:
    """A `load_config` for `InferenceConfig`: the attributes are those that transformers' own config has. With transformers 5
    there is no `rope_theta` among them, and no `rope_scaling`."""

    def load_config(self: InferenceConfig) -> None:
        from transformers import AutoConfig

        if (model_path_or_name is None) == (hf_config is None):
            raise ValueError('Please provide only one of "model_path_or_name" or "hf_config"')
        config: Any = hf_config
        if model_path_or_name is not None:
            config = AutoConfig.from_pretrained(model_path_or_name)
        values: dict[str, Any] = config.to_dict()
        dtype = values.pop("torch_dtype", None)
        if dtype is not None and not self.neuron_config.overrides_torch_dtype:
            self.neuron_config.torch_dtype = to_torch_dtype(dtype) if isinstance(dtype, str) else dtype
        vars(self).update(values)

    return load_config
