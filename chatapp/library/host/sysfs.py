"""The Neuron driver's tree below /sys: chips, cores, what their memory is used for, and two counters. Only ever reads.

Writing to a counter clears it and writing to `reset` resets the chip, so nothing here opens a file for writing.
Source: AWS Neuron SDK documentation, "Neuron Sysfs User Guide". There `total` of a memory category is what is in use now, and
`present` what the last operation added. Drivers from 2.31 on moved parts of the tree; memory and counters are therefore looked
for by name below each core. This module must not know who shows the numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chatapp.domain.device import CoreReading
from chatapp.library.host.machine import Host

TREE = "/sys/devices/virtual/neuron_device"
DEVICES = "/dev"
MEMORY = "device_mem"
COUNTERS = ("inference_count", "model_load_count")
MOST_CHIPS = 64
MOST_CORES = 256
LONGEST_NUMBER = 64
CHIP_GIB = {"inferentia2": 32, "trainium1": 32, "trainium": 32}
"""Device memory of a chip by the driver's name for it (inf2-arch and trn1-arch of the AWS Neuron SDK documentation)."""
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class CoreFiles:
    """Where one core's numbers stand. `categories` are `(name, file)`; None where the driver has no such file."""

    categories: tuple[tuple[str, str], ...]
    total: str | None
    inferences: str | None
    model_loads: str | None


@dataclass(frozen=True, slots=True)
class Chip:
    """One chip. `family` is the driver's word for the instances that have it (`Inf2`), `name` for the chip (`Inferentia2`).
    `core_count` is what the driver says, 0 where it is silent; `cores` are the folders that were found."""

    index: int
    name: str
    family: str
    core_count: int
    cores: tuple[CoreFiles, ...]

    @property
    def size(self) -> int:
        """Number of cores, by the driver's word or by its folders."""
        return self.core_count or len(self.cores)


def device_files(host: Host) -> list[Path]:
    """`/dev/neuron0` and so on, ascending; their number is the number of chips that programs may open."""
    return _numbered(host.path(DEVICES), "neuron")


def neuron_present(host: Host) -> bool:
    """Whether the driver shows a device: a node in /dev, or a chip in its tree."""
    return bool(device_files(host)) or bool(_numbered(host.path(TREE), "neuron"))


def read_chips(host: Host) -> tuple[Chip, ...]:
    """The chips as the driver shows them; empty without a driver or when its tree cannot be read."""
    return tuple(_read_chip(host, folder) for folder in _numbered(host.path(TREE), "neuron")[:MOST_CHIPS])


def read_cores(chips: tuple[Chip, ...]) -> tuple[CoreReading, ...]:
    """Every core of the chips as it is now. Cores count on from chip to chip, as the runtime counts them."""
    return tuple(_read_cores(chips))


def _read_chip(host: Host, folder: Path) -> Chip:
    architecture = folder / "info" / "architecture"
    return Chip(
        _number(folder, "neuron"),
        host.text(architecture / "device_name") or host.text(architecture / "device_type") or "",
        host.text(architecture / "instance_type") or "",
        min(_whole(host.text(folder / "core_count")) or 0, MOST_CORES),
        tuple(_core_files(core) for core in _numbered(folder, "neuron_core")[:MOST_CORES]),
    )


def _core_files(core: Path) -> CoreFiles:
    memory: Path | None = None
    counters: dict[str, str] = {}
    for place, folders, files in os.walk(core):  # does not follow links: sysfs links back to its parents
        if MEMORY in folders:
            memory = Path(place, MEMORY)
            folders.remove(MEMORY)
        counters |= {name: f"{place}/{name}" for name in COUNTERS if name in files}
        # In some drivers a counter is a folder with its value in `total`, as in the rest of the tree.
        counters |= {name: f"{place}/{name}/total" for name in COUNTERS if name in folders}
    categories = (
        sorted(memory.iterdir()) if memory is not None and os.access(memory, os.R_OK | os.X_OK) else []
    )
    return CoreFiles(
        tuple((category.name, f"{category}/total") for category in categories if category.is_dir()),
        f"{memory}/total" if memory is not None else None,
        *(counters.get(name) for name in COUNTERS),
    )


def _read_cores(chips: tuple[Chip, ...]) -> Iterator[CoreReading]:
    index = 0
    for chip in chips:
        gib = CHIP_GIB.get(chip.name.lower())
        room = gib * GIB // chip.size if gib and chip.size else None
        for place in range(chip.size):
            files = chip.cores[place] if place < len(chip.cores) else CoreFiles((), None, None, None)
            yield _read_core(files, index, chip.index, room)
            index += 1


def _read_core(files: CoreFiles, index: int, chip: int, room: int | None) -> CoreReading:
    read = [(name, _count(file)) for name, file in files.categories]
    known = [value for _, value in read if value is not None]
    parts = sorted(((name, value) for name, value in read if value), key=lambda part: -part[1])
    whole = _count(files.total)
    return CoreReading(
        index,
        chip,
        used_bytes=whole if whole is not None else (sum(known) if known else None),
        total_bytes=room,
        parts=tuple(parts),
        inferences=_count(files.inferences),
        model_loads=_count(files.model_loads),
    )


def _numbered(folder: Path, prefix: str) -> list[Path]:
    """What in `folder` is called `prefix` and a number, in the order of the numbers; empty when it cannot be read."""
    try:
        found = [path for path in folder.iterdir() if _number(path, prefix) >= 0]
    except OSError:
        return []
    return sorted(found, key=lambda path: _number(path, prefix))


def _number(path: Path, prefix: str) -> int:
    digits = path.name[len(prefix) :]
    return int(digits) if path.name.startswith(prefix) and digits.isdecimal() else -1


def _count(file: str | None) -> int | None:
    """The number in a file. Some hundred are read every second beside a running reply, hence without `pathlib` and buffers."""
    if file is None:
        return None
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _whole(os.read(descriptor, LONGEST_NUMBER).decode("ascii", "replace").strip())
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _whole(text: str | None) -> int | None:
    """A count or a number of bytes; None for anything else, negative ones too."""
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None
