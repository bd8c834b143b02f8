"""The emulator's application: compile, load, and the routing of a call to one of its submodels.

Source: neuronx-distributed-inference 0.9, models/application_base.py and models/model_base.py (`NeuronBaseForCausalLM`).
The simulated instance and the log of launches are those of the other emulated library. One process, batch 1, no fused speculation, no asynchronous mode.
"""

from __future__ import annotations

import copy
import hashlib
import os
import time
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from chatapp.engine.backends.emulator import state
from chatapp.engine.backends.emulator.nxdi.buckets import context_buckets, generation_buckets
from chatapp.engine.backends.emulator.nxdi.config import (
    InferenceConfig,
    LlamaInferenceConfig,
    NeuronConfig,
    to_dict,
)
from chatapp.engine.backends.emulator.nxdi.graphs import (
    CONTEXT_ENCODING_MODEL_TAG,
    SPECULATION_MODEL_TAG,
    TOKEN_GENERATION_MODEL_TAG,
    Loaded,
    ModelWrapper,
)
from chatapp.engine.backends.emulator.nxdi.llama import Llama

COMPILED_MODEL_FILE_NAME = "model.pt"


def normalize_path(path: str) -> str:
    """With a slash at its end."""
    return os.path.join(os.path.normpath(path), "")  # noqa: PTH118 - the slash at the end is the point


