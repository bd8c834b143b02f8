"""neuron-contract.md §§1.1, 1.2, 1.4: constructor arguments, `NeuronConfig`, heads after padding."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from chatapp.engine.backends import emulator
from chatapp.engine.backends.emulator.constants import GQA
from chatapp.engine.backends.emulator.heads import gqa_of, padded_heads
from tests.helpers import checkpoints

MODELS = {"7B": (32, 32), "13B": (40, 40), "8B": (32, 8), "3B": (24, 8), "70B": (64, 8), "1.1B": (32, 4)}
TABLE: dict[str, dict[int, tuple[int, int]]] = {
    "7B": {1: (32, 32), 2: (32, 32), 4: (32, 32), 8: (32, 32), 12: (36, 36), 16: (32, 32), 24: (48, 48), 32: (32, 32)},
    "13B": {1: (40, 40), 2: (40, 40), 4: (40, 40), 8: (40, 40), 12: (48, 48), 16: (48, 48), 24: (48, 48), 32: (64, 64)},
    "8B": {1: (32, 8), 2: (32, 8), 4: (32, 8), 8: (32, 8), 12: (36, 36), 16: (32, 16), 24: (48, 24), 32: (32, 32)},
    "3B": {1: (24, 8), 2: (24, 8), 4: (24, 8), 8: (24, 8), 12: (24, 24), 16: (32, 16), 24: (24, 24), 32: (32, 32)},
    "70B": {1: (64, 8), 2: (64, 8), 4: (64, 8), 8: (64, 8), 12: (72, 72), 16: (64, 16), 24: (72, 24), 32: (64, 32)},
    "1.1B": {1: (32, 4), 2: (32, 4), 4: (32, 4), 8: (32, 8), 12: (36, 12), 16: (32, 16), 24: (48, 24), 32: (32, 32)},
}  # fmt: skip
"""neuron-contract.md §1.4: query heads after padding, and key/value heads in the cache, by tensor-parallel degree."""


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("tp_degree", [1, 2, 4, 8, 12, 16, 24, 32])
def test_heads_are_padded_and_replicated(name: str, tp_degree: int) -> None:
    """neuron-contract.md §1.4, the table."""
    heads, kv_heads = MODELS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gqa = gqa_of(None, heads=heads, kv_heads=kv_heads, tp_degree=tp_degree, head_size=128, batches=[1])
    assert padded_heads(heads, kv_heads, tp_degree, gqa) == TABLE[name][tp_degree]


def test_one_key_value_head_per_core_is_enough_when_its_queries_fit() -> None:
    """neuron-contract.md §1.4: 72 over 24 heads on 32 cores are 96 queries, three a core, as a head has."""
    assert padded_heads(72, 24, 32, GQA.REPLICATED_HEADS) == (96, 32)


@pytest.mark.parametrize(
    ("asked", "kv_heads", "tp_degree", "batches", "settled", "warned"),
    [
        (None, 32, 8, [1], None, ""),
        (None, 8, 8, [1], GQA.SHARD_OVER_HEADS, ""),
        (None, 8, 12, [1], GQA.REPLICATED_HEADS, "KV head replication will be enabled"),
        (GQA.REPLICATED_HEADS, 8, 8, [1], GQA.REPLICATED_HEADS, ""),
        (GQA.SHARD_OVER_BATCH, 8, 2, [2, 4], GQA.SHARD_OVER_BATCH, ""),
        (GQA.SHARD_OVER_BATCH, 8, 2, [1], GQA.SHARD_OVER_HEADS, "Cannot enable"),
        (GQA.ALL_GATHER_HEADS, 4, 8, [1], GQA.ALL_GATHER_HEADS, ""),
        (GQA.ALL_GATHER_HEADS, 8, 12, [1], GQA.REPLICATED_HEADS, "Cannot enable"),
    ],
)
def test_sharding_falls_back_with_a_warning(
    asked: GQA | None, kv_heads: int, tp_degree: int, batches: list[int], settled: GQA | None, warned: str
) -> None:
    """neuron-contract.md §1.4 GQA."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = gqa_of(
            asked, heads=32, kv_heads=kv_heads, tp_degree=tp_degree, head_size=128, batches=batches
        )
    assert found is settled
    assert any(warned in str(one.message) for one in caught) if warned else not caught


