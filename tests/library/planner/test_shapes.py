"""Models by name and by config.json."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from chatapp.domain.errors import ModelNotFound, NotAModel
from chatapp.library.planner.shapes import KNOWN, model_shape
from chatapp.resources import builtin_pair

# As their publishers count them.
PARAMETERS = {
    "Llama-2-7B": 6_738_415_616,
    "Llama-2-13B": 13_015_864_320,
    "Llama-2-70B": 68_976_648_192,
    "Llama-3-8B": 8_030_261_248,
    "Llama-3-70B": 70_553_706_496,
    "Llama-3.1-8B": 8_030_261_248,
    "Llama-3.1-70B": 70_553_706_496,
    "Llama-3.2-1B": 1_235_814_400,
    "Llama-3.2-3B": 3_212_749_824,
    "TinyLlama-1.1B": 1_100_048_384,
}
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 100,
    "max_position_embeddings": 256,
}


def _model(directory: Path, **changes: Any) -> Path:
    directory.mkdir()
    config = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def test_known_shapes_have_the_published_number_of_parameters() -> None:
    assert {name: shape.parameters for name, shape in KNOWN.items()} == PARAMETERS


@pytest.mark.parametrize(
    "text", ["llama-2-70b", "meta-llama/Llama-2-70b-chat-hf", "Llama-2-70b-hf", "Llama-2-70B"]
)
def test_names_are_found_however_they_are_written(text: str) -> None:
    assert model_shape(text) is KNOWN["Llama-2-70B"]
    assert model_shape("meta-llama/Meta-Llama-3-8B-Instruct") is KNOWN["Llama-3-8B"]


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(ModelNotFound, match=r"Llama-9.*TinyLlama"):
        model_shape("Llama-9")


def test_the_built_in_pair_is_read_from_its_directories() -> None:
    pair = builtin_pair()
    assert pair.draft is not None
    target, draft = model_shape(str(pair.target)), model_shape(str(pair.draft))
    assert (target.layers, target.hidden, target.tied, target.obstacle) == (12, 256, True, "")
    assert target.parameters > draft.parameters > 0
    assert target.checkpoint_bytes == (pair.target / "model.safetensors").stat().st_size
    assert target.vocabulary_id == draft.vocabulary_id is not None


def test_a_directory_without_key_heads_or_files(tmp_path: Path) -> None:
    shape = model_shape(str(_model(tmp_path / "m", num_key_value_heads=None)))
    assert (shape.kv_heads, shape.checkpoint_bytes, shape.eager, shape.vocabulary_id) == (4, 0, False, None)


def test_parameters_of_a_directory_are_those_of_its_weights() -> None:
    """The shape's count against the numbers that the built-in target's file holds."""
    pair = builtin_pair()
    with (pair.target / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    held = 0
    for name, entry in header.items():
        if name != "__metadata__":
            count = 1
            for side in entry["shape"]:
                count *= side
            held += count
    assert model_shape(str(pair.target)).parameters == held


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "mistral"}, "mistral"),
        ({"head_dim": 32}, "it says 32"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "yarn"),
        ({"rope_scaling": "linear"}, "nothing usable"),
        ({"rope_parameters": [1]}, "nothing usable"),
        ({"rope_parameters": {"rope_theta": "abc"}}, "nothing usable"),
    ],
)
def test_what_the_library_cannot_run_is_said(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    assert words in model_shape(str(_model(tmp_path / "m", **changes))).obstacle


@pytest.mark.parametrize("changes", [{"rope_scaling": {"rope_type": "llama3"}}, {"head_dim": 16}])
def test_what_the_library_can_run_has_no_obstacle(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert model_shape(str(_model(tmp_path / "m", **changes))).obstacle == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": None}, "hidden_size"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers"),
        ({"num_attention_heads": True}, "num_attention_heads"),
        ({"num_key_value_heads": 3}, "describes no model"),
    ],
)
def test_a_config_without_usable_numbers_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(NotAModel, match=words):
        model_shape(str(_model(tmp_path / "m", **changes)))


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000])
def test_an_unreadable_config_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(NotAModel, match=r"config\.json"):
        model_shape(str(tmp_path))


def test_files_that_are_read_as_a_whole_are_told_from_those_that_are_not(tmp_path: Path) -> None:
    whole, split, lazy = (_model(tmp_path / name) for name in ("whole", "split", "lazy"))
    for part in range(2):
        (whole / f"pytorch_model-0000{part}.bin").write_bytes(b"x" * 10)
        (lazy / f"model-{part}.safetensors").write_bytes(b"x" * 30)
    (lazy / "pytorch_model.bin").write_bytes(b"x" * 1000)
    (split / "pytorch_model.bin").mkdir()
    (split / "pytorch_model.bin" / "p0").write_bytes(b"x" * 7)
    facts = [
        (shape.checkpoint_bytes, shape.eager) for shape in map(model_shape, map(str, (whole, split, lazy)))
    ]
    assert facts == [(20, True), (7, False), (60, False)]


@pytest.mark.parametrize("text", ["~nobody-of-that-name", "x" * 5000, "a\0b", ""])
def test_what_can_be_no_directory_is_an_unknown_name(text: str) -> None:
    with pytest.raises(ModelNotFound):
        model_shape(text)
