"""The simulated instance: its cores, their memory, and every way in which a runtime refuses. Knows no model.

`Behaviour` is what a test or a rehearsal sets; `Device` does what the runtime would. Errors have the library's own type and
text. What the real runtime logs through its own logger goes to file descriptor 2, past `sys.stderr`, as there.

Source: neuron-contract.md §1.6, whose messages come from AWS's troubleshooting page, nrt_status.h and public issues. That
the text behind status 2 is "Invalid" is a guess.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

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

    `instance` is the type that a rehearsal simulates, empty where somebody sets each of these himself.
    `memory_per_core` and `graph_bytes_per_core` (what a loaded graph takes besides tensors) are in bytes, `compile_seconds`
    is per graph. `allowed_degrees` None allows all. `compile_hook` is called with a graph's tag and file name before it is
    compiled, in the compiling process. `new_transformers` is a host whose transformers 5 lost `rope_theta`.
    """

    instance: str = ""
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

    @property
    def total(self) -> int:
        return self.tensors + self.code


class Device:
    """The instance's cores. Memory is never given back: only the end of the process does that."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._use: dict[int, Use] = {}
        self._reserved = 0

    def reset(self) -> None:
        """As after the end of the process."""
        self._use.clear()
        self._reserved = 0

    def used(self, core: int) -> int:
        """Bytes in use on a core."""
        return self._use.get(core, Use()).total

    def initialize(self) -> None:
        """`nrt_init`: reserves the cores that the environment names, all by default, for this process. Raises
        `RuntimeError`."""
        if self._reserved:
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
        requested = _requested_cores() or behaviour.cores
        free = behaviour.cores - behaviour.cores_held
        if requested > free:
            log(
                "NRT:nrt_allocate_neuron_cores",
                f"NeuronCore(s) not available - Requested:{requested} Available:{free}",
            )
            raise RuntimeError(NOT_INITIALIZED)
        self._reserved = requested

    def allocate_tensor(self, cores: range, size: int) -> None:
        """`size` bytes on each of `cores`. Raises `RuntimeError` with the runtime's status 2 (no such core) or 4 (full)."""
        if cores.stop > self._reserved:
            raise RuntimeError('nrt_tensor_allocate status=2 message="Invalid"')
        self._take(cores, size, "tensors", "nrt_tensor_allocate")

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
        self._take(cores, behaviour.graph_bytes_per_core, "model code", "nrt_load_collectives")

    def _take(self, cores: range, size: int, what: str, call: str) -> None:
        for core in cores:
            use = self._use.setdefault(core, Use())
            if use.total + size > self.behaviour.memory_per_core:
                self._log_full(core, size, what)
                raise RuntimeError(f'{call} status=4 message="Allocation Failure"')
        for core in cores:
            if what == "tensors":
                self._use[core].tensors += size
            else:
                self._use[core].code += size

    def _log_full(self, core: int, size: int, what: str) -> None:
        """The breakdown of one core: two make a device."""
        use = self._use[core]
        log(
            "TDRV:log_dev_mem",
            f"Failed to allocate {_readable(size)} (usage: {what}) on ND {core // 2}:NC {core % 2}, current utilization:\n"
            f"\t* total: {_readable(use.total)}\n"
            f"\t* model code: {_readable(use.code)}\n"
            f"\t* tensors: {_readable(use.tensors)}\n",
        )


def _requested_cores() -> int:
    """From the environment: NEURON_RT_VISIBLE_CORES (`0-3`, `1,2`) wins over NEURON_RT_NUM_CORES; 0 is all."""
    visible = os.environ.get("NEURON_RT_VISIBLE_CORES", "")
    count = 0
    for part in filter(None, visible.split(",")):
        first, _, last = part.partition("-")
        count += int(last or first) - int(first) + 1
    return count or int(os.environ.get("NEURON_RT_NUM_CORES", "0"))


def _readable(size: int) -> str:
    """As the runtime writes sizes."""
    if size >= GIBIBYTE:
        return f"{size / GIBIBYTE:.3f}GB"
    return f"{size / 2**20:.3f}MB" if size >= 2**20 else f"{size / 2**10:.3f}KB"


def log(where: str, text: str) -> None:
    """As the runtime writes it: from C, so to the descriptor itself."""
    when = datetime.now(timezone.utc).strftime("%Y-%b-%d %H:%M:%S.%f")
    process = f"{os.getpid()}:{threading.get_native_id()}"
    os.write(2, f"{when} {process} ERROR  {where:<40} {text}\n".encode())
