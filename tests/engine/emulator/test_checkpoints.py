"""neuron-contract.md §1.3: layouts of a checkpoint, and the order in which they are tried."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers import checkpoints

IDS = torch.arange(10, 30)[None]


def without_weights(directory: Path, to: Path) -> Path:
    to.mkdir()
    shutil.copy(directory / "config.json", to)
    return to


def whole(directory: Path) -> dict[str, torch.Tensor]:
    """Weights under both names of the tied one, as `.bin` files hold them."""
    weights = load_file(directory / "model.safetensors")
    return {**weights, "lm_head.weight": weights["model.embed_tokens.weight"].clone()}


def split(directory: Path, to: Path) -> None:
    module = importlib.import_module("transformers_neuronx.module")
    from transformers import AutoModelForCausalLM

    module.save_pretrained_split(AutoModelForCausalLM.from_pretrained(directory), to)


def one_bin(directory: Path, to: Path) -> None:
    torch.save(whole(directory), to / "pytorch_model.bin")


def bins(directory: Path, to: Path) -> None:
    names = {}
    weights = whole(directory)
    for place, part in enumerate((list(weights)[:5], list(weights)[5:])):
        torch.save({name: weights[name] for name in part}, to / f"part{place}.bin")
        names.update(dict.fromkeys(part, f"part{place}.bin"))
    (to / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))


def shards(directory: Path, to: Path) -> None:
    shutil.copy(directory / "model.safetensors", to / "part.safetensors")
    names = dict.fromkeys(load_file(directory / "model.safetensors"), "part.safetensors")
    (to / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


@pytest.mark.parametrize("layout", [split, one_bin, bins, shards])
def test_every_layout_gives_the_same_model(
    make: Callable[..., Any], directory: Path, tmp_path: Path, layout: Callable[[Path, Path], None]
) -> None:
    """neuron-contract.md §1.3: the layouts, tied heads included."""
    path = without_weights(directory, tmp_path / "model")
    layout(directory, path)
    assert torch.equal(make(path=path)(IDS), make()(IDS))


def test_the_split_layout_is_a_directory_named_like_a_file(
    library: ModuleType, directory: Path, tmp_path: Path
) -> None:
    """neuron-contract.md §1.3: `pytorch_model.bin/` holding key_to_filename.json and a file per weight."""
    split(directory, tmp_path)
    names = json.loads((tmp_path / "pytorch_model.bin" / "key_to_filename.json").read_text())
    assert names["model.norm.weight"].endswith(".model.norm.weight")
    assert all((tmp_path / "pytorch_model.bin" / name).is_file() for name in names.values())


def test_safetensors_come_before_the_split_layout_before_nothing(
    make: Callable[..., Any], directory: Path, tmp_path: Path
) -> None:
    """neuron-contract.md §1.3, order."""
    path = without_weights(directory, tmp_path / "model")
    with pytest.raises(FileNotFoundError, match=r"Can not find model.safetensors or pytorch_model.bin in"):
        make(path=path)
    other = checkpoints.save(tmp_path / "other", checkpoints.llama_config(), seed=9)
    split(other, path)
    of_split = make(path=path)(IDS)
    shutil.copy(directory / "model.safetensors", path)
    assert torch.equal(make(path=path)(IDS), make()(IDS))
    assert not torch.equal(of_split, make()(IDS))


def test_lazy_layouts_are_read_in_to_neuron_and_bin_at_once(
    make: Callable[..., Any], directory: Path, tmp_path: Path
) -> None:
    """neuron-contract.md §1.3: weights that go away in between are missed by the lazy layouts alone."""
    lazy = without_weights(directory, tmp_path / "lazy")
    shutil.copy(directory / "model.safetensors", lazy)
    model = make(path=lazy, on_cores=False)
    (lazy / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError):
        model.to_neuron()
    eager = without_weights(directory, tmp_path / "eager")
    one_bin(directory, eager)
    model = make(path=eager, on_cores=False)
    (eager / "pytorch_model.bin").unlink()
    model.to_neuron()


def test_a_tied_head_is_found_in_lazy_layouts_only(
    make: Callable[..., Any], directory: Path, tmp_path: Path
) -> None:
    """neuron-contract.md §1.3."""
    weights = load_file(directory / "model.safetensors")
    assert "lm_head.weight" not in weights
    path = without_weights(directory, tmp_path / "model")
    torch.save(weights, path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"uninitialized parameter.*lm_head"):
        make(path=path)


def test_names_without_the_base_prefix_are_found(
    make: Callable[..., Any], directory: Path, tmp_path: Path
) -> None:
    path = without_weights(directory, tmp_path / "model")
    weights = {name.removeprefix("model."): one for name, one in whole(directory).items()}
    torch.save(weights, path / "pytorch_model.bin")
    assert torch.equal(make(path=path)(IDS), make()(IDS))


def test_a_name_of_the_hub_is_not_fetched(library: ModuleType) -> None:
    """neuron-contract.md §1.3: pass a local directory."""
    with pytest.raises(OSError, match="Could not find a checkpoint for some/model in a supported format"):
        library.LlamaForSampling.from_pretrained("some/model")


def test_the_embedding_stays_on_the_host_in_float32(make: Callable[..., Any]) -> None:
    """neuron-contract.md §1.3, whatever the model's type."""
    embedding = make(amp="bf16").chkpt_model.model.embed_tokens.weight
    assert (embedding.dtype, tuple(embedding.shape)) == (torch.float32, (checkpoints.VOCABULARY, 32))
