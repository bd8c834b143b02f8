"""Where a pair runs: which device, by which built-in backend, and what people call it. Must not know how a model runs there."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch

from chatapp.domain.errors import DeviceUnavailable, InvalidSetting
from chatapp.domain.neuron import LIBRARIES, NeuronSettings
from chatapp.engine.contracts import DeviceFacts
from chatapp.engine.registry.loading import TORCH
from chatapp.engine.registry.parts import BuiltinBackend

NEURON = "neuron"
"""The device of pairs with `NeuronSettings`; the command line names it by options of its own."""
NEURON_MODULES = ("transformers_neuronx", "neuronx_distributed_inference")
NEURON_HOST_THREADS = 4
"""The processor looks up embeddings and samples, beside a desktop and its encoder: inf2.xlarge has four."""


def require_device(device: str) -> None:
    """Raises `InvalidSetting` for a device that is not there."""
    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise InvalidSetting("device", f"There is no device {device!r}; known are cpu and cuda.")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InvalidSetting("device", "torch finds no CUDA device on this machine.")


def builtin_backend(
    neuron: NeuronSettings | None,
    *,
    may_compile: bool,
    tell: Callable[[str, float, str], None] = lambda *_: None,
) -> BuiltinBackend:
    """Torch's, or that of NeuronCores. `tell` hears how far the upload of a side is, where the library can be asked: its role,
    a share in 0..1 and words. Raises `DeviceUnavailable`."""
    if neuron is None:
        return TORCH
    from chatapp.engine.backends.neuron.loading import TnxBackend
    from chatapp.engine.backends.nxdi.loading import NxdiBackend

    try:
        if neuron_library(neuron) == "nxdi":
            return NxdiBackend(neuron, may_compile=may_compile)
        return TnxBackend(neuron, may_compile=may_compile, tell=tell)
    except InvalidSetting as error:
        raise DeviceUnavailable(error.what, remedy=error.remedy) from error


def neuron_library(settings: NeuronSettings) -> str:
    """`tnx` or `nxdi`: the one that is asked for, else the first that is installed. `tnx` where neither is, and to rehearse."""
    if settings.library != LIBRARIES[0]:
        return settings.library
    tnx, nxdi = (find_spec(name) is not None for name in NEURON_MODULES)
    return "nxdi" if nxdi and not tnx and not settings.rehearse else "tnx"


def device_facts(device: str) -> DeviceFacts:
    """Of a processor or a GPU."""
    return DeviceFacts(device_name(device))


def device_name(device: str) -> str:
    """What a person would call the device."""
    if device.startswith("cuda"):
        return f"cuda: {torch.cuda.get_device_name()}"
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            model = next(
                (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), ""
            )
    except OSError:
        model = ""
    return f"cpu: {model or platform.processor() or platform.machine()}"
