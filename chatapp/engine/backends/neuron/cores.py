"""The NeuronCores of this machine, as the kernel's driver shows them. Reads small files and writes none.

Sources: AWS Neuron documentation, "Neuron Sysfs User Guide" and "NeuronX Runtime Configuration" (neuron-contract.md §8.2).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEVICES = Path("/sys/devices/virtual/neuron_device")
PRODUCT = Path("/sys/devices/virtual/dmi/id/product_name")
"""On EC2 the instance type."""
NODES = Path("/dev")
CORES_PER_DEVICE = 2


@dataclass(frozen=True, slots=True)
class Cores:
    """How many this process may use (0: nobody says), and the instance's name or an empty string."""

    count: int
    instance: str

    @property
    def words(self) -> str:
        """What a person would call the device."""
        cores = f"{self.count} NeuronCore{'s' if self.count != 1 else ''}" if self.count else "NeuronCores"
        return ", ".join(filter(None, (self.instance, cores)))


def find_cores(
    devices: Path = DEVICES,
    product: Path = PRODUCT,
    nodes: Path = NODES,
    environment: Mapping[str, str] = os.environ,
) -> Cores:
    """NEURON_RT_VISIBLE_CORES wins over NEURON_RT_NUM_CORES, which wins over what is there; 0 means all, as for the runtime."""
    counts = [_number(file) for file in devices.glob("neuron*/core_count")]
    there = sum(counts) or CORES_PER_DEVICE * len(list(nodes.glob("neuron[0-9]*")))
    visible = _listed(environment.get("NEURON_RT_VISIBLE_CORES", ""))
    asked = environment.get("NEURON_RT_NUM_CORES", "")
    count = visible or (int(asked) if asked.isdecimal() else 0) or there
    name = _text(product)
    return Cores(count, name if name.startswith(("inf", "trn")) else "")


def _listed(text: str) -> int:
    """How many cores `0-3,7` names; 0 for what is no such list."""
    count = 0
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        last = last or first
        if not (first.isdecimal() and last.isdecimal()):
            return 0
        count += max(int(last) - int(first) + 1, 0)
    return count


def _number(file: Path) -> int:
    text = _text(file)
    return int(text) if text.isdecimal() else 0


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
