"""What a model directory is, what it lacks, and whether it is the one that was published."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from chatapp.commands import models
from chatapp.domain.errors import ModelNotFound, NotAModel
from chatapp.library.catalogue import damaged_files, describe_model

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 3,
    "max_position_embeddings": 1024,
    "vocab_size": 48,
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(CONFIG))
    (directory / "tokenizer.json").write_text("{}")
    for part in range(2):
        save_file({f"w{part}": np.zeros((4, 6), np.float16)}, directory / f"model-{part}.safetensors")
    return directory


def test_describes_a_model_in_parts(model: Path) -> None:
    found = describe_model(model)
    assert (found.architecture, found.layers, found.context, found.vocabulary) == (
        "LlamaForCausalLM",
        3,
        1024,
        48,
    )
    assert found.parameters == 2 * 4 * 6
    assert found.dtypes == ("F16",)
    assert found.size_bytes == sum(path.stat().st_size for path in model.glob("*.safetensors"))


@pytest.mark.parametrize("lacking", ["config.json", "tokenizer.json", "*.safetensors"])
def test_a_directory_that_lacks_a_part_is_no_model(model: Path, lacking: str) -> None:
    for path in model.glob(lacking):
        path.unlink()
    with pytest.raises(NotAModel, match=lacking.removeprefix("*.")):
        describe_model(model)


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff"])
def test_an_unreadable_configuration_is_no_model(model: Path, text: str) -> None:
    (model / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(NotAModel, match=r"config\.json"):
        describe_model(model)


def test_a_configuration_without_the_usual_words_is_still_shown(model: Path) -> None:
    (model / "config.json").write_text('{"architectures": [], "vocab_size": "many"}')
    found = describe_model(model)
    assert (found.architecture, found.layers, found.vocabulary) == ("unknown", 0, 0)


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="nowhere"):
        describe_model(tmp_path / "nowhere")


def _publish(directory: Path) -> None:
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(directory)}\n"
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    ]
    (directory / "SHA256SUMS").write_text("".join(sums))


def test_published_files_are_whole(model: Path) -> None:
    _publish(model.parent)
    assert list(damaged_files(model.parent)) == []


def test_changed_and_missing_files_are_named(model: Path) -> None:
    _publish(model.parent)
    (model / "tokenizer.json").write_text("[]")
    (model / "model-1.safetensors").unlink()
    assert [line.partition(" ")[0] for line in damaged_files(model.parent)] == [
        "model/model-1.safetensors",
        "model/tokenizer.json",
    ]


def looked_at(*words: str | Path) -> int:
    """`chatapp models` with these arguments."""
    parser = argparse.ArgumentParser()
    models.add_arguments(parser)
    return models.run(parser.parse_args([str(word) for word in words]))


def test_command_shows_directories(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = looked_at(model)
    shown = capsys.readouterr()
    assert status == 0
    assert "LlamaForCausalLM, 3 layers" in shown.out
    assert "F16" in shown.out
    assert shown.err == ""


def test_command_shows_the_whole_ones_and_fails_for_the_damaged(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = looked_at(tmp_path / "nowhere", model)
    shown = capsys.readouterr()
    assert status == 1
    assert "nowhere" in shown.err
    assert "LlamaForCausalLM" in shown.out


def test_the_built_in_pair_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    status = looked_at()
    shown = capsys.readouterr()
    assert (status, shown.err) == (0, "")
    assert "every checksum agrees" in shown.out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "llama"}, "fast path"),
        ({"model_type": "gpt2"}, "transformers, because: architecture gpt2"),
        (
            {"model_type": "qwen3", "quantization_config": {"bits": 4}},
            "transformers, because: quantised weights",
        ),
        ({}, "transformers, because: architecture unknown"),
    ],
)
def test_command_says_which_code_would_run_a_model_and_why(
    model: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], said: str
) -> None:
    (model / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    assert looked_at(model) == 0
    assert f"runs on      {said}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "llama"}, "by transformers-neuronx"),
        ({"model_type": "mistral"}, "not by transformers-neuronx: of its models only Llama verifies"),
    ],
)
def test_command_says_whether_neuron_cores_could_run_a_model(
    model: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], said: str
) -> None:
    (model / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    assert looked_at(model, "--neuron", "tnx") == 0
    assert f"NeuronCores  {said}" in capsys.readouterr().out
    assert looked_at(model) == 0
    assert "NeuronCores" not in capsys.readouterr().out


def test_a_configuration_with_impossible_values_is_no_model(model: Path) -> None:
    wrong = {"model_type": "mistral", "sliding_window": 8, "max_position_embeddings": "many"}
    (model / "config.json").write_text(json.dumps({**CONFIG, **wrong}))
    with pytest.raises(NotAModel, match=r"config\.json cannot be read"):
        describe_model(model)
