"""The simulated instance: its cores, their memory, and every way in which a runtime refuses. Knows no model.

`Behaviour` is what a test or a rehearsal sets; `Device` does what the runtime would. Errors have the library's own type and
text. What the real runtime logs through its own logger goes to file descriptor 2, past `sys.stderr`, as there.

Source: neuron-contract.md §1.6, whose messages come from AWS's troubleshooting page and public issues.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

GIBIBYTE = 1 << 30
TRN1_DEGREES = (1, 2, 8, 16, 32)
"""Cores that collectives of trn1 can span."""
NOT_INITIALIZED = (
    "The PyTorch Neuron Runtime could not be initialized. Neuron Driver issues are logged to your system logs. "
    "See the Neuron Runtime's troubleshooting guide for help on this topic: "
    "https://awsdocs-neuron.readthedocs-hosted.com/en/latest/"
)


@dataclass(slots=True)
class Behaviour:
    """What the simulated instance has and does. The default is a trn1.32xlarge without its limits of topology.

    `memory_per_core` and `graph_bytes_per_core` (what a loaded graph takes besides tensors) are in bytes, `compile_seconds`
    is per graph. `allowed_degrees` None allows all. `compile_hook` is called with a graph's tag and file name before it is
    compiled, in the compiling process. `new_transformers` is a host whose transformers 5 lost `rope_theta`.
    """

    driver: bool = True
    devices: bool = True
    cores: int = 32
    cores_held: int = 0
    memory_per_core: int = 16 * GIBIBYTE
    graph_bytes_per_core: int = 0
    allowed_degrees: tuple[int, ...] | None = None
    compile_seconds: float = 0.0
    compile_hook: Callable[[str, str], None] | None = None
    compile_in_processes: bool = False
    compiler_killed: bool = False
    executions_hang: bool = False
    new_transformers: bool = False

    def reset(self) -> None:
        """Every setting as it was."""
        fresh = Behaviour()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))


@dataclass(slots=True)
class Use:
    """Bytes on one core, as the runtime's own breakdown names them."""

    tensors: int = 0
    code: int = 0


class Device:
    """The instance's cores. Memory is never given back: only the end of the process does that."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._use: dict[int, Use] = {}
        self._initialized = False

    def reset(self) -> None:
        """As after the end of the process."""
        self._use.clear()
        self._initialized = False

    def used(self, core: int) -> int:
        """Bytes in use on a core."""
        use = self._use.get(core, Use())
        return use.tensors + use.code

    def initialize(self) -> None:
        """`nrt_init`: reserves every core of the instance for this process. Raises `RuntimeError`."""
        if self._initialized:
            return
        behaviour = self.behaviour
        if not behaviour.driver:
            log(
                "NRT:nrt_init",
                "Unable to determine Neuron Driver version. Please check aws-neuronx-dkms package is installed.",
            )
            raise RuntimeError(NOT_INITIALIZED)
        if not behaviour.devices:
            log("TDRV:tdrv_get_dev_info", "No neuron device available")
            raise RuntimeError(NOT_INITIALIZED)
        if behaviour.cores_held:
            free = behaviour.cores - behaviour.cores_held
            log(
                "NRT:nrt_allocate_neuron_cores",
                f"NeuronCore(s) not available - Requested:{behaviour.cores} Available:{free}",
            )
            raise RuntimeError(NOT_INITIALIZED)
        self._initialized = True

    def allocate_tensor(self, cores: range, size: int) -> None:
        """`size` bytes on each of `cores`. Raises `RuntimeError` with the runtime's status 2 (no such core) or 4 (full)."""
        if cores.stop > self.behaviour.cores:
            raise RuntimeError('nrt_tensor_allocate status=2 message="Invalid"')
        if any(self.used(core) + size > self.behaviour.memory_per_core for core in cores):
            raise RuntimeError('nrt_tensor_allocate status=4 message="Allocation Failure"')
        for core in cores:
            self._use.setdefault(core, Use()).tensors += size

    def load_graph(self, cores: range) -> None:
        """`nrt_load_collectives`. Raises `RuntimeError` for a topology that trn1 does not have, and when memory is full."""
        behaviour = self.behaviour
        if behaviour.allowed_degrees is not None and len(cores) not in behaviour.allowed_degrees:
            log(
                "NRT:nrt_load_collectives",
                "Unsupported topology. Supported number of Neuron Cores is 1, 2, 8, 16 or a multiple of 32. "
                "For other configurations, such as multiples of 2, consider using inf2 instances",
            )
            raise RuntimeError('nrt_load_collectives status=2 message="Invalid"')
        size = behaviour.graph_bytes_per_core
        for core in cores:
            if self.used(core) + size > behaviour.memory_per_core:
                self._log_breakdown(core)
                raise RuntimeError('nrt_load_collectives status=4 message="Allocation Failure"')
        for core in cores:
            self._use.setdefault(core, Use()).code += size

    def _log_breakdown(self, core: int) -> None:
        use = self._use.get(core, Use())
        log(
            "TDRV:log_dev_mem",
            f"Failed to allocate memory on ND {core // 2}:NC {core % 2}, current utilization:",
        )
        for name, size in (
            ("tensors", use.tensors),
            ("model code", use.code),
            ("total", use.tensors + use.code),
        ):
            log("TDRV:log_dev_mem", f"    * {name}: {size / GIBIBYTE:.3f}GB")


def log(where: str, text: str) -> None:
    """As the runtime writes it: from C, so to the descriptor itself."""
    os.write(2, f"ERROR  {where:<35} {text}\n".encode())
