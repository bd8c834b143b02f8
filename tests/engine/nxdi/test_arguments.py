"""What the library is asked for, and what it is never asked for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from chatapp.domain.errors import DeviceUnavailable, InvalidSetting, UnsupportedModel
from chatapp.domain.neuron import NeuronSettings
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.nxdi.arguments import (
    checkpoint_arguments,
    graphs_of,
    neuron_config_arguments,
    require_fit,
    resolved,
    window_of,
)
from tests.helpers import checkpoints
from tests.helpers.nxdi import library


def settings(**changes: Any) -> NeuronSettings:
    return NeuronSettings(**{"tp_degree": 2, "positions": 256, **changes})


def test_one_window_holds_every_k() -> None:
    assert window_of(NeuronSettings().windows) == 16
    assert window_of((2, 4, 64)) == 64
    assert window_of((2, 4)) == 4, "then a larger k takes two"
    found = resolved(settings())
    assert (found.library, found.windows, found.draft_windows) == ("nxdi", (16,), ())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windows": (16,), "context_buckets": (16, 256)}, "takes prompts of that length for windows"),
        ({"windows": (1,)}, "is not between 2 and the shortest token bucket"),
        ({"windows": ()}, "is not between 2 and the shortest token bucket"),
        (
            {"windows": (64,), "token_buckets": (64, 256)},
            "is not between 2 and the shortest token bucket, 64",
        ),
        ({"tp_degree": 0}, "has no NeuronCores to count"),
        ({"dtype": "int8"}, "no numbers 'int8'"),
        ({"token_buckets": (128, 512)}, "longer than the context"),
    ],
)
def test_what_the_library_would_do_wrong_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        resolved(settings(**changes))


def test_more_cores_than_there_are() -> None:
    with pytest.raises(DeviceUnavailable, match="8 NeuronCores are asked for, and there are 2"):
        resolved(settings(tp_degree=8), cores=2)


def test_the_arguments_of_both_sides(caplog: pytest.LogCaptureFixture) -> None:
    found = resolved(settings(token_buckets=(128, 256), context_buckets=(32, 200), dtype="f32"))
    target, draft = neuron_config_arguments(found, "target"), neuron_config_arguments(found, "draft")
    assert target["speculation_length"] == 16
    assert "speculation_length" not in draft
    assert target["max_context_length"] == 200
    assert target["torch_dtype"] == torch.float32
    assert target["on_device_sampling_config"] is None
    assert target["context_encoding_buckets"] is not draft["context_encoding_buckets"]
    with caplog.at_level(logging.WARNING):
        for arguments in (target, draft):
            library("models.config").NeuronConfig(**arguments)
    assert caplog.text == "", "the library knows them all"
    assert (graphs_of(found, "target").rows, graphs_of(found, "draft").rows) == (16, 1)


@pytest.mark.parametrize("modern", [False, True])
def test_rotary_positions_are_handed_over_whoever_wrote_the_config(tmp_path: Path, modern: bool) -> None:
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    checkpoints.save(tmp_path, checkpoints.llama_config())
    written: dict[str, Any] = (
        {"rope_parameters": {**scaling, "rope_theta": 5e5}, "rope_theta": None}
        if modern
        else {"rope_scaling": scaling, "rope_theta": 5e5, "rope_parameters": None}
    )
    checkpoints.change_config(tmp_path, **written)
    found = checkpoint_arguments(read_checkpoint(tmp_path))
    assert found == {"rope_theta": 5e5, "rope_scaling": scaling}


def test_positions_that_are_not_scaled(llama: Path) -> None:
    assert checkpoint_arguments(read_checkpoint(llama)) == {"rope_theta": 10_000.0, "rope_scaling": None}


def test_what_is_no_llama_is_turned_away(tmp_path: Path, llama: Path) -> None:
    require_fit(read_checkpoint(llama))
    for name, config in (
        ("gpt2", checkpoints.gpt2_config()),
        ("mistral", checkpoints.mistral_config()),
        ("yarn", checkpoints.yarn_config()),
    ):
        checkpoints.save(tmp_path / name, config)
        with pytest.raises(UnsupportedModel, match=f"{name} cannot run on NeuronCores by neuronx") as raised:
            require_fit(read_checkpoint(tmp_path / name))
        assert raised.value.remedy


def test_split_weights_are_the_other_librarys(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "split", checkpoints.llama_config())
    (tmp_path / "split" / "model.safetensors").unlink()
    folder = tmp_path / "split" / "pytorch_model.bin"
    folder.mkdir()
    (folder / "p0.model.norm.weight").touch()
    (folder / "key_to_filename.json").write_text('{"model.norm.weight": "p0.model.norm.weight"}')
    with pytest.raises(UnsupportedModel, match="saved tensor by tensor"):
        require_fit(read_checkpoint(tmp_path / "split"))
