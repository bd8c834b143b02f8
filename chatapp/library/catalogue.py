"""Looks at model directories: what is in them, and whether they are whole. Reads headers and hashes, loads nothing.

This module must not know the command line or the window, and must not import torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatapp.domain.decoder_config import obstacle
from chatapp.domain.errors import ModelNotFound, NotAModel
from chatapp.domain.neuron_fitness import misfit
from chatapp.library.weights import WeightFile, read_weight_file

CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
SUMS_FILE = "SHA256SUMS"
GIVE_A_DIRECTORY = "Give a Hugging Face model directory."
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """One model directory as its files describe it; `layers`, `context` and `vocabulary` are 0 where unsaid.
    `obstacle` is why the fast path cannot run it, None when it can; `neuron_obstacle` the same of transformers-neuronx."""

    directory: Path
    architecture: str
    layers: int
    context: int
    vocabulary: int
    weights: tuple[WeightFile, ...]
    obstacle: str | None
    neuron_obstacle: str | None = None

    @property
    def parameters(self) -> int:
        return sum(file.parameters for file in self.weights)

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.weights)

    @property
    def dtypes(self) -> tuple[str, ...]:
        return tuple(sorted({dtype for file in self.weights for dtype in file.dtypes}))


def describe_model(directory: Path) -> ModelDescription:
    """What a Hugging Face model directory holds.

    Raises `ModelNotFound` (no such directory), `NotAModel` (no configuration, tokenizer or safetensors file, or an unreadable
    configuration) or `WeightsDamaged`.
    """
    if not directory.is_dir():
        raise ModelNotFound(f"There is no directory {directory}.")
    config = _read_config(directory / CONFIG_FILE)
    if not (directory / TOKENIZER_FILE).is_file():
        raise NotAModel(f"{directory} has no {TOKENIZER_FILE}.", remedy=GIVE_A_DIRECTORY)
    paths = sorted(directory.glob("*.safetensors"))
    if not paths:
        raise NotAModel(
            f"{directory} has no safetensors file.", remedy="Convert the model's weights to safetensors."
        )
    architectures = config.get("architectures")
    return ModelDescription(
        directory,
        str(architectures[0]) if isinstance(architectures, list) and architectures else "unknown",
        _count(config, "num_hidden_layers"),
        _count(config, "max_position_embeddings"),
        _count(config, "vocab_size"),
        tuple(read_weight_file(path) for path in paths),
        *_obstacles(directory, config),
    )


def _obstacles(directory: Path, config: dict[str, Any]) -> tuple[str | None, str | None]:
    try:
        return obstacle(config), (misfit(config) or (None,))[0]
    except (TypeError, ValueError) as error:
        raise NotAModel(
            f"{directory}/{CONFIG_FILE} cannot be read: {error}.", remedy=GIVE_A_DIRECTORY
        ) from error


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotAModel(f"{path.parent} has no {path.name}.", remedy=GIVE_A_DIRECTORY) from error
    except (OSError, ValueError) as error:
        raise NotAModel(f"{path} cannot be read: {error}.") from error
    if not isinstance(config, dict):
        raise NotAModel(f"{path} holds no table of settings.")
    return config


def _count(config: dict[str, Any], name: str) -> int:
    value = config.get(name)
    return value if isinstance(value, int) else 0


def damaged_files(directory: Path) -> Iterator[str]:
    """Compare a directory with its SHA256SUMS; yields one sentence for each file that is missing or differs.

    Raises `ModelNotFound` when there are no sums to compare with.
    """
    try:
        lines = (directory / SUMS_FILE).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ModelNotFound(f"{directory / SUMS_FILE} cannot be read: {error.strerror}.") from error
    for line in lines:
        expected, _, name = line.partition("  ")
        try:
            found = _sha256(directory / name)
        except OSError as error:
            yield f"{name} cannot be read: {error.strerror}."
            continue
        if found != expected:
            yield f"{name} is not the file that was published with this version."


def _sha256(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            total.update(chunk)
    return total.hexdigest()
