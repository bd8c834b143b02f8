"""`NeuronConfig` and its kin: keyword only, unknown keys are refused, and models write into it. Knows no model.

Source: transformers_neuronx 0.13, config.py; neuron-contract.md §1.4.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

from chatapp.engine.backends.emulator.constants import GQA, Layout

VALID_DTYPES = ("float32", "float16", "bfloat16")
NOT_EMULATED: tuple[tuple[str, Any], ...] = (
    ("sparse_attn", None),
    ("quant", None),
    ("kv_cache_quant", None),
    ("continuous_batching", None),
    ("on_device_generation", None),
    ("log_softmax_scores", False),
    ("shard_over_sequence", False),
    ("is_eagle_target", False),
    ("is_eagle_draft", False),
)
"""Features that change what graphs compute or return, each with the value that leaves it off."""


class GenerationConfig:
    """On-device sampling: part of the public names, and refused by the emulated models."""

    def __init__(
        self,
        *,
        max_length: int | None = None,
        do_sample: bool = False,
        top_k: int = 50,
        top_p: float = 1.0,
        top_p_min_tokens: int = 1,
        global_top_k: int | None = None,
        eos_token_id: int | list[int] | None = None,
        temperature: float = 1.0,
        dynamic: bool = False,
        deterministic: bool = False,
        per_batch_line: bool = False,
    ) -> None:
        self.max_length = max_length
        self.do_sample = do_sample
        self.top_k = top_k
        self.top_p = top_p
        self.top_p_min_tokens = top_p_min_tokens
        self.global_top_k = global_top_k
        self.eos_token_id = eos_token_id
        self.temperature = temperature
        self.dynamic = dynamic
        self.deterministic = deterministic
        self.per_batch_line = per_batch_line


class ContinuousBatchingConfig:
    """Serving several sequences at once: checked like the library's, and refused by the emulated models."""

    def __init__(self, *, max_num_seqs: int | None = None, batch_size_for_shared_caches: int = 0) -> None:
        self.max_num_seqs = batch_size_for_shared_caches if max_num_seqs is None else max_num_seqs

    @property
    def batch_size_for_shared_caches(self) -> int:
        return self.max_num_seqs


