"""The device as this process holds it, whichever library runs on it: one pair until the process ends, and what people call it.

A core belongs to a process until that ends, and neither library can unload a model (neuron-contract.md §§1.5, 1.7). A simulated
device can be held as often as anybody likes. Must not know a library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from chatapp.domain.errors import DeviceUnavailable
from chatapp.domain.neuron import NeuronSettings
from chatapp.domain.neuron_hosts import neuron_host
from chatapp.engine.backends.neuron.cores import find_cores
from chatapp.engine.backends.neuron.rehearsing import emulator_facts
from chatapp.engine.contracts import DeviceFacts


@dataclass
class Process:
    """What this process did to the device."""

    used: bool = False


PROCESS = Process()


def require_free(settings: NeuronSettings) -> None:
    """Raises `DeviceUnavailable` where an earlier pair holds the cores."""
    if PROCESS.used and not settings.rehearse:
        raise DeviceUnavailable(
            "The NeuronCores hold the pair that was loaded before, and their library cannot unload it.",
            remedy="Start chatapp again with this pair (--target, --draft).",
        )


def take(settings: NeuronSettings) -> None:
    """Something was uploaded."""
    PROCESS.used = PROCESS.used or not settings.rehearse


def device_facts(settings: NeuronSettings, versions: tuple[tuple[str, str], ...]) -> DeviceFacts:
    """Of resolved settings; `versions` are those of the library and its companions."""
    if settings.rehearse:
        return emulator_facts(settings, versions)
    cores = find_cores()
    used = settings.tp_degree
    words = cores.words if used == cores.count else f"{cores.words}, {used} in use"
    return DeviceFacts(words, False, versions)


class Emulator(Protocol):
    """A package that takes a library's import names."""

    def is_installed(self) -> bool: ...

    def install(self) -> None: ...


def install_emulator(emulated: Emulator, instance: str, library: str) -> None:
    """`emulated` under the names of `library`, as this instance. Raises `InvalidSetting` for an unknown
    instance, `DeviceUnavailable` beside the real library."""
    from chatapp.engine.backends import emulator

    host = neuron_host(instance)
    # Where a test installed it, the instance is the test's.
    ours = not emulated.is_installed() or bool(emulator.behaviour.instance)
    if not emulated.is_installed():
        try:
            emulated.install()
        except RuntimeError as error:
            raise DeviceUnavailable(
                f"{library} itself is installed here: its emulator does not take its place.",
                remedy="Rehearse in an environment without it.",
            ) from error
    if ours:
        emulator.simulate(instance, host.cores, host.tp_degrees)
