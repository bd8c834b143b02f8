"""The emulator under the library's names, its launch log and pacer, and two models in one process (neuron-contract.md §1.7)."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from chatapp.engine.backends import emulator
from chatapp.engine.backends.emulator import Launch
from chatapp.engine.backends.emulator.installing import LIBRARY

IDS = torch.arange(10, 40)[None]


def test_every_import_name_works(library: ModuleType) -> None:
    for name, members in (
        ("", ("LlamaForSampling", "NeuronAutoModelForCausalLM", "NeuronConfig", "GQA", "GenerationConfig")),
        (".config", ("NeuronConfig", "GenerationConfig")),
        (".constants", ("GQA", "LAYOUT_BSH")),
        (".llama.model", ("LlamaForSampling",)),
        (".modeling_auto", ("NeuronAutoModelForCausalLM",)),
        (".module", ("save_pretrained_split",)),
    ):
        module = importlib.import_module(LIBRARY + name)
        assert all(hasattr(module, member) for member in members)
    assert importlib.util.find_spec(LIBRARY) is not None
    assert "emulator" in library.__version__


def test_nothing_is_left_behind() -> None:
    emulator.behaviour.cores = 4
    with emulator.installed():
        assert emulator.behaviour.cores == 32
        emulator.behaviour.cores = 1
        assert emulator.is_installed()
    assert not emulator.is_installed()
    assert not [name for name in sys.modules if name.startswith(LIBRARY)]
    assert emulator.behaviour.cores == 32
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(LIBRARY)


def test_the_real_library_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LIBRARY).mkdir()
    (tmp_path / LIBRARY / "__init__.py").write_text("__version__ = '0.13.1315'\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="transformers_neuronx is installed here"):
        emulator.install()
    real = importlib.import_module(LIBRARY)
    try:
        with pytest.raises(RuntimeError, match="transformers_neuronx is installed here"):
            emulator.install()
        emulator.uninstall()
        assert sys.modules[LIBRARY] is real
    finally:
        del sys.modules[LIBRARY]


def test_installing_twice_is_installing_once(library: ModuleType) -> None:
    emulator.install()
    assert importlib.import_module(LIBRARY) is library


def test_launches_are_charged_to_their_model(make: Callable[..., Any]) -> None:
    """neuron-contract.md §4.5."""
    first, second = make(), make()
    first(IDS[:, :10])
    second(IDS[:, :20])
    second(IDS[:, :1], torch.tensor([20]))
    assert emulator.launches.count(first) == 1
    assert emulator.launches.count(second) == 2
    assert emulator.launches.count(second, "token") == 1
    emulator.launches.clear()
    assert emulator.launches.count(second) == 0


def test_the_pacer_is_around_every_launch(make: Callable[..., Any]) -> None:
    """What the rehearsal holds back; the order of launches is seen there too."""
    model = make()
    seen: list[tuple[str, Launch]] = []

    @contextmanager
    def pacer(launch: Launch, asking: object) -> Iterator[None]:
        assert asking is model
        seen.append(("begins", launch))
        yield
        seen.append(("ends", launch))

    emulator.launches.pacer = pacer
    model(IDS[:, :10])
    model.speculative_forward(IDS[:, 10:14], torch.arange(10, 14), None, 4)
    context, window = Launch("context", 16, 16), Launch("spec", 4, 64)
    assert seen == [("begins", context), ("ends", context), ("begins", window), ("ends", window)]


def test_draft_and_target_take_the_same_cores(library: ModuleType, make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.7: both start at core 0, one memory for both."""
    make(tp_degree=2)
    alone = emulator.device.used(0)
    make(tp_degree=2, neuron_config=library.NeuronConfig())
    assert emulator.device.used(0) == 2 * alone
    assert emulator.device.used(1) == 2 * alone
    assert emulator.device.used(2) == 0


def test_a_rank_starts_at_other_cores(
    library: ModuleType, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """neuron-contract.md §1.7."""
    monkeypatch.setenv("NEURON_RANK_ID", "1")
    make(tp_degree=2, neuron_config=library.NeuronConfig())
    assert (emulator.device.used(0), emulator.device.used(2) > 0) == (0, True)


def test_a_model_runs_inside_and_outside_of_inference_mode(make: Callable[..., Any]) -> None:
    """Whoever loads it: the KV can be written from both."""
    with torch.inference_mode():
        model = make()
        first = model(IDS[:, :10]).clone()
    assert torch.equal(model(IDS[:, :10]), first)
    model.speculative_forward(IDS[:, 10:14], torch.arange(10, 14), None, 4)
