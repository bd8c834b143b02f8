"""An emulation of `transformers_neuronx` on the CPU: its import names, its public API and its quirks, with real Llama weights.

It stands in for the library where there is no Neuron hardware: in tests of everything above it and in rehearsals. It follows
resources/help/neuron-contract.md; nothing in it was compared with hardware.

- `install()` puts it under the library's import names for this process, `installed()` for the length of a test.
- `behaviour` says what the simulated instance is like: cores, memory, topology, driver, how compiling goes.
- `launches` counts every launch by model and graph; its `pacer` may hold launches back to a latency.

None of this shows in the library's public names: code that runs on the emulator is code for the library.
"""

from __future__ import annotations

from chatapp.engine.backends.emulator.device import TRN1_DEGREES, Behaviour
from chatapp.engine.backends.emulator.installing import install, installed, is_installed, uninstall
from chatapp.engine.backends.emulator.launch_log import Launch, LaunchLog, Pacer
from chatapp.engine.backends.emulator.state import behaviour, device, launches, reset, simulate

__all__ = [
    "TRN1_DEGREES",
    "Behaviour",
    "Launch",
    "LaunchLog",
    "Pacer",
    "behaviour",
    "device",
    "install",
    "installed",
    "is_installed",
    "launches",
    "reset",
    "simulate",
    "uninstall",
]
