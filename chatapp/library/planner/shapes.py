"""The numbers of a model that decide what it takes: known by name, or read from a directory's config.json.

It must not know an instance or a byte on a device. No weights are read; files are only measured.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from chatapp.domain.errors import ModelNotFound, NotAModel
from chatapp.domain.neuron_fitness import misfit
from chatapp.domain.typed_path import existing_directory

CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
SUFFIXES = ("-hf", "-chat", "-instruct", "-intermediate-step")
LLAMA2, LLAMA3 = "Llama-2", "Llama-3"


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A Llama-like decoder. `hidden` numbers per position, `intermediate` in the MLP, `context` the positions it was trained
    for. `vocabulary_id` is equal for equal vocabularies, None where that was not looked at. `checkpoint_bytes` is 0 where there
    are no files; `eager`: they are of the kind that is read as a whole. `obstacle`: why transformers-neuronx cannot run it."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    context: int
    tied: bool = False
    vocabulary_id: str | None = None
    checkpoint_bytes: int = 0
    eager: bool = False
    obstacle: str = ""

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    @property
    def layer_parameters(self) -> int:
        """Of one layer: query, key, value, output, the three matrices of the MLP, and two norms."""
        attention = 2 * self.hidden * (self.heads + self.kv_heads) * self.head_size
        return attention + 3 * self.hidden * self.intermediate + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """As published: a tied head counts once."""
        tables = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * self.layer_parameters + tables + self.hidden

    @property
    def is_known(self) -> bool:
        return KNOWN.get(self.name) is self


def _llama2(name: str, hidden: int, layers: int, heads: int, kv_heads: int, intermediate: int) -> ModelShape:
    return ModelShape(name, hidden, layers, heads, kv_heads, intermediate, 32_000, 4096, vocabulary_id=LLAMA2)


def _llama3(
    name: str, hidden: int, layers: int, heads: int, intermediate: int, context: int, tied: bool = False
) -> ModelShape:
    return ModelShape(
        name, hidden, layers, heads, 8, intermediate, 128_256, context, tied, vocabulary_id=LLAMA3
    )


KNOWN = {
    shape.name: shape
    for shape in (
        _llama2("Llama-2-7B", 4096, 32, 32, 32, 11_008),
        _llama2("Llama-2-13B", 5120, 40, 40, 40, 13_824),
        _llama2("Llama-2-70B", 8192, 80, 64, 8, 28_672),
        _llama3("Llama-3-8B", 4096, 32, 32, 14_336, 8192),
        _llama3("Llama-3-70B", 8192, 80, 64, 28_672, 8192),
        _llama3("Llama-3.1-8B", 4096, 32, 32, 14_336, 131_072),
        _llama3("Llama-3.1-70B", 8192, 80, 64, 28_672, 131_072),
        _llama3("Llama-3.2-1B", 2048, 16, 32, 8192, 131_072, tied=True),
        _llama3("Llama-3.2-3B", 3072, 28, 24, 8192, 131_072, tied=True),
        ModelShape("TinyLlama-1.1B", 2048, 22, 32, 4, 5632, 32_000, 2048, vocabulary_id=LLAMA2),
    )
}
"""From the models' own config.json. Llama 3, 3.1 and 3.2 share one vocabulary and differ in the names of reserved tokens
alone; TinyLlama uses Llama 2's."""


def model_shape(text: str) -> ModelShape:
    """A directory with a config.json, or one of the known names in any case, with or without `meta-llama/`, `-hf`,
    `-chat-hf` or `-Instruct`. Raises `ModelNotFound` or `NotAModel`."""
    directory = existing_directory(text)
    if directory is not None:
        return shape_of_directory(directory)
    found = _known(text)
    if found is None:
        raise ModelNotFound(
            f"There is no directory {text}, and no model is known by that name.",
            remedy=f"Known names: {', '.join(KNOWN)}.",
        )
    return found


def _known(text: str) -> ModelShape | None:
    name = text.rpartition("/")[2].casefold().removeprefix("meta-")
    for _ in SUFFIXES:
        for suffix in SUFFIXES:
            name = name.removesuffix(suffix)
    return next((shape for known, shape in KNOWN.items() if known.casefold() == name), None)


def shape_of_directory(directory: Path) -> ModelShape:
    """What config.json says, and how large the checkpoint is. Raises `NotAModel` where a number is missing or makes no sense."""
    path = directory / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise NotAModel(
            f"{path} cannot be read: {error}.", remedy="Give a Hugging Face model directory."
        ) from error
    if not isinstance(config, dict):
        raise NotAModel(f"{path} holds no table of settings.")
    heads = _count(path, config, "num_attention_heads")
    size, eager = _checkpoint(directory)
    shape = ModelShape(
        directory.name,
        _count(path, config, "hidden_size"),
        _count(path, config, "num_hidden_layers"),
        heads,
        _count(path, config, "num_key_value_heads", heads),
        _count(path, config, "intermediate_size"),
        _count(path, config, "vocab_size"),
        _count(path, config, "max_position_embeddings"),
        bool(config.get("tie_word_embeddings", False)),
        _vocabulary_id(directory / TOKENIZER_FILE),
        size,
        eager,
        (misfit(config) or ("", ""))[0],
    )
    if shape.hidden < heads or heads % shape.kv_heads:
        raise NotAModel(
            f"{path} describes no model: {heads} heads, {shape.kv_heads} for keys, {shape.hidden} wide."
        )
    return shape


def _count(path: Path, config: dict[str, Any], name: str, default: int | None = None) -> int:
    value = config.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise NotAModel(
            f"{path} says no usable {name}, and without it nothing can be planned.",
            remedy="Only models in the layout of Llama can be planned.",
        )
    return value


def _checkpoint(directory: Path) -> tuple[int, bool]:
    """Bytes of the weights, and whether only files are there that are read as a whole (`pytorch_model*.bin`)."""
    lazy = sum(_size(path) for path in directory.glob("*.safetensors"))
    if lazy:
        return lazy, False
    split = directory / "pytorch_model.bin"
    if split.is_dir():
        return sum(_size(path) for path in split.iterdir()), False
    return (whole := sum(_size(path) for path in directory.glob("pytorch_model*.bin"))), bool(whole)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _vocabulary_id(path: Path) -> str | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return _hashed_vocabulary(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=16)
def _hashed_vocabulary(path: Path, _changed_ns: int, _size: int) -> str | None:
    """Of the pieces and their ids. Added tokens stay out: checkpoints of one family name their reserved ones differently."""
    try:
        vocabulary = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
        pieces = json.dumps(vocabulary, sort_keys=True)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return hashlib.sha256(pieces.encode()).hexdigest()
