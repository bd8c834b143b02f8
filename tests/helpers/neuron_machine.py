"""A machine made of files: trees of /sys, /dev and /proc, scripts for tools, and installed packages, below a folder.

    machine = NeuronMachine(tmp_path)
    machine.instance("inf2.48xlarge")            # firmware name, driver's tree, device nodes, driver version
    machine.use(core=0, tensors=9 << 30)          # device memory in use
    machine.tool("neuron-ls", neuron_ls_script)   # a real program on PATH
    findings = examine(machine.host(), …)

The shapes of the trees are those of the AWS Neuron SDK documentation ("Neuron Sysfs User Guide").
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chatapp.domain.neuron_hosts import CORES_PER_CHIP, NeuronHost, neuron_host
from chatapp.library.host.machine import Host
from chatapp.library.host.screen_checks import QT_LIBRARIES

GIB = 1 << 30
CATEGORIES = (
    "collectives",
    "constants",
    "dma_rings",
    "driver_memory",
    "model_code",
    "model_shared_scratchpad",
    "nonshared_scratchpad",
    "notifications",
    "runtime_memory",
    "tensors",
    "uncategorized",
)
CHIPS = {"inf2": ("Inf2", "Inferentia2"), "trn1": ("Trn1", "Trainium1")}
LAST_SET = {
    "transformers-neuronx": "0.13.1315",
    "torch-neuronx": "2.8.0.2.10.16998+e9bf8a50",
    "neuronx-cc": "2.21.33363.0+82129205",
    "libneuronxla": "2.2.12677.0",
    "torch": "2.8.0",
    "transformers": "4.47.1",
}
LAST_PACKAGES = {
    "aws-neuronx-runtime-lib": "2.28.23.0-dd5879008",
    "aws-neuronx-collectives": "2.28.27.0-bc30ece58",
    "aws-neuronx-tools": "2.26.14.0",
}


class NeuronMachine:
    """Files below `folder`; a new one is an idle, healthy machine without Neuron, with a screen and Qt's libraries."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.bin = self.root / "usr" / "bin"
        self.bin.mkdir(parents=True)
        self.site = self.root / "site-packages"
        self.site.mkdir()
        self.chips = 0
        self.patience_s = 5.0
        self.environ = {"PATH": str(self.bin), "DISPLAY": ":1", "HOME": str(self.root / "home")}
        self.file("/proc/meminfo", "MemTotal:  792000000 kB\nMemFree: 1 kB\nMemAvailable:  700000000 kB\n")
        self.file("/proc/cpuinfo", "".join(f"processor\t: {n}\nmodel name\t: x\n\n" for n in range(4)))
        self.file("/usr/share/fonts/truetype/one.ttf", "")
        listed = "\n".join(f"\t{name} (libc6,x86-64) => /usr/lib/{name}" for name in QT_LIBRARIES)
        self.says("ldconfig", f"2 libs found\n{listed}")

    def file(self, place: str, text: str) -> Path:
        path = self.root / place.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(text, encoding="utf-8")
            return path
        new = path.with_name(f".{path.name}.new")  # in one piece, for somebody may be reading
        new.write_text(text, encoding="utf-8")
        return new.replace(path)

    def tool(self, name: str, script: str) -> None:
        """An executable of that name; `script` is for sh and names other programs by their full path."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def says(self, name: str, output: str, *, status: int = 0) -> None:
        """A tool that prints `output`, whatever it is asked."""
        self.tool(name, f"printf '%s\\n' {shlex.quote(output)}\nexit {status}")

    def package(self, name: str, version: str) -> None:
        """A Python package, as its installer would leave it for `importlib.metadata`."""
        folder = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (folder / "METADATA").write_text(metadata, encoding="utf-8")

    def packages(self, versions: Mapping[str, str]) -> None:
        for name, version in versions.items():
            self.package(name, version)

    def system_packages(self, versions: Mapping[str, str]) -> None:
        """What dpkg knows; as the real one it prints the known names and fails when one is unknown."""
        cases = "\n".join(
            f"    {name}) printf '{name}\\t{version}\\tinstalled\\n' ;;" for name, version in versions.items()
        )
        self.tool(
            "dpkg-query",
            f'bad=0\nshift 3\nfor name; do case "$name" in\n{cases}\n'
            '    *) echo "dpkg-query: no packages found matching $name" >&2; bad=1 ;;\nesac; done\nexit $bad',
        )

    def instance(self, name: str, *, driver: str = "2.24.7.0") -> NeuronHost:
        """An idle instance of that type with its driver loaded."""
        known = neuron_host(name)
        self.file("/sys/devices/virtual/dmi/id/product_name", f"{name}\n")
        self.file("/sys/module/neuron/version", f"{driver}\n")
        self.file("/proc/cpuinfo", "".join(f"processor\t: {n}\n" for n in range(known.vcpus)))
        for chip in range(known.chips):
            self._chip(chip, *CHIPS[known.family])
        self.chips = known.chips
        return known

    def _chip(self, chip: int, family: str, name: str) -> None:
        self.file(f"/dev/neuron{chip}", "")
        tree = f"/sys/devices/virtual/neuron_device/neuron{chip}"
        self.file(f"{tree}/core_count", f"{CORES_PER_CHIP}\n")
        self.file(f"{tree}/reset", "")
        self.file(f"{tree}/info/architecture/arch_type", "NDv2\n")
        self.file(f"{tree}/info/architecture/device_name", f"{name}\n")
        self.file(f"{tree}/info/architecture/instance_type", f"{family}\n")
        for core in range(CORES_PER_CHIP):
            stats = f"{tree}/neuron_core{core}/stats"
            for category in CATEGORIES:
                for counter in ("total", "present", "peak"):
                    self.file(f"{stats}/memory_usage/device_mem/{category}/{counter}", "0\n")
            for counter in ("inference_count", "model_load_count", "nc_time_in_use", "flop_count"):
                self.file(f"{stats}/other_info/{counter}", "0\n")

    def core_folder(self, core: int) -> str:
        chip, place = divmod(core, CORES_PER_CHIP)
        return f"/sys/devices/virtual/neuron_device/neuron{chip}/neuron_core{place}"

    def use(self, core: int, *, inferences: int = 0, loads: int = 0, **categories: int) -> None:
        """What a core's counters say from now on, in bytes by category."""
        stats = f"{self.core_folder(core)}/stats"
        for category, used in categories.items():
            self.file(f"{stats}/memory_usage/device_mem/{category}/total", f"{used}\n")
        self.file(f"{stats}/other_info/inference_count", f"{inferences}\n")
        self.file(f"{stats}/other_info/model_load_count", f"{loads}\n")

    def listed(self, holders: Sequence[tuple[int, str, Sequence[int]]] = ()) -> list[dict[str, Any]]:
        """The rows of neuron-ls; `holders` are `(pid, command, chips)`."""
        return [
            {
                "neuron_device": chip,
                "bdf": f"{chip:02x}:1e.0",
                "connected_to": None,
                "nc_count": CORES_PER_CHIP,
                "memory_size": 32 * GIB,
                "neuroncore_ids": [CORES_PER_CHIP * chip, CORES_PER_CHIP * chip + 1],
                "neuron_processes": [
                    {"pid": pid, "command": command, "neuron_runtime_version": "2.28.23.0"}
                    for pid, command, chips in holders
                    if chip in chips
                ],
            }
            for chip in range(self.chips)
        ]

    def neuron_ls(self, holders: Sequence[tuple[int, str, Sequence[int]]] = ()) -> None:
        self.says("neuron-ls", json.dumps(self.listed(holders)))

    def report(
        self, busy: Mapping[int, float] | None = None, used: Mapping[int, int] | None = None, pid: int = 0
    ) -> str:
        """One line of neuron-monitor: percent by core, bytes by core, and the process that holds them."""
        runtime = {
            "pid": pid,
            "neuron_runtime_tag": str(pid),
            "error": "",
            "report": {
                "neuroncore_counters": {
                    "period": 1.0,
                    "neuroncores_in_use": {
                        str(core): {"neuroncore_utilization": percent, "flops": 1}
                        for core, percent in (busy or {}).items()
                    },
                    "error": "",
                },
                "memory_used": {
                    "neuron_runtime_used_bytes": {
                        "usage_breakdown": {
                            "neuroncore_memory_usage": {
                                str(core): {"tensors": size, "constants": 0}
                                for core, size in (used or {}).items()
                            }
                        }
                    }
                },
            },
        }
        return json.dumps(
            {
                "neuron_runtime_data": [runtime] if pid else [],
                "system_data": {},
                "instance_info": {"instance_type": ""},
                "neuron_hardware_info": {
                    "neuron_device_count": self.chips,
                    "neuroncore_per_device_count": CORES_PER_CHIP,
                    "neuron_device_memory_size": 32 * GIB,
                    "error": "",
                },
            }
        )

    def neuron_monitor(self, *lines: str) -> None:
        """A monitor that prints these lines and then stays, as the real one does."""
        said = "\n".join(f"printf '%s\\n' {shlex.quote(line)}" for line in lines)
        self.tool("neuron-monitor", f"{said}\nexec /bin/sleep 600")

    def healthy(self, name: str = "inf2.48xlarge") -> None:
        """Everything as it should be on a host: device, tools, the last working set, a DCV session, threads."""
        self.instance(name)
        self.neuron_ls()
        self.neuron_monitor(self.report())
        self.packages(LAST_SET)
        self.system_packages(
            {**LAST_PACKAGES, "nice-dcv-server": "2024.0.19030-1", "nice-xdcv": "2024.0.654-1"}
        )
        self.dcv([{"id": "chat", "owner": "ubuntu", "type": "virtual", "x11-display": ":1"}])
        self.file("/etc/gdm3/custom.conf", "[daemon]\nWaylandEnable=false\n")
        self.environ["OMP_NUM_THREADS"] = "8"

    def dcv(self, sessions: Sequence[Mapping[str, object]]) -> None:
        self.says("dcv", json.dumps(list(sessions)))

    def host(self, python: tuple[int, int] = (3, 11)) -> Host:
        return Host.at(self.root, dict(self.environ), [str(self.site)], python, self.patience_s)
