"""What the library would pass over in silence, or die of, in our words."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chatapp.domain.errors import ArtefactsDamaged, DeviceUnavailable, LoadFailed, UnsupportedModel
from chatapp.domain.neuron import NeuronSettings
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.emulator.nxdi import PACKAGE, VERSION, uninstall
from chatapp.engine.backends.nxdi.arguments import resolved
from chatapp.engine.backends.nxdi.library import library_versions, make_application, require_compiled
from tests.helpers import checkpoints
from tests.helpers.nxdi import library

SETTINGS = resolved(
    NeuronSettings(tp_degree=2, positions=64, windows=(8,), token_buckets=(64,), context_buckets=(32,))
)


def test_the_version_is_said() -> None:
    assert library_versions() == (("neuronx-distributed-inference", VERSION),)


def test_the_library_is_not_there() -> None:
    uninstall()
    with pytest.raises(DeviceUnavailable, match="neuronx-distributed-inference is not installed") as raised:
        library_versions()
    assert "chatapp doctor" in raised.value.remedy


def test_a_package_that_it_needs_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of it can be imported without neuronx_distributed and torch_neuronx (neuron-contract.md §7, CPU)."""
    uninstall()
    models = tmp_path / PACKAGE / "models"
    models.mkdir(parents=True)
    for folder in (models.parent, models):
        (folder / "__init__.py").touch()
    (models / "config.py").write_text("import neuronx_distributed.quantization\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        with pytest.raises(DeviceUnavailable, match="cannot be imported without neuronx_distributed"):
            library_versions()
    finally:
        for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
            del sys.modules[name]


def test_a_setting_that_this_version_does_not_know(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would log a line and compile something else (neuron-contract.md §7, unknown keys)."""
    config = library("models.config").NeuronConfig
    init: Callable[..., None] = config.__init__

    def older(self: Any, **arguments: Any) -> None:
        init(self, **arguments)
        del self.token_generation_buckets

    monkeypatch.setattr(config, "__init__", older)
    with pytest.raises(LoadFailed, match="does not know the setting token_generation_buckets"):
        make_application(read_checkpoint(llama), SETTINGS, "target")


def test_families_that_this_version_has_no_class_for(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "qwen", checkpoints.qwen2_config())
    with pytest.raises(UnsupportedModel, match="has no NeuronQwen2ForCausalLM, which qwen needs"):
        make_application(read_checkpoint(tmp_path / "qwen"), SETTINGS, "target")
    checkpoints.save(tmp_path / "gpt2", checkpoints.gpt2_config())
    with pytest.raises(UnsupportedModel, match="family gpt2"):
        make_application(read_checkpoint(tmp_path / "gpt2"), SETTINGS, "target")


def test_other_families_come_from_their_own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the library is the same for them: here the emulated Llama stands for Qwen 2."""
    module = ModuleType(f"{PACKAGE}.models.qwen2.modeling_qwen2")
    vars(module)["NeuronQwen2ForCausalLM"] = library("models.llama.modeling_llama").NeuronLlamaForCausalLM
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.models.qwen2", ModuleType("qwen2"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    checkpoints.save(tmp_path, checkpoints.qwen2_config())
    made = make_application(read_checkpoint(tmp_path), SETTINGS, "draft")
    assert [model.tag for model in made.models] == ["context_encoding_model", "token_generation_model"]


@pytest.fixture
def compiled(llama: Path, tmp_path: Path) -> Path:
    make_application(read_checkpoint(llama), SETTINGS, "target").compile(str(tmp_path))
    return tmp_path


def test_a_folder_of_the_same_settings_is_accepted(llama: Path, compiled: Path) -> None:
    require_compiled(compiled, read_checkpoint(llama), SETTINGS, "target")


def test_a_folder_of_other_settings_is_not(llama: Path, compiled: Path) -> None:
    """The library would load it, and fail at the first window (neuron-contract.md §7, the compiled directory)."""
    other = resolved(
        NeuronSettings(tp_degree=4, positions=64, windows=(16,), token_buckets=(64,), context_buckets=(32,))
    )
    with pytest.raises(
        ArtefactsDamaged, match=r"are for tp_degree 2, and 4 is asked for\. Prepare"
    ) as raised:
        require_compiled(compiled, read_checkpoint(llama), other, "target")
    assert len(raised.value.differences) == 2
    with pytest.raises(ArtefactsDamaged, match="are for speculation_length 8, and 0 is asked for"):
        require_compiled(compiled, read_checkpoint(llama), SETTINGS, "draft")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.pt", None, r"lack model\.pt"),
        ("neuron_config.json", None, r"lack neuron_config\.json"),
        ("neuron_config.json", "{", "nothing that can be read"),
        ("neuron_config.json", "[]", "nothing that can be read"),
        ("neuron_config.json", json.dumps({"neuron_config": {}}), "nothing that can be read"),
    ],
)
def test_a_folder_that_is_not_whole(
    llama: Path, compiled: Path, name: str, content: str | None, message: str
) -> None:
    if content is None:
        (compiled / name).unlink()
    else:
        (compiled / name).write_text(content)
    with pytest.raises(ArtefactsDamaged, match=message):
        require_compiled(compiled, read_checkpoint(llama), SETTINGS, "target")
