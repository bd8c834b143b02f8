"""A stand-in for `neuronx_distributed_inference` on a CPU: its import names, its dispatch and its traps, real weights.

It behaves as resources/help/neuron-contract.md tells, section 7, and as the library's public source does where that is
silent; it claims nothing about speed. `install` puts it where the library would be imported from.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from chatapp.engine.backends.emulator import state

PACKAGE = "neuronx_distributed_inference"
VERSION = "0.9.0+emulator"


def modules() -> dict[str, ModuleType]:
    """Every module of the library that is stood in for, by its import name."""
    from chatapp.engine.backends.emulator.nxdi import application, config, graphs, hf_adapter

    contents: dict[str, dict[str, object]] = {
        "": {"__version__": VERSION},
        "models": {},
        "models.config": {
            name: getattr(config, name)
            for name in (
                "CONFIG_FILE",
                "InferenceConfig",
                "NeuronConfig",
                "OnDeviceSamplingConfig",
                "to_dict",
            )
        },
        "models.application_base": {
            name: getattr(application, name) for name in ("COMPILED_MODEL_FILE_NAME", "NeuronApplicationBase")
        },
        "models.model_base": {
            "NeuronBaseForCausalLM": application.NeuronBaseForCausalLM,
        },
        "models.model_wrapper": {
            name: getattr(graphs, name)
            for name in (
                "CONTEXT_ENCODING_MODEL_TAG",
                "ModelWrapper",
                "SPECULATION_MODEL_TAG",
                "TOKEN_GENERATION_MODEL_TAG",
            )
        },
        "models.llama": {},
        "models.llama.modeling_llama": {
            "LlamaInferenceConfig": config.LlamaInferenceConfig,
            "NeuronLlamaForCausalLM": application.NeuronLlamaForCausalLM,
        },
        "utils": {},
        "utils.hf_adapter": {"load_pretrained_config": hf_adapter.load_pretrained_config},
    }
    found: dict[str, ModuleType] = {}
    for name, values in contents.items():
        full = f"{PACKAGE}.{name}".rstrip(".")
        module = found[full] = ModuleType(full, "Emulated on the CPU by chatapp.")
        vars(module).update(values, __path__=[], __spec__=ModuleSpec(full, None, is_package=True))
        parent, _, last = full.rpartition(".")
        if parent:
            setattr(found[parent], last, module)
    return found


def is_installed() -> bool:
    """Whether `import neuronx_distributed_inference` finds the emulator."""
    return getattr(sys.modules.get(PACKAGE), "__version__", None) == VERSION


def install() -> None:
    """From now on `import neuronx_distributed_inference` finds the emulator, in this process. Raises `RuntimeError` where the
    real library can be imported: nobody shall take one for the other."""
    if is_installed():
        return
    if PACKAGE in sys.modules or find_spec(PACKAGE) is not None:
        raise RuntimeError(f"{PACKAGE} is installed here: the emulator does not take its place.")
    sys.modules.update(modules())


def uninstall() -> None:
    """Take it out again; models that were made of it go on working."""
    if is_installed():
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{PACKAGE}.")]:
            del sys.modules[name]


@contextmanager
def installed() -> Iterator[None]:
    """In place on a fresh instance, and nothing left behind: for tests."""
    state.reset()
    install()
    try:
        yield
    finally:
        uninstall()
        state.reset()
