"""What a NeuronCore host says of itself while the window is open, and the port that asks it.

Plain values: the window draws them, `library/host` reads them. A thing that cannot be read is None, never a zero. This module
must not know sysfs, a tool, or how often anyone looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CoreReading:
    """One NeuronCore at one moment.

    `index` counts over the whole instance, as the runtime does; `chip` is the chip it sits on. `used_bytes` and `total_bytes`
    are device memory, `parts` what it is used for, `(category, bytes)`, largest first. `busy` is the share of the last period
    in which it computed, 0..1. `inferences` and `model_loads` count since the driver was loaded.
    """

    index: int
    chip: int
    used_bytes: int | None = None
    total_bytes: int | None = None
    parts: tuple[tuple[str, int], ...] = ()
    busy: float | None = None
    inferences: int | None = None
    model_loads: int | None = None


@dataclass(frozen=True, slots=True)
class CoreHolder:
    """A process that holds NeuronCores; no other process can have them until it ends. `own` is the process that asks.

    `cores` are ascending indices over the whole instance."""

    pid: int
    command: str
    cores: tuple[int, ...]
    own: bool = False


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """All NeuronCores of the instance at one moment.

    `instance` is the instance type (`inf2.48xlarge`) and `chip_name` what the driver calls the chips (`Inferentia2`); both may
    be empty. `holders` is None where nobody could say who holds the cores. `launches_per_s` is that of the busiest core, None
    until two readings exist. `sources` name what was read, `problems` what could not be.
    """

    instance: str
    chip_name: str
    chips: int
    cores: tuple[CoreReading, ...]
    holders: tuple[CoreHolder, ...] | None = None
    launches_per_s: float | None = None
    sources: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def used_bytes(self) -> int | None:
        """Device memory in use on all cores; None when no core's is known."""
        known = [core.used_bytes for core in self.cores if core.used_bytes is not None]
        return sum(known) if known else None

    @property
    def total_bytes(self) -> int | None:
        """Device memory of all cores; None when one core's is unknown."""
        sizes = [core.total_bytes for core in self.cores if core.total_bytes is not None]
        return sum(sizes) if sizes and len(sizes) == len(self.cores) else None

    @property
    def busy(self) -> float | None:
        """Mean over the cores that somebody uses; None when that is not known."""
        known = [core.busy for core in self.cores if core.busy is not None]
        return sum(known) / len(known) if known else None

    @property
    def model_loads(self) -> int | None:
        """Of the core that loaded most: a graph over several cores is loaded on each of them."""
        return max((core.model_loads for core in self.cores if core.model_loads is not None), default=None)


class DevicePort(Protocol):
    """Asked by the window on its own slow clock; the reading itself happens elsewhere."""

    @property
    def present(self) -> bool:
        """Whether this machine has a Neuron device at all; answers at once."""
        ...

    def start(self) -> None:
        """Begin to read. Nothing happens where no device is present, or twice."""
        ...

    def latest(self) -> DeviceReading | None:
        """The newest reading, the same object until there is a newer one; None before the first. Never waits."""
        ...

    def close(self) -> None:
        """Stop reading and end what was started for it."""
        ...
