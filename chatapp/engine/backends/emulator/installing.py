"""Putting the emulator under the library's import names, and taking it away. Nothing happens on import.

The names are those that users of the library import; everything behind them lies in this package.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from chatapp.engine.backends.emulator import constants, state
from chatapp.engine.backends.emulator.auto import NeuronAutoModelForCausalLM
from chatapp.engine.backends.emulator.llama import LlamaForSampling
from chatapp.engine.backends.emulator.llama_config import LlamaConfig
from chatapp.engine.backends.emulator.neuron_config import (
    ContinuousBatchingConfig,
    GenerationConfig,
    NeuronConfig,
)
from chatapp.engine.backends.emulator.weight_files import save_pretrained_split

LIBRARY = "transformers_neuronx"
VERSION = "0.13.0+emulator"
"""A local version, so that whatever reads it sees what it talks to."""
_CONSTANTS = {
    name: getattr(constants, name) for name in ("GQA", "Layout", "LAYOUT_HSB", "LAYOUT_BSH", "LAYOUT_SBH")
}
MODULES: dict[str, dict[str, Any]] = {
    "": {
        "__version__": VERSION,
        "GQA": constants.GQA,
        "Layout": constants.Layout,
        "GenerationConfig": GenerationConfig,
        "NeuronConfig": NeuronConfig,
        "LlamaForSampling": LlamaForSampling,
        "NeuronAutoModelForCausalLM": NeuronAutoModelForCausalLM,
    },
    ".config": {
        "ContinuousBatchingConfig": ContinuousBatchingConfig,
        "GenerationConfig": GenerationConfig,
        "NeuronConfig": NeuronConfig,
    },
    ".constants": _CONSTANTS,
    ".llama": {},
    ".llama.config": {"LlamaConfig": LlamaConfig},
    ".llama.model": {"LlamaForSampling": LlamaForSampling},
    ".modeling_auto": {"NeuronAutoModelForCausalLM": NeuronAutoModelForCausalLM},
    ".module": {"save_pretrained_split": save_pretrained_split},
}


def is_installed() -> bool:
    """Whether `import transformers_neuronx` finds the emulator."""
    return getattr(sys.modules.get(LIBRARY), "__version__", None) == VERSION


def install() -> None:
    """From now on `import transformers_neuronx` finds the emulator. Doing it twice is doing it once. Raises `RuntimeError`
    where the real library can be imported: nobody shall take one for the other."""
    if is_installed():
        return
    if LIBRARY in sys.modules or importlib.util.find_spec(LIBRARY) is not None:
        raise RuntimeError(
            f"{LIBRARY} is installed here: the emulator does not take its place. "
            "Use the emulator in an environment without it."
        )
    for suffix, names in MODULES.items():
        module = ModuleType(LIBRARY + suffix, "An emulation of the library's public names on the CPU.")
        module.__spec__ = ModuleSpec(module.__name__, None, is_package=True)
        module.__path__ = []
        vars(module).update(names)
        sys.modules[module.__name__] = module
        parent, _, name = module.__name__.rpartition(".")
        if parent:
            setattr(sys.modules[parent], name, module)


def uninstall() -> None:
    """Take the import names away again. Models that were made stay."""
    if is_installed():
        for suffix in MODULES:
            sys.modules.pop(LIBRARY + suffix, None)


@contextmanager
def installed() -> Iterator[None]:
    """The emulator in place, on a fresh instance, and nothing left behind: for tests."""
    state.reset()
    install()
    try:
        yield
    finally:
        uninstall()
        state.reset()
