"""Processor, memory, disk, and this program itself: its packages, and the files of the built-in pair."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from chatapp.domain.errors import ChatappError
from chatapp.library.catalogue import damaged_files
from chatapp.library.host.findings import Finding, Lines, Section, counted
from chatapp.library.host.machine import Host, normalised, release
from chatapp.library.host.sysfs import GIB
from chatapp.library.host.working_set import TORCH_NEURONX, dotted

MACHINE = Lines(Section.MACHINE)
PROGRAM = Lines(Section.PROGRAM)
PYTHONS = ((3, 10), (3, 13))
PACKAGES = {
    "PySide6-Essentials": ((6, 8, 3), (6, 12)),
    "qasync": ((0, 28), (0, 29)),
    "pyqtgraph": ((0, 14), (0, 15)),
    "numpy": ((1, 26), (3,)),
    "numba": ((0, 61), (1,)),
    "torch": ((2, 7), (2, 14)),
    "transformers": ((4, 47), (6,)),
    "tokenizers": ((0, 21), (1,)),
    "safetensors": ((0, 4, 5), (1,)),
    "jinja2": ((3, 1, 4), (4,)),
    "filelock": ((3, 16), (5,)),
}
"""First version that will do, and the first that will not; the same as in pyproject.toml."""
MOST_THREADS = 8
LEAST_DISK_GIB = 5
LITTLE_DISK_GIB = 50
LITTLE_MEMORY_GIB = 4
COMPILE_MEMORY_GIB = 32
INSTALL = "Install this program again: `bash packaging/run` in a clone, `pip install .` otherwise."


def machine_findings(host: Host, artefacts: Path, *, neuron: bool) -> Iterator[Finding]:
    """Threads against vCPUs, memory, and room for prepared graphs in `artefacts`."""
    yield _threads(host, neuron=neuron)
    yield _memory(host, neuron=neuron)
    yield _disk(host, artefacts, neuron=neuron)


def program_findings(host: Host, pair: Path) -> Iterator[Finding]:
    """Python, packages, and whether the files of the built-in pair in `pair` are whole."""
    first, last = PYTHONS
    if first <= host.python <= last:
        yield PROGRAM.good("python", dotted(host.python))
    else:
        yield PROGRAM.bad(
            "python",
            f"{dotted(host.python)}; {dotted(first)} to {dotted(last)} will do",
            "Make an environment with one of them.",
        )
    versions = host.versions()
    for name, (least, limit) in PACKAGES.items():
        yield _package(name, versions.get(normalised(name)), least, limit, beside=versions.get(TORCH_NEURONX))
    yield _pair(pair)


def _threads(host: Host, *, neuron: bool) -> Finding:
    vcpus = len(re.findall(r"^processor\s*:", host.text("/proc/cpuinfo") or "", re.MULTILINE))
    said = host.environ.get("OMP_NUM_THREADS", "")
    if not vcpus:
        return MACHINE.warn(
            "threads", "/proc/cpuinfo cannot be read", "None; the number of vCPUs is unknown."
        )
    wanted = max(1, min(MOST_THREADS, vcpus // 2))
    machine = counted(vcpus, "vCPU")
    if said and not said.partition(",")[0].isdecimal():
        return MACHINE.warn(
            "threads", f"OMP_NUM_THREADS={said} is no number", f"`export OMP_NUM_THREADS={wanted}`."
        )
    threads = int(said.partition(",")[0]) if said else 0
    if threads > vcpus:
        return MACHINE.warn(
            "threads",
            f"OMP_NUM_THREADS={said} on {machine}: they wait for each other",
            f"`export OMP_NUM_THREADS={wanted}`.",
        )
    if neuron and not threads:
        return MACHINE.warn(
            "threads",
            f"OMP_NUM_THREADS is unset on {machine}: host work takes every core that desktop and window need",
            f"`export OMP_NUM_THREADS={wanted}`.",
        )
    return MACHINE.good("threads", f"{machine}, OMP_NUM_THREADS {said or 'unset: chatapp chooses'}")


def _memory(host: Host, *, neuron: bool) -> Finding:
    found = dict(
        re.findall(r"^(MemTotal|MemAvailable):\s+(\d+) kB", host.text("/proc/meminfo") or "", re.MULTILINE)
    )
    if len(found) < 2:
        return MACHINE.warn("memory", "/proc/meminfo cannot be read", "None; the amount is unknown.")
    total, available = (int(found[name]) * 1024 / GIB for name in ("MemTotal", "MemAvailable"))
    told = f"{available:.1f} of {total:.1f} GiB free"
    if available < LITTLE_MEMORY_GIB:
        return MACHINE.warn("memory", told, "Close other programs before loading a large pair.")
    if neuron and total < COMPILE_MEMORY_GIB:
        return MACHINE.warn(
            "memory",
            f"{told}: little for the compiler",
            "Compile with one worker, or on a larger machine (`chatapp prepare`).",
        )
    return MACHINE.good("memory", told)


def _disk(host: Host, artefacts: Path, *, neuron: bool) -> Finding:
    free = host.free_bytes(artefacts)
    if free is None:
        return MACHINE.warn(
            "disk", f"the room at {artefacts} cannot be told", "Choose another folder with --artefacts."
        )
    told = f"{free / GIB:.0f} GiB free at {artefacts}"
    mend = "Free some, or choose another disk with --artefacts; `chatapp plan` says what a pair needs."
    if free < LEAST_DISK_GIB * GIB:
        return MACHINE.bad("disk", told, mend)
    if neuron and free < LITTLE_DISK_GIB * GIB:
        return MACHINE.warn("disk", f"{told}: little for graphs and checkpoints", mend)
    return MACHINE.good("disk", told)


def _package(
    name: str, version: str | None, least: tuple[int, ...], limit: tuple[int, ...], beside: str | None
) -> Finding:
    label = name.lower()
    if version is None:
        return PROGRAM.bad(label, "not installed", INSTALL)
    if name == "torch" and beside is not None:
        return PROGRAM.good(label, f"{version}, as torch-neuronx {beside} needs it")
    if least <= release(version) < limit:
        return PROGRAM.good(label, version)
    return PROGRAM.warn(label, f"{version}; tested from {dotted(least)} to below {dotted(limit)}", INSTALL)


def _pair(pair: Path) -> Finding:
    mend = "Get the files again: clone the repository anew, or reinstall."
    try:
        wrong = list(damaged_files(pair))
    except ChatappError as error:
        return PROGRAM.bad("built-in-pair", str(error), mend)
    if wrong:
        return PROGRAM.bad("built-in-pair", " ".join(wrong), mend)
    return PROGRAM.good("built-in-pair", "whole, every checksum agrees")