class NeuronConfig:
    """Options of a model beyond its constructor's. Belongs to one model: that one writes its findings into it."""

    def __init__(
        self,
        *,
        sparse_attn: Any = None,
        quant: Any = None,
        kv_cache_quant: Any = None,
        continuous_batching: ContinuousBatchingConfig | None = None,
        attention_layout: str = Layout.HSB,
        collectives_layout: str = Layout.HSB,
        cache_layout: str = Layout.SBH,
        padding_side: str = "left",
        group_query_attention: GQA | str | None = None,
        sequence_parallel_norm: bool = False,
        sequence_parallel_norm_threshold: int = 2048,
        bf16_rms_norm: bool = False,
        on_device_embedding: bool = False,
        on_device_generation: GenerationConfig | None = None,
        all_reduce_dtype: str | None = None,
        cast_logits_dtype: str = "float32",
        fuse_qkv: bool = False,
        qkv_tiling: bool = False,
        weight_tiling: bool = False,
        log_softmax_scores: bool = False,
        shard_over_sequence: bool = False,
        output_all_logits: bool = False,
        attn_output_transposed: bool = False,
        fused_rmsnorm_qkv: bool = False,
        fused_rmsnorm_mlp: bool = False,
        mlp_out_weight_transpose: bool = False,
        fuse_mlp: bool = False,
        is_eagle_target: bool = False,
        is_eagle_draft: bool = False,
        has_pre_attention_norm: bool = True,
        compilation_worker_count: int | None = None,
        duplicate_q_weight_sos: bool = False,
        **kwargs: Any,
    ) -> None:
        if cast_logits_dtype not in VALID_DTYPES:
            raise AssertionError(
                f"The `cast_logits_dtype={cast_logits_dtype}` argument must be one of {list(VALID_DTYPES)}"
            )
        if padding_side not in ("left", "right"):
            raise AssertionError(
                f"The `padding_side={padding_side}` argument must be either 'left' or 'right'"
            )
        lhs_aligned = padding_side == "right"
        for old in ("use_2d_cache_ids", "lhs_aligned"):
            if old in kwargs:
                warnings.warn(
                    f"NeuronConfig `{old}` argument is deprecated. Please specify `padding_side = 'right'`.",
                    stacklevel=2,
                )
                lhs_aligned = kwargs.pop(old)
        if kwargs:
            raise AssertionError(f"Unexpected NeuronConfig keyword arguments: {kwargs}")
        self.sparse_attn = sparse_attn
        self.quant = quant
        self.kv_cache_quant = kv_cache_quant
        self.continuous_batching = continuous_batching
        self.attention_layout = Layout(attention_layout)
        self.collectives_layout = Layout(collectives_layout)
        self.cache_layout = Layout(cache_layout)
        self.padding_side = "right" if continuous_batching else padding_side
        self.lhs_aligned = lhs_aligned or bool(continuous_batching)
        self.group_query_attention = None if group_query_attention is None else GQA(group_query_attention)
        self.sequence_parallel_norm = sequence_parallel_norm
        self.sequence_parallel_norm_threshold = sequence_parallel_norm_threshold
        self.bf16_rms_norm = bf16_rms_norm
        self.on_device_embedding = on_device_embedding
        self.on_device_generation = on_device_generation
        self.all_reduce_dtype = all_reduce_dtype
        self.cast_logits_dtype = cast_logits_dtype
        self.fuse_qkv = fuse_qkv
        self.qkv_tiling = qkv_tiling
        self.weight_tiling = weight_tiling
        self.log_softmax_scores = log_softmax_scores
        self.shard_over_sequence = shard_over_sequence
        self.output_all_logits = output_all_logits
        self.attn_output_transposed = attn_output_transposed
        self.fused_rmsnorm_qkv = fused_rmsnorm_qkv
        self.fused_rmsnorm_mlp = fused_rmsnorm_mlp
        self.mlp_out_weight_transpose = mlp_out_weight_transpose
        self.fuse_mlp = fuse_mlp
        self.is_eagle_target = is_eagle_target
        self.is_eagle_draft = is_eagle_draft
        self.has_pre_attention_norm = has_pre_attention_norm
        self.compilation_worker_count = compilation_worker_count
        self.duplicate_q_weight_sos = duplicate_q_weight_sos
        # Read here and nowhere later, as in the library.
        local_tp = os.environ.get("NEURON_LOCAL_TP")
        self.rank_id = int(os.environ.get("NEURON_RANK_ID", "0"))
        self.local_tp = None if local_tp is None else int(local_tp)
        self.pp_stages = int(os.environ.get("NEURON_PP_STAGES", "1"))
        # Written by the model.
        self.num_layers = 0
        self.n_head_padded: int | None = None
        self.kv_replication: int | None = None

    @property
    def use_2d_cache_ids(self) -> bool:
        return self.lhs_aligned

    @property
    def vectorize_last_token_id(self) -> bool:
        return self.lhs_aligned

    @property
    def bsh_cache_layout(self) -> bool:
        return self.cache_layout is Layout.BSH

    def is_pp(self) -> bool:
        return self.pp_stages > 1

    def get_local_tp(self, tp: int) -> int:
        return tp if self.local_tp is None else self.local_tp

    def get_g_start_device_id(self, tp: int) -> int:
        """The first core: 0 for every process without NEURON_RANK_ID, so for draft and target alike."""
        return self.rank_id * self.get_local_tp(tp)


def refuse_what_is_not_emulated(config: NeuronConfig) -> None:
    """Raises `NotImplementedError` rather than compute something else than the library."""
    on = [name for name, off in NOT_EMULATED if getattr(config, name) != off]
    if config.is_pp():
        on.append("NEURON_PP_STAGES")
    if on:
        raise NotImplementedError(f"the emulator of transformers_neuronx does not know {', '.join(on)}")
