"""`LlamaForSampling`: weights on simulated cores, `forward`, `speculative_forward`, `sample`.

The public names, arguments, defaults, results and errors are the library's; what computes is `arithmetic`. Knows no engine
of this application.

Source: transformers_neuronx 0.13, llama/model.py:32-349, module.py:398-460; neuron-contract.md §§1-3.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's customary name
from transformers import AutoConfig
from typing_extensions import Self

from chatapp.engine.backends.emulator import buckets, sampling, state
from chatapp.engine.backends.emulator.arithmetic import Arithmetic, KeyValues, LayerWeights
from chatapp.engine.backends.emulator.base import NeuronModelBase
from chatapp.engine.backends.emulator.constants import GQA
from chatapp.engine.backends.emulator.graphs import Decoder, Shared
from chatapp.engine.backends.emulator.heads import gqa_of, padded_heads, rounded_up
from chatapp.engine.backends.emulator.llama_config import LlamaConfig
from chatapp.engine.backends.emulator.neuron_config import NeuronConfig, refuse_what_is_not_emulated
from chatapp.engine.backends.emulator.weight_files import WeightFiles

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
TRACED = (
    "attention_layout", "collectives_layout", "cache_layout", "fuse_qkv", "on_device_embedding", "output_all_logits",
    "sequence_parallel_norm", "lhs_aligned", "bf16_rms_norm", "n_head_padded", "kv_replication",
)  # fmt: skip
"""Options that change a program."""


class LlamaForSampling(NeuronModelBase):
    """Built by `from_pretrained(directory, **kwargs)`. Unknown keywords are dropped in silence, as in the library."""

    def __init__(
        self,
        config: Any,
        *,
        n_positions: list[int] | int = 2048,
        batch_size: list[int] | int = 1,
        amp: str = "f32",
        tp_degree: int = 2,
        context_length_estimate: list[int] | int | None = None,
        context_unroll: int | None = None,
        unroll: int | None = None,
        neuron_config: NeuronConfig | None = None,
        prefixed_length: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        del kwargs
        if prefixed_length or "-u8-" in amp:
            raise NotImplementedError(
                "the emulator of transformers_neuronx does not know prefixed_length and u8 weights"
            )
        dtype = DTYPES[amp]
        self.config = LlamaConfig(
            config, n_positions, batch_size, amp, tp_degree, new_transformers=state.behaviour.new_transformers
        )
        self.neuron_config = neuron_config if neuron_config is not None else NeuronConfig()
        refuse_what_is_not_emulated(self.neuron_config)
        self.neuron_config.num_layers = self.config.num_hidden_layers
        self.token_buckets = buckets.token_sizes(n_positions)
        self.context_buckets = buckets.context_sizes(context_length_estimate, self.token_buckets)
        self.batch_sizes = buckets.batch_sizes(batch_size)
        self.unroll = self.config.num_hidden_layers if unroll is None else unroll
        self.context_unroll = self.config.num_hidden_layers if context_unroll is None else context_unroll
        self.chkpt_model = SimpleNamespace(model=SimpleNamespace(embed_tokens=None))
        self._weight_files: WeightFiles | None = None
        self._settle_heads()
        self._make_decoders(dtype)

    @classmethod
    def from_pretrained(cls, pretrained_model_path: str | Path, *model_args: Any, **kwargs: Any) -> Self:
        """Reads config.json and finds the weights; lazy layouts are read in `to_neuron`. Only directories: the emulator
        downloads nothing."""
        _check_kwargs(kwargs)
        directory = Path(pretrained_model_path)
        if not directory.is_dir():
            raise OSError(
                f"Could not find a checkpoint for {pretrained_model_path} in a supported format "
                "(safetensors model or pytorch binary model)"
            )
        model = cls(AutoConfig.from_pretrained(str(directory)), *model_args, **kwargs)
        model.load_state_dict_dir(directory)
        return model

    def load_state_dict_dir(self, pretrained_model_path: str | Path) -> None:
        self._weight_files = WeightFiles(Path(pretrained_model_path))

    def _settle_heads(self) -> None:
        """Write the sharding of heads into the config object, which is why no two models may share one."""
        config, options = self.config, self.neuron_config
        options.group_query_attention = gqa_of(
            options.group_query_attention,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            tp_degree=config.tp_degree,
            head_size=config.attention_head_size,
            batches=self.batch_sizes,
        )

    def _make_decoders(self, dtype: torch.dtype) -> None:
        config = self.config
        first = self.neuron_config.get_g_start_device_id(config.tp_degree)
        self._shared = Shared(
            model=self,
            device=state.device,
            launches=state.launches,
            arithmetic=Arithmetic(config, dtype),
            cores=range(first, first + config.tp_degree),
            traced={},
            two_dimensional_ids=self.neuron_config.use_2d_cache_ids,
            caches={
                batch: KeyValues(config, self.token_buckets[-1], batch, dtype) for batch in self.batch_sizes
            },
        )
        self.decoder_lm_head = Decoder(
            self._shared, "token", self.token_buckets, 1, self.batch_sizes, self.unroll, return_all_outputs=True, tag="token"
        )  # fmt: skip
        self.register_for_serialization(self.decoder_lm_head)
        for bucket in self.context_buckets:
            for batch in self.batch_sizes:
                decoder = Decoder(
                    self._shared,
                    "context",
                    [bucket],
                    bucket,
                    [batch],
                    self.context_unroll,
                    return_all_outputs=self.neuron_config.output_all_logits,
                    tag="context",
                )
                self.decoder_lm_head_for_context[bucket, batch] = decoder
                self.register_for_serialization(decoder)

    def load_weights(self) -> None:
        """Embedding to the host; layer by layer to the cores; then the head, and every program is traced."""
        files = self._weight_files
        if files is None:
            raise ValueError("Attempted to use an uninitialized parameter: no checkpoint was loaded")
        config, arithmetic = self.config, self._shared.arithmetic
        # Stays on the host, in float32 whatever the model's type.
        with torch.inference_mode(False):
            embedding = files.tensor("model.embed_tokens.weight").float()
        self.chkpt_model.model.embed_tokens = torch.nn.Embedding(
            embedding.shape[0], embedding.shape[1], _weight=embedding
        )
        self.chkpt_model.model.embed_tokens.requires_grad_(False)
        heads, kv_heads = padded_heads(
            config.num_attention_heads,
            config.num_key_value_heads,
            config.tp_degree,
            self.neuron_config.group_query_attention,
        )
        self.neuron_config.n_head_padded = heads
        if self.neuron_config.group_query_attention is GQA.REPLICATED_HEADS:
            self.neuron_config.kv_replication = kv_heads // config.num_key_value_heads
        size = self._layer_bytes(heads, kv_heads)
        for index in range(config.num_hidden_layers):
            layer = self.decoder_lm_head.new_layer()
            layer.to_neuron(self._layer(files, f"model.layers.{index}."), size)
        arithmetic.gain = arithmetic.rounded(files.tensor("model.norm.weight"))
        arithmetic.head = self._padded_head(
            arithmetic.rounded(files.tensor("lm_head.weight", tied_to="model.embed_tokens.weight"))
        )
        if self._shared.on_device:
            share = arithmetic.head.numel() * arithmetic.dtype.itemsize // config.tp_degree
            self._shared.device.allocate_tensor(self._shared.cores, share)
        self._shared.traced.update(self._traced())
        for decoder in self.nbs_objs:
            decoder.trace()

    def _layer(self, files: WeightFiles, prefix: str) -> LayerWeights:
        def read(name: str) -> torch.Tensor:
            return self._shared.arithmetic.rounded(files.tensor(f"{prefix}{name}.weight"))

        return LayerWeights(
            attention_gain=read("input_layernorm"),
            query=read("self_attn.q_proj"),
            key=read("self_attn.k_proj"),
            value=read("self_attn.v_proj"),
            out=read("self_attn.o_proj"),
            mlp_gain=read("post_attention_layernorm"),
            gate=read("mlp.gate_proj"),
            up=read("mlp.up_proj"),
            down=read("mlp.down_proj"),
        )

    def _layer_bytes(self, heads: int, kv_heads: int) -> int:
        """Of one core: weights of a layer and its KV for every batch size, after padding and replication."""
        config, tp = self.config, self.config.tp_degree
        attention = 2 * config.hidden_size * (heads + kv_heads) * config.attention_head_size
        mlp = 3 * config.hidden_size * rounded_up(config.intermediate_size, tp)
        cached = 2 * self.token_buckets[-1] * sum(self.batch_sizes) * kv_heads * config.attention_head_size
        return (attention + mlp + cached) * self._shared.arithmetic.dtype.itemsize // tp

    def _padded_head(self, head: torch.Tensor) -> torch.Tensor:
        """The vocabulary is padded so that the cores share it evenly; the environment may say otherwise."""
        tp = self.config.tp_degree
        divisor = int(os.environ.get("NEURON_VOCAB_PAD_DIVISOR", str(tp)))
        padded = F.pad(head, (0, 0, 0, rounded_up(head.shape[0], divisor) - head.shape[0]))
        if padded.shape[0] % tp:
            parts = -(-padded.shape[0] // (padded.shape[0] // tp))
            raise ValueError(
                f"Weight with shape {padded.T.shape} cannot be sharded along dimension 1. This results in {parts} weight "
                f"partitions which cannot be distributed to {tp} NeuronCores evenly. To fix this issue either the model "
                "parameters or the `tp_degree` must be changed to allow the weight to be evenly split"
            )
        return padded

    def _traced(self) -> dict[str, Any]:
        """What every program of this model depends on besides its own shape. No weight does."""
        config = self.config
        found = {name: str(getattr(self.neuron_config, name)) for name in TRACED}
        return found | {
            "gqa": str(self.neuron_config.group_query_attention),
            "amp": config.amp,
            "tp_degree": config.tp_degree,
            "hidden": config.hidden_size,
            "intermediate": config.intermediate_size,
            "heads": config.num_attention_heads,
            "kv_heads": config.num_key_value_heads,
            "vocabulary": self._shared.arithmetic.head.shape[0],
            "norm_eps": config.rms_norm_eps,
            "rotary": repr(config.rotary),
            "cache_positions": self.token_buckets[-1],
        }

    def _embed(self, input_ids: torch.Tensor) -> torch.Tensor:
        """`[hidden, rows, batch]`."""
        embedding = self.chkpt_model.model.embed_tokens
        if embedding is None:
            # Before `to_neuron`; the decoder that gets this refuses.
            return torch.zeros(self.config.hidden_size, input_ids.shape[1], input_ids.shape[0])
        hidden: torch.Tensor = embedding(input_ids.long())
        return hidden.transpose(0, -1)

    def forward(
        self,
        input_ids: torch.Tensor,
        cache_ids: torch.Tensor | None = None,
        start_ids: torch.Tensor | None = None,
        last_token_id: torch.Tensor | None = None,
        input_embeddings: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Logits of the last real token, `[batch, vocab_size]`; of all with `output_all_logits`, over the padded vocabulary."""
        del kwargs
        if last_token_id is None or cache_ids is None or start_ids is None:
            input_ids, cache_ids, start_ids, last_token_id = self._preprocess(input_ids, cache_ids, start_ids)
        hidden = self._embed(input_ids) if input_embeddings is None else input_embeddings
        rows = hidden.shape[1]
        run = self.context if rows > 1 else self.decoder_lm_head
        logits = self._cast_logits(run(hidden, cache_ids, start_ids, last_token_id))
        if self.neuron_config.output_all_logits and rows > 1:
            return logits.permute(2, 1, 0)
        return logits[: self.config.vocab_size, -1, :].transpose(0, 1)

    def speculative_forward(
        self,
        input_ids: torch.Tensor,
        cache_ids: torch.Tensor | None = None,
        start_ids: torch.Tensor | None = None,
        speculation_length: Any = None,
    ) -> torch.Tensor:
        """Logits of every token, `[rows, vocab_size, batch]`. `speculation_length` is ignored unless it is None or a tuple:
        the number of tokens decides, and what is longer than the graph is cut off in silence."""
        batch, length = input_ids.shape
        if start_ids is None:
            start_ids = torch.zeros(batch, dtype=torch.int32)
        if cache_ids is None:
            cache_ids = torch.arange(length, dtype=torch.int32)
            if self.neuron_config.use_2d_cache_ids:
                cache_ids = cache_ids.expand(batch, length)
        if speculation_length is None:
            decoder = self.decoder_lm_head
        elif speculation_length in self.decoder_lm_head_for_speculation:
            decoder = self.decoder_lm_head_for_speculation[speculation_length, batch]
        else:
            # In the order of enabling: the search needs it ascending.
            lengths = [rows for rows, _ in self.decoder_lm_head_for_speculation]
            speculation_length = buckets.find(lengths, length)
            decoder = self.decoder_lm_head_for_speculation[speculation_length, batch]
        hidden = self._embed(input_ids)
        with torch.inference_mode():
            logits = decoder(hidden, cache_ids, start_ids)
        logits = self._cast_logits(logits)
        return logits[: self.config.vocab_size, -speculation_length:, :].transpose(0, 1)

    def sample(
        self,
        input_ids: torch.Tensor,
        sequence_length: int,
        cache_ids: torch.Tensor | None = None,
        start_ids: torch.Tensor | None = None,
        top_k: int | None = 50,
        top_p: float | None = 1.0,
        eos_token_override: int | list[int] | None = None,
        temperature: float = 1.0,
        streamer: Any = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """The library's loop. `cache_ids` and what else it takes for other uses are refused."""
        if cache_ids is not None or kwargs:
            raise NotImplementedError(
                "the emulator of transformers_neuronx samples from position 0 without extras"
            )
        if input_ids.shape[0] not in self.batch_sizes:
            raise ValueError(
                f"Model not compiled for batch_size : {input_ids.shape[0]}. Acceptable batch_size is one of the following "
                f"{self.batch_sizes}"
            )
        ends = self.config.eos_token_id if eos_token_override is None else eos_token_override
        return sampling.sample_llama(
            self,
            input_ids,
            start_ids,
            sequence_length,
            eos_token_id=ends,
            top_k=top_k,
            top_p=top_p,
            temperature=temperature,
            streamer=streamer,
        )


def _check_kwargs(kwargs: dict[str, Any]) -> None:
    """What `from_pretrained` asserts before it reads anything."""
    positions = kwargs.get("n_positions", 2048)
    longest = max(positions) if isinstance(positions, list) else positions
    context = kwargs.get("context_length_estimate")
    longest_context = max(context) if isinstance(context, list) else context
    if isinstance(longest, int) and isinstance(longest_context, int):
        assert longest >= longest_context, (
            f"Max context_length_estimate {longest_context} cannot be more than max n_positions {longest}."
        )
    config = kwargs.get("neuron_config")
    if config is not None and not config.continuous_batching:
        assert not config.bsh_cache_layout, (
            "BSH cache layout can only be configured with continuous batching."
        )
    if config is not None and config.continuous_batching:
        expected, given = config.continuous_batching.max_num_seqs, kwargs.get("batch_size")
        assert expected == given, f"invalid batch_size_for_shared_caches ({expected}), {given} is expected"
