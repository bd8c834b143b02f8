"""`NeuronAutoModelForCausalLM`: the class for a checkpoint by its config. Of the library's eight families one is emulated.

Source: transformers_neuronx 0.13, modeling_auto.py:5-47; neuron-contract.md §1.1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig

from chatapp.engine.backends.emulator.llama import LlamaForSampling

LLAMAS = ("llama", "code_llama")
OTHERS = ("bloom", "gpt2", "gpt_neox", "gptj", "mistral", "mixtral", "opt")


class NeuronAutoModelForCausalLM:
    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *model_args: Any, **kwargs: Any
    ) -> LlamaForSampling:
        """Raises `AssertionError` for a family that the library lacks."""
        family = AutoConfig.from_pretrained(str(pretrained_model_name_or_path)).model_type
        if family in OTHERS:
            raise NotImplementedError(f"the emulator of transformers_neuronx does not know {family} models")
        if family not in LLAMAS:
            raise AssertionError(f"The configuration model type '{family}' is not supported by Neuron")
        return LlamaForSampling.from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
