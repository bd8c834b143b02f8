"""The emulated `NeuronConfig` and `InferenceConfig`: what they accept, refuse, change and pass over."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from chatapp.engine.backends.emulator.nxdi import PACKAGE, install, installed, uninstall
from tests.helpers import checkpoints
from tests.helpers.nxdi import ROPE, library, neuron_config


@pytest.fixture(autouse=True)
def emulator() -> Iterator[None]:
    with installed():
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.save(tmp_path_factory.mktemp("llama"), checkpoints.llama_config())


def inference_config(hook: Any, **values: Any) -> Any:
    config = library("models.llama.modeling_llama").LlamaInferenceConfig
    return config(neuron_config(), load_config=hook, **values)


def test_unknown_keys_only_log_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """neuron-contract.md §7: "Unknown keys only log a warning"."""
    with caplog.at_level(logging.WARNING):
        config = neuron_config(tensor_parallel=8, speculation_lenght=4)
    assert "Unexpected keyword arguments: {'tensor_parallel': 8, 'speculation_lenght': 4}" in caplog.text
    assert config.tp_degree == 1
    assert not hasattr(config, "tensor_parallel")


def test_known_keys_and_defaults_log_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """neuron-contract.md §7: the constructor's list of defaults."""
    with caplog.at_level(logging.WARNING):
        config = library("models.config").NeuronConfig()
    assert caplog.text == ""
    assert (config.batch_size, config.seq_len, config.max_context_length, config.max_length) == (
        1,
        128,
        128,
        128,
    )
    assert (config.torch_dtype, config.padding_side, config.enable_bucketing) == (
        torch.bfloat16,
        "right",
        False,
    )
    assert (config.on_device_sampling_config, config.output_logits, config.speculation_length) == (
        None,
        False,
        0,
    )


def test_lengths_that_do_not_fit_together() -> None:
    """neuron-contract.md §7, `NeuronConfig`: bare assertions."""
    make = library("models.config").NeuronConfig
    with pytest.raises(AssertionError, match="max_context_length cannot be more than max_length"):
        make(seq_len=64, max_context_length=128)
    with pytest.raises(AssertionError, match="Context bucket 128 should be <= 64"):
        make(seq_len=64, context_encoding_buckets=[32, 128])
    with pytest.raises(AssertionError, match="Token generation bucket 128 should be <= 64"):
        make(seq_len=64, token_generation_buckets=[128])


def test_bucket_lists_are_sorted_in_the_callers_hands() -> None:
    """neuron-contract.md §7, `context_encoding_buckets`."""
    mine = [32, 16]
    neuron_config(context_encoding_buckets=mine)
    assert mine == [16, 32]


def test_a_dtype_that_was_not_named_is_the_checkpoints(checkpoint: Path) -> None:
    """neuron-contract.md §7, `torch_dtype=bf16`: only until the checkpoint's config is read."""
    hook = library("utils.hf_adapter").load_pretrained_config
    plain = SimpleNamespace(
        to_dict=lambda: {**checkpoints.LLAMA, "rms_norm_eps": 1e-6, "torch_dtype": "float32"}
    )
    for named, expected in (({}, torch.float32), ({"torch_dtype": "float16"}, torch.float16)):
        config = library("models.config").NeuronConfig(**named)
        library("models.config").InferenceConfig(config, load_config=hook(hf_config=plain))
        assert config.torch_dtype == expected
    with pytest.raises(AssertionError, match="Unsupported dtype: bf16"):
        library("models.config").NeuronConfig(torch_dtype="bf16")


def test_a_config_of_transformers_5_lacks_rope_theta(checkpoint: Path) -> None:
    """neuron-contract.md §7 flow, with what §0 says of transformers 5: `rope_theta` is no attribute any more. This library
    refuses where its predecessor took 10000; given by name it is content, but a scaling is lost without a word."""
    values = {**checkpoints.LLAMA, "rms_norm_eps": 1e-6, "hidden_act": "silu"}
    scaled = {"rope_type": "llama3", "factor": 8.0, "rope_theta": 500_000.0}
    modern = SimpleNamespace(to_dict=lambda: {**values, "rope_parameters": scaled})
    hook = library("utils.hf_adapter").load_pretrained_config
    with pytest.raises(AssertionError, match=r"Config must define \['rope_theta'\]"):
        inference_config(hook(hf_config=modern))
    config = inference_config(hook(hf_config=modern), rope_theta=500_000.0)
    assert getattr(config, "rope_scaling", None) is None


def test_one_source_of_the_checkpoints_config(checkpoint: Path) -> None:
    """neuron-contract.md §7, `load_pretrained_config(path)`."""
    hook = library("utils.hf_adapter").load_pretrained_config
    with pytest.raises(ValueError, match="Please provide only one"):
        inference_config(hook(), **ROPE)
    config = inference_config(hook(str(checkpoint)), **ROPE)
    assert config.hidden_size == checkpoints.LLAMA["hidden_size"]


def test_what_is_saved_beside_the_graphs(checkpoint: Path, tmp_path: Path) -> None:
    """neuron-contract.md §7: compile writes the config."""
    hook = library("utils.hf_adapter").load_pretrained_config
    inference_config(hook(str(checkpoint)), **ROPE).save(str(tmp_path / "compiled"))
    saved = json.loads((tmp_path / "compiled" / library("models.config").CONFIG_FILE).read_text())
    assert saved["neuron_config"]["torch_dtype"] == "float32"
    assert saved["neuron_config"]["context_encoding_buckets"] == [16, 32]
    assert saved["vocab_size"] == checkpoints.VOCABULARY


def test_the_emulator_comes_and_goes() -> None:
    assert library("models.config").__name__ == f"{PACKAGE}.models.config"
    install()  # again: no effect
    uninstall()
    assert not [name for name in sys.modules if name.startswith(PACKAGE)]
    with pytest.raises(ModuleNotFoundError):
        library("models.config")


def test_the_real_library_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall()
    monkeypatch.setitem(sys.modules, PACKAGE, ModuleType(PACKAGE))
    with pytest.raises(RuntimeError, match="is installed here"):
        install()
