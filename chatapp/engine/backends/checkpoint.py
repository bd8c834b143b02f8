"""Reading a Hugging Face directory: what it is, whether it is whole, its weights and their hash."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from chatapp.domain.errors import ModelNotFound, NotAModel, WeightsDamaged

HASH_WHOLE_UP_TO = 2 << 30
"""Bytes. Larger weight files are identified by size and first mebibyte (names, shapes, offsets), marked `header:`."""

SPLIT_FOLDER, SPLIT_INDEX = "pytorch_model.bin", "key_to_filename.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A directory that says it is a model."""

    directory: Path
    config: dict[str, Any]

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def architecture(self) -> str:
        names = self.config.get("architectures") or ["unknown"]
        return str(names[0])

    def eos_ids(self) -> list[int]:
        """From generation_config.json and config.json; both may hold one id or a list. Raises `NotAModel`."""
        found: list[int] = []
        for source in (_read_json(self.directory / "generation_config.json", optional=True), self.config):
            value = source.get("eos_token_id")
            found += value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(token, int) for token in found):
            raise NotAModel(
                f"{self.directory} names an end-of-text token that is no number: {found}.",
                remedy="Mend eos_token_id in its generation_config.json or config.json.",
            )
        return sorted(set(found))

    def weight_files(self) -> list[Path]:
        """Safetensors files in order. Raises `ModelNotFound` when there are none or one that the index names is missing."""
        index = self.directory / "model.safetensors.index.json"
        if index.exists():
            names = _read_json(index).get("weight_map")
            if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
                raise NotAModel(f"{index} names no weight files.", remedy="Download or copy the model again.")
            files = [self.directory / name for name in sorted(set(names.values()))]
        else:
            files = sorted(self.directory.glob("*.safetensors"))
        missing = [file.name for file in files if not file.is_file()]
        if not files or missing:
            what = f"weight file {missing[0]}" if missing else "weights (*.safetensors)"
            raise ModelNotFound(
                f"{self.directory} lacks its {what}.", remedy="Download or copy the model again."
            )
        return files

    def split_files(self) -> list[Path]:
        """One file per tensor, as transformers-neuronx saves and reads them (module.py, `save_pretrained_split`); none where
        there are safetensors, which it prefers. Raises as `weight_files` does."""
        folder = self.directory / SPLIT_FOLDER
        if not (folder / SPLIT_INDEX).is_file() or any(self.directory.glob("*.safetensors")):
            return []
        names = _read_json(folder / SPLIT_INDEX).values()
        if not names or not all(isinstance(name, str) for name in names):
            raise NotAModel(
                f"{folder / SPLIT_INDEX} names no weight files.", remedy="Download or copy the model again."
            )
        files = [folder / name for name in sorted(set(names))]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise ModelNotFound(
                f"{folder} lacks its weight file {missing[0]}.", remedy="Download or copy the model again."
            )
        return files

    def weights_sha256(self) -> str:
        digest = hashlib.sha256()
        prefix = ""
        for file in self.split_files() or self.weight_files():
            size = file.stat().st_size
            with file.open("rb") as stream:
                if size <= HASH_WHOLE_UP_TO:
                    for block in iter(lambda: stream.read(1 << 20), b""):
                        digest.update(block)
                else:
                    prefix = "header:"
                    digest.update(str(size).encode() + stream.read(1 << 20))
        return prefix + digest.hexdigest()

    def load_weights(self, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """All tensors in `dtype`, on the CPU. Raises `WeightsDamaged` for truncated files and values not finite."""
        weights: dict[str, torch.Tensor] = {}
        for file in self.weight_files():
            with self._opened(file) as tensors:
                for name in tensors.keys():  # noqa: SIM118 - not a mapping: safe_open has no __iter__
                    weights[name] = tensors.get_tensor(name).to(dtype)
        for name, tensor in weights.items():
            if not bool(torch.isfinite(tensor).all()):
                raise WeightsDamaged(
                    f"{name} in {self.directory} holds values that are not finite.",
                    remedy="Download or copy the model again.",
                )
        return weights

    def dtype(self) -> torch.dtype:
        """What most of the weights are stored in: bfloat16, float16 or float32 (which also stands for all others).

        Read from the files: config.json may say otherwise, and what is stored is what there is to keep."""
        kinds = {"BF16": torch.bfloat16, "F16": torch.float16}
        elements = dict.fromkeys((*kinds.values(), torch.float32), 0)
        for file in self.weight_files():
            with self._opened(file) as tensors:
                for name in tensors.keys():  # noqa: SIM118 - as above
                    part = tensors.get_slice(name)
                    elements[kinds.get(part.get_dtype(), torch.float32)] += math.prod(part.get_shape())
        return max(elements, key=lambda kind: elements[kind])

    def check_files(self) -> None:
        """Open every weight file without reading its tensors. Raises `ModelNotFound` or `WeightsDamaged` (a truncated
        file is shorter than its header says). Split weights are looked for, not into."""
        if self.split_files():
            return
        for file in self.weight_files():
            with self._opened(file):
                pass

    @contextmanager
    def _opened(self, file: Path) -> Iterator[Any]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(file), framework="pt") as tensors:
                yield tensors
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise WeightsDamaged(
                f"{file.name} in {self.directory} is damaged or not complete ({error}).",
                remedy="Download or copy the model again.",
            ) from error


def read_checkpoint(directory: Path) -> Checkpoint:
    """Raises `ModelNotFound` or `NotAModel`."""
    if not directory.is_dir():
        raise ModelNotFound(f"There is no directory {directory}.", remedy="Choose a model directory.")
    if not (directory / "config.json").is_file():
        raise NotAModel(
            f"{directory} is no model: it holds no config.json.",
            remedy="Choose a directory in Hugging Face layout (config.json, tokenizer.json, *.safetensors).",
        )
    config = _read_json(directory / "config.json")
    if "model_type" not in config:
        raise NotAModel(f"{directory}/config.json names no model_type.", remedy="Choose a model directory.")
    return Checkpoint(directory, config)


def _read_json(path: Path, *, optional: bool = False) -> dict[str, Any]:
    if optional and not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NotAModel(
            f"{path} cannot be read: {error}", remedy="Download or copy the model again."
        ) from error
    if not isinstance(content, dict):
        raise NotAModel(f"{path} is not a JSON object.", remedy="Download or copy the model again.")
    return content
