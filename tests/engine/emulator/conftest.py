"""The emulator under the library's import names, and small checkpoints."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chatapp.engine.backends import emulator
from tests.helpers import checkpoints


@pytest.fixture
def library() -> Iterator[ModuleType]:
    """`transformers_neuronx`, emulated on a fresh instance."""
    with emulator.installed():
        yield importlib.import_module("transformers_neuronx")


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with two key/value heads under four, a vocabulary of 420 and 320 positions."""
    return checkpoints.save(tmp_path_factory.mktemp("emulated"), checkpoints.llama_config())


@pytest.fixture
def make(library: ModuleType, directory: Path) -> Callable[..., Any]:
    """A model of `directory` as keywords say, with the buckets of neuron-contract.md §3; `windows` are enabled in the order
    given, and it is on the cores unless `on_cores` is False. `replicate` asks for what more cores than heads lead to, which
    the library else warns of."""

    def made(
        windows: list[int] | None = None, on_cores: bool = True, replicate: bool = False, **kwargs: Any
    ) -> Any:
        if replicate:
            kwargs["neuron_config"] = library.NeuronConfig(group_query_attention="replicated-heads")
        options = {"n_positions": [64, 128], "context_length_estimate": [16, 32], **kwargs}
        model = library.LlamaForSampling.from_pretrained(str(options.pop("path", directory)), **options)
        if windows is None or windows:
            model.enable_speculative_decoder([4, 8] if windows is None else windows)
        if on_cores:
            model.to_neuron()
        return model

    return made