def test_the_constructor_has_the_librarys_arguments_and_defaults(library: ModuleType) -> None:
    """neuron-contract.md §1.2: no argument more, so that code for the emulator is code for the library."""
    parameters = inspect.signature(library.LlamaForSampling.__init__).parameters
    assert {name: one.default for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY} == {
        "n_positions": 2048,
        "batch_size": 1,
        "amp": "f32",
        "tp_degree": 2,
        "context_length_estimate": None,
        "context_unroll": None,
        "unroll": None,
        "neuron_config": None,
        "prefixed_length": 0,
    }
    assert list(inspect.signature(library.LlamaForSampling.forward).parameters) == [
        "self", "input_ids", "cache_ids", "start_ids", "last_token_id", "input_embeddings", "kwargs",
    ]  # fmt: skip
    assert list(inspect.signature(library.LlamaForSampling.speculative_forward).parameters) == [
        "self", "input_ids", "cache_ids", "start_ids", "speculation_length",
    ]  # fmt: skip


def test_unknown_keywords_are_dropped_in_silence(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.2: the constructor takes and forgets them."""
    assert make(n_position=64).token_buckets == [64, 128]


def test_another_name_of_a_type_is_a_bare_key_error(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.2 `amp`."""
    with pytest.raises(KeyError, match=r"^'bfloat16'$"):
        make(amp="bfloat16")


def test_context_may_not_pass_the_positions(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.2, sanity checks."""
    with pytest.raises(
        AssertionError,
        match=r"^Max context_length_estimate 256 cannot be more than max n_positions 128",
    ):
        make(context_length_estimate=[16, 256])


def test_bsh_cache_needs_continuous_batching(library: ModuleType, make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.2, sanity checks."""
    with pytest.raises(
        AssertionError, match="BSH cache layout can only be configured with continuous batching"
    ):
        make(neuron_config=library.NeuronConfig(cache_layout="BSH"))


def test_continuous_batching_needs_its_batch_size(library: ModuleType, make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.2, sanity checks. With the right one the emulator says that it does not know the feature."""
    config = importlib.import_module("transformers_neuronx.config")
    batching = library.NeuronConfig(continuous_batching=config.ContinuousBatchingConfig(max_num_seqs=2))
    with pytest.raises(AssertionError, match=r"invalid batch_size_for_shared_caches \(2\), 1 is expected"):
        make(neuron_config=batching, batch_size=1)
    with pytest.raises(NotImplementedError, match=r"emulator.*continuous_batching"):
        make(neuron_config=batching, batch_size=2)


def test_scaled_positions_of_another_kind_are_refused(make: Callable[..., Any], tmp_path: Path) -> None:
    """neuron-contract.md §1.2, config limits."""
    path = checkpoints.save(tmp_path, checkpoints.yarn_config())
    with pytest.raises(ValueError, match=r"Only default and llama3 ropes scaling types .* Received yarn"):
        make(path=path)


def test_an_explicit_head_dim_is_ignored(make: Callable[..., Any], tmp_path: Path) -> None:
    """neuron-contract.md §1.2, config limits: the size of a head is hidden_size / num_attention_heads. The built-in pair
    says 64 where that gives 64, so it runs; a checkpoint whose heads are wider fails at its first launch."""
    path = checkpoints.save(tmp_path, checkpoints.llama_config(head_dim=20))
    model = make(path=path)
    assert model.config.attention_head_size == 8
    with pytest.raises(RuntimeError, match=r"shape|size"):
        model(torch.arange(10, 13)[None])


def test_transformers_5_loses_rope_theta_in_silence(make: Callable[..., Any], tmp_path: Path) -> None:
    """neuron-contract.md §0: the library falls back to 10000 without a word."""
    rope = {"rope_type": "default", "rope_theta": 500_000.0}
    path = checkpoints.save(tmp_path, checkpoints.llama_config(rope_parameters=rope))
    assert make(path=path).config.rope_theta == 500_000.0
    emulator.behaviour.new_transformers = True
    assert make(path=path).config.rope_theta == 10_000.0


def test_the_automatic_class_knows_families(library: ModuleType, directory: Path, tmp_path: Path) -> None:
    """neuron-contract.md §1.1."""
    auto = library.NeuronAutoModelForCausalLM
    assert isinstance(
        auto.from_pretrained(str(directory), n_positions=[64], amp="bf16"), library.LlamaForSampling
    )
    with pytest.raises(AssertionError, match="model type 'qwen2' is not supported by Neuron"):
        auto.from_pretrained(str(checkpoints.save(tmp_path / "q", checkpoints.qwen2_config())))
    with pytest.raises(NotImplementedError, match="emulator"):
        auto.from_pretrained(str(checkpoints.save(tmp_path / "m", checkpoints.mistral_config())))


def test_neuron_config_is_keyword_only_and_knows_its_keywords(library: ModuleType) -> None:
    """neuron-contract.md §1.4."""
    with pytest.raises(TypeError, match="positional"):
        library.NeuronConfig(None)
    with pytest.raises(
        AssertionError, match=r"Unexpected NeuronConfig keyword arguments: \{'fuse_qvk': True\}"
    ):
        library.NeuronConfig(fuse_qvk=True)
    with pytest.raises(AssertionError, match="padding_side=both"):
        library.NeuronConfig(padding_side="both")
    with pytest.raises(AssertionError, match="cast_logits_dtype=f32"):
        library.NeuronConfig(cast_logits_dtype="f32")


def test_neuron_config_has_the_librarys_defaults(library: ModuleType) -> None:
    """neuron-contract.md §1.4, fields and defaults."""
    config = library.NeuronConfig()
    assert (config.attention_layout, config.collectives_layout, config.cache_layout) == ("HSB", "HSB", "SBH")
    assert (config.padding_side, config.use_2d_cache_ids, config.cast_logits_dtype) == (
        "left",
        False,
        "float32",
    )
    off = ("group_query_attention", "on_device_generation", "quant", "kv_cache_quant", "continuous_batching")
    assert [getattr(config, name) for name in (*off, "compilation_worker_count")] == [None] * 6
    false = (
        "on_device_embedding", "fuse_qkv", "sequence_parallel_norm", "output_all_logits", "log_softmax_scores",
        "shard_over_sequence", "is_eagle_target", "is_eagle_draft", "bf16_rms_norm",
    )  # fmt: skip
    assert not any(getattr(config, name) for name in false)


def test_neuron_config_reads_the_environment_when_made(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """neuron-contract.md §1.4."""
    monkeypatch.setenv("NEURON_RANK_ID", "3")
    monkeypatch.setenv("NEURON_LOCAL_TP", "4")
    config = library.NeuronConfig()
    monkeypatch.undo()
    assert config.get_g_start_device_id(8) == 12
    assert library.NeuronConfig().get_g_start_device_id(8) == 0


def test_the_model_writes_into_its_config(library: ModuleType, make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.4: what one model settles on binds the next that shares the object."""
    shared = library.NeuronConfig()
    with pytest.warns(UserWarning, match="KV head replication will be enabled"):
        make(neuron_config=shared, tp_degree=4)
    assert shared.group_query_attention is library.GQA.REPLICATED_HEADS
    assert (shared.n_head_padded, shared.kv_replication) == (4, 2)
    # Alone, a degree of two would have been sharded over heads.
    assert make(neuron_config=shared, tp_degree=2).neuron_config.group_query_attention is GQA.REPLICATED_HEADS
    assert make(tp_degree=2).neuron_config.group_query_attention is GQA.SHARD_OVER_HEADS


@pytest.mark.parametrize(
    "feature",
    [
        {"on_device_generation": object()},
        {"quant": object()},
        {"shard_over_sequence": True},
        {"log_softmax_scores": True},
    ],
)
def test_what_is_not_emulated_is_refused(
    library: ModuleType, make: Callable[..., Any], feature: dict[str, Any]
) -> None:
    """neuron-contract.md, what the emulator leaves out: never something else than the library would compute."""
    with pytest.raises(NotImplementedError, match=f"emulator.*{next(iter(feature))}"):
        make(neuron_config=library.NeuronConfig(**feature))


@pytest.mark.parametrize("option", [{"prefixed_length": 4}, {"amp": "bf16-u8-f32"}])
def test_constructor_options_that_are_not_emulated_are_refused(
    make: Callable[..., Any], option: dict[str, Any]
) -> None:
    """neuron-contract.md §1.2 and §4, what the emulator leaves out."""
    with pytest.raises(NotImplementedError, match="emulator"):
        make(**option)