class NeuronApplicationBase(torch.nn.Module):
    """Compiles its submodels into a directory and loads them from there. The directory is the only cache, and nothing compares
    what it holds with the config at hand."""

    def __init__(
        self, model_path: str, config: InferenceConfig, neuron_config: NeuronConfig | None = None
    ) -> None:
        super().__init__()
        if neuron_config is not None:
            config.neuron_config = neuron_config
        self.config = config
        self.neuron_config = config.neuron_config
        self.model_path = normalize_path(model_path)
        self.models: list[ModelWrapper] = []
        self.llama: Llama | None = None
        self.is_loaded_to_neuron = False

    @classmethod
    def get_config_cls(cls) -> type[InferenceConfig]:
        raise NotImplementedError("get_config_cls is not implemented")

    @classmethod
    def get_neuron_config_cls(cls) -> type[NeuronConfig]:
        return cls.get_config_cls().get_neuron_config_cls()

    def compile(self, compiled_model_path: str, debug: bool = False) -> None:  # noqa: ARG002 - their signature
        directory = normalize_path(compiled_model_path)
        self.config.save(directory)
        self._compile_graphs()
        traced = {
            "speculation_length": self.neuron_config.speculation_length,
            "graphs": {model.tag: sorted(model.shapes) for model in self.models},
        }
        torch.save(traced, directory + COMPILED_MODEL_FILE_NAME)

    def _compile_graphs(self) -> None:
        """One after the other, each in a folder of its own under BASE_COMPILE_WORK_DIR; without that nothing is left behind,
        where the library would use /tmp/nxd_model."""
        behaviour = state.behaviour
        if behaviour.compiler_killed:
            raise RuntimeError("Failed compilation with ['neuronx-cc', 'compile']: Killed")
        work = os.environ.get("BASE_COMPILE_WORK_DIR", "")
        whose = hashlib.sha256(repr(to_dict(self.config)).encode()).hexdigest()[:8]
        for model in self.models:
            for rank, (rows, bucket) in enumerate(sorted(model.shapes)):
                folder = Path(work) / model.tag / f"_tp0_bk{rank}"
                if work:
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / "graph.hlo").write_text(f"{model.tag} {rows} {bucket}\n", encoding="utf-8")
                if behaviour.compile_hook is not None:
                    behaviour.compile_hook(model.tag, f"{whose}-{model.tag}-{rank}.neff")
                time.sleep(behaviour.compile_seconds)
                if work:
                    (folder / "graph.neff").write_text(f"{model.tag} {rows} {bucket}\n", encoding="utf-8")

    def load(self, compiled_model_path: str, skip_warmup: bool = False) -> None:
        path = normalize_path(compiled_model_path) + COMPILED_MODEL_FILE_NAME
        if not os.path.exists(path):  # noqa: PTH110 - as torch.jit.load asks, and its words
            raise ValueError(f"The provided filename {path} does not exist")
        traced = torch.load(path, weights_only=True)
        config = self.neuron_config
        cores = range(config.start_rank_id, config.start_rank_id + config.tp_degree)
        state.device.initialize()
        llama = Llama.load(self.model_path, self.config, config.max_length, config.torch_dtype)
        state.device.allocate_tensor(cores, llama.bytes // config.tp_degree)
        for model in self.models:
            for _ in model.shapes:
                state.device.load_graph(cores)
        self.llama = llama
        loaded = Loaded(llama, partial(state.launches.launched, self))
        for model in self.models:
            model.model = loaded
            model.compiled = {tuple(shape) for shape in traced["graphs"].get(model.tag, ())}
            model.traced_window = traced["speculation_length"]
        self.is_loaded_to_neuron = True
        if not (skip_warmup or config.skip_warmup):
            self.warmup()

    def warmup(self) -> None:
        """Every graph once, on zeros: what that writes into the KV stays there. It is not counted."""
        assert self.llama is not None
        for model in self.models:
            for rows, bucket in sorted(model.compiled):
                zeros = torch.zeros(rows, dtype=torch.int64)
                model.run(self.llama, zeros, torch.zeros(bucket), zeros, bucket)

    def to_cpu(self) -> None:
        """Refuses what the library refuses; what it allows has no use here."""
        config = self.neuron_config
        if config.torch_dtype == torch.bfloat16 and config.tp_degree > 1:
            raise NotImplementedError(
                "The gloo backend does not natively support bfloat16, please proceed with float32 dtype instead."
            )
        if config.torch_dtype == torch.float16:
            raise NotImplementedError(
                "float16 is not supported for CPU inference, please proceed with float32 dtype instead."
            )
        if config.speculation_length > 0:
            raise NotImplementedError("Speculation is not yet supported for CPU inference.")
        raise NotImplementedError("emulator: it is on the CPU already")


class NeuronBaseForCausalLM(NeuronApplicationBase):
    """A prompt goes to the context graph, a window to the speculation graph, all else to the one-token graph, which an
    application with a speculation length does not have."""

    def __init__(
        self, model_path: str, config: InferenceConfig, neuron_config: NeuronConfig | None = None
    ) -> None:
        super().__init__(model_path, config, neuron_config)
        if self.neuron_config.enable_fused_speculation or self.neuron_config.is_medusa:
            raise NotImplementedError("emulator: neither fused speculation nor medusa heads")
        self.on_device_sampling = self.neuron_config.on_device_sampling_config is not None
        self.kv_cache_populated = False
        self.enable_context_encoding()
        if self.neuron_config.speculation_length > 0:
            self.enable_speculation()
        else:
            self.enable_token_generation()

    def enable_context_encoding(self) -> None:
        buckets = context_buckets(self.neuron_config)
        self.context_encoding_model = self._submodel(CONTEXT_ENCODING_MODEL_TAG, buckets, rows=0)

    def enable_token_generation(self) -> None:
        buckets = generation_buckets(self.neuron_config)
        self.token_generation_model = self._submodel(TOKEN_GENERATION_MODEL_TAG, buckets, rows=1)

    def enable_speculation(self) -> None:
        config = self.neuron_config
        buckets = generation_buckets(config)
        self.speculation_model = self._submodel(
            SPECULATION_MODEL_TAG, buckets, rows=config.speculation_length
        )

    def _submodel(self, tag: str, buckets: list[int], *, rows: int) -> ModelWrapper:
        config = copy.copy(self.neuron_config)
        pad = getattr(self.config, "pad_token_id", None)
        model = ModelWrapper(tag, buckets, rows, config, 0 if pad is None else int(pad))
        self.models.append(model)
        return model

    def forward(
        self,
        input_ids: torch.Tensor,
        seq_ids: torch.Tensor | None = None,  # noqa: ARG002 - batch 1 has one sequence
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        **_: Any,
    ) -> Any:
        """transformers' `CausalLMOutputWithPast`, with `tokens` beside it."""
        if attention_mask is None:
            attention_mask = infer_attention_mask(position_ids)
        assert position_ids is not None
        if int(position_ids.min()) == 0:
            logits = self.context_encoding_model(input_ids, attention_mask, position_ids)
            self.kv_cache_populated = True
        elif input_ids.shape[-1] == self.neuron_config.speculation_length:
            logits = self.speculation_model(input_ids, attention_mask, position_ids)
        else:
            logits = self.token_generation_model(input_ids, attention_mask, position_ids)
        return self._construct_output(logits)

    def _construct_output(self, logits: torch.Tensor) -> Any:
        from transformers.modeling_outputs import CausalLMOutputWithPast

        tokens: Any = logits.argmax(dim=-1) if self.on_device_sampling else logits
        shown = logits if not self.on_device_sampling or self.neuron_config.output_logits else None
        # One tensor where transformers has one for each layer.
        output: Any = CausalLMOutputWithPast(logits=cast(Any, shown), hidden_states=tokens)
        output.tokens = tokens
        return output

    def reset(self) -> None:
        """Makes nothing but the flag new: KV stays."""
        self.kv_cache_populated = False


def infer_attention_mask(position_ids: torch.Tensor | None) -> torch.Tensor:
    """What a call without a mask gets: right for a prompt and for one token. A window's is as long as the window, wherever it
    stands, and so hides almost all that was said before."""
    assert position_ids is not None, (
        "need to call forward with position_ids if attention_mask is not provided"
    )
    length = position_ids.shape[-1]
    if length == 1:
        length = int(position_ids.max())
        position_ids = position_ids.expand(1, length) - 1
    return (position_ids >= torch.arange(length).view(1, -1)).to(position_ids.dtype)


class NeuronLlamaForCausalLM(NeuronBaseForCausalLM):
    """models/llama/modeling_llama.py"""

    @classmethod
    def get_config_cls(cls) -> type[InferenceConfig]:
        return LlamaInferenceConfig
