"""Weights of a checkpoint directory by their Hugging Face names, in the layouts that the library reads, in its order.

Safetensors and the layout of `save_pretrained_split` are read tensor by tensor when asked; `.bin` files at once. Knows no
model's structure beyond the `model.` prefix that some checkpoints leave out.

Source: transformers_neuronx 0.13, module.py:34-56,434-460; neuron-contract.md §1.3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

SAFETENSORS = "model.safetensors"
BIN = "pytorch_model.bin"
KEY_TO_FILENAME = "key_to_filename.json"
BASE_PREFIX = "model."


class WeightFiles:
    """`tensor(name)` reads one. Tied heads are found for lazy layouts alone. Raises `FileNotFoundError` for a directory
    without weights."""

    def __init__(self, directory: Path) -> None:
        self._read: dict[str, Callable[[], torch.Tensor]] = {}
        self.lazy = True
        if (directory / SAFETENSORS).is_file():
            with safe_open(directory / SAFETENSORS, framework="pt") as file:
                self._lazily(dict.fromkeys(file.keys(), directory / SAFETENSORS))
        elif (index := directory / f"{SAFETENSORS}.index.json").exists():
            self._lazily({key: directory / name for key, name in _weight_map(index).items()})
        elif (directory / BIN).is_dir():
            names = json.loads((directory / BIN / KEY_TO_FILENAME).read_text(encoding="utf-8"))
            for key, name in names.items():
                self._read[key] = _Split(directory / BIN / name)
        elif (directory / BIN).is_file():
            self._eagerly([directory / BIN])
        elif (index := directory / f"{BIN}.index.json").is_file():
            self._eagerly([directory / name for name in sorted(set(_weight_map(index).values()))])
        else:
            raise FileNotFoundError(f"Can not find model.safetensors or pytorch_model.bin in {directory}")

    def _lazily(self, files: dict[str, Path]) -> None:
        for key, file in files.items():
            self._read[key] = _InSafetensors(file, key)

    def _eagerly(self, files: list[Path]) -> None:
        self.lazy = False
        for file in files:
            for key, tensor in torch.load(file, weights_only=True).items():
                self._read[key] = _Held(tensor)

    def tensor(self, name: str, tied_to: str | None = None) -> torch.Tensor:
        """Raises `ValueError` when the checkpoint has no such weight."""
        names = [name, name.removeprefix(BASE_PREFIX)]
        if tied_to is not None and self.lazy:
            names += [tied_to, tied_to.removeprefix(BASE_PREFIX)]
        for candidate in names:
            if candidate in self._read:
                return self._read[candidate]()
        raise ValueError(f"Attempted to use an uninitialized parameter: the checkpoint has no {name}")


class _InSafetensors:
    def __init__(self, file: Path, key: str) -> None:
        self.file = file
        self.key = key

    def __call__(self) -> torch.Tensor:
        with safe_open(self.file, framework="pt") as opened:
            tensor: torch.Tensor = opened.get_tensor(self.key)
            return tensor


class _Split:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self) -> torch.Tensor:
        tensor: torch.Tensor = torch.load(self.file, weights_only=True)
        return tensor


class _Held:
    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def __call__(self) -> torch.Tensor:
        return self.tensor


def _weight_map(index: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    return found


def save_pretrained_split(model: Any, save_directory: str | Path) -> None:
    """The library's old layout, of a transformers model: one file per weight in a directory `pytorch_model.bin`.

    Weights that share memory (a tied head) are written once under each name, as the library does.
    """
    directory = Path(save_directory)
    model.config.save_pretrained(directory)
    folder = directory / BIN
    folder.mkdir(parents=True, exist_ok=True)
    weights = model.state_dict()
    names = {key: f"p{place}.{re.sub(r'[^-.0-9A-Z_a-z]', '', key)}" for place, key in enumerate(weights)}
    (folder / KEY_TO_FILENAME).write_text(json.dumps(names, indent=2), encoding="utf-8")
    for key, tensor in weights.items():
        torch.save(tensor.clone(), folder / names[key])
