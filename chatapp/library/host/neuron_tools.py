"""What `neuron-ls` and `neuron-monitor` print, as values. Both are JSON, of which only what is needed is read.

Sources: AWS Neuron SDK documentation, "Neuron LS User Guide" (`-j` until SDK 2.33, `--output-format json` from 2.34 on, with the
list of devices inside an object) and "Neuron Monitor User Guide". Cores are keyed by their number over the whole instance.
A field that is missing or of another type is left out; an answer that is no JSON raises `ToolNonsense`. This module must not
know how the tools are run, nor who reads the values.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from chatapp.domain.device import CoreHolder

MONITOR_CONFIG = {
    "period": "1s",
    "neuron_runtimes": [
        {"tag_filter": ".*", "metrics": [{"type": "neuroncore_counters"}, {"type": "memory_used"}]}
    ],
    "system_metrics": [],
}


class ToolNonsense(ValueError):
    """A tool printed something that is not what its guide describes."""


@dataclass(frozen=True, slots=True)
class ListedChip:
    """One row of neuron-ls. `memory_bytes` is that of the whole chip, 0 where unsaid."""

    index: int
    core_ids: tuple[int, ...]
    memory_bytes: int
    processes: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class MonitorReport:
    """One line of neuron-monitor. All by core: `busy` 0..1, `used_bytes`; `holders` are `(pid, cores)`."""

    instance: str = ""
    chips: int = 0
    cores_per_chip: int = 0
    chip_bytes: int = 0
    busy: Mapping[int, float] = field(default_factory=dict)
    used_bytes: Mapping[int, int] = field(default_factory=dict)
    holders: tuple[tuple[int, tuple[int, ...]], ...] = ()
    errors: tuple[str, ...] = ()


def parse_neuron_ls(text: str) -> tuple[ListedChip, ...]:
    """The chips that neuron-ls lists, ascending. Raises `ToolNonsense`."""
    rows = _rows(_json(text))
    if rows is None:
        raise ToolNonsense("neuron-ls printed JSON without a list of devices")
    first, chips = 0, []
    for row in sorted(rows, key=lambda row: _count(row, "neuron_device")):
        cores = _count(row, "nc_count")
        listed = tuple(sorted(core for core in _list(row, "neuroncore_ids") if _is_count(core)))
        ids = listed or tuple(range(first, first + cores))
        first = max(ids, default=first - 1) + 1
        processes = tuple(
            (_count(process, "pid"), str(process.get("command") or ""))
            for process in _list(row, "neuron_processes")
            if isinstance(process, dict) and _count(process, "pid")
        )
        chips.append(ListedChip(_count(row, "neuron_device"), ids, _count(row, "memory_size"), processes))
    return tuple(chips)


def holders_of(chips: tuple[ListedChip, ...], own_pid: int) -> tuple[CoreHolder, ...]:
    """Who holds which cores. neuron-ls knows the chip that a process opened, so all cores of the chip count."""
    commands: dict[int, str] = {}
    cores: dict[int, set[int]] = {}
    for chip in chips:
        for pid, command in chip.processes:
            commands.setdefault(pid, command)
            cores.setdefault(pid, set()).update(chip.core_ids)
    return tuple(
        CoreHolder(pid, command, tuple(sorted(cores[pid])), own=pid == own_pid)
        for pid, command in sorted(commands.items())
    )


def parse_monitor(line: str) -> MonitorReport:
    """One report of neuron-monitor. Raises `ToolNonsense`."""
    data = _json(line)
    if not isinstance(data, dict) or "neuron_runtime_data" not in data:
        raise ToolNonsense("neuron-monitor printed JSON without neuron_runtime_data")
    hardware, instance = _table(data, "neuron_hardware_info"), _table(data, "instance_info")
    busy: dict[int, float] = {}
    used: dict[int, int] = {}
    holders: list[tuple[int, tuple[int, ...]]] = []
    errors = [str(hardware["error"])] if hardware.get("error") else []
    for runtime in _list(data, "neuron_runtime_data"):
        if not isinstance(runtime, dict):
            continue
        if runtime.get("error"):
            errors.append(str(runtime["error"]))
        report = _table(runtime, "report")
        its_busy, its_used = dict(_busy(report)), dict(_used(report))
        busy |= its_busy
        used |= its_used
        if _count(runtime, "pid"):
            holders.append((_count(runtime, "pid"), tuple(sorted({*its_busy, *its_used}))))
    return MonitorReport(
        str(instance.get("instance_type") or ""),
        _count(hardware, "neuron_device_count"),
        _count(hardware, "neuroncore_per_device_count"),
        _count(hardware, "neuron_device_memory_size"),
        busy,
        used,
        tuple(holders),
        tuple(errors),
    )


def _busy(report: Mapping[str, Any]) -> Iterator[tuple[int, float]]:
    counters = _table(report, "neuroncore_counters")
    for key, core in _table(counters, "neuroncores_in_use").items():
        percent = core.get("neuroncore_utilization") if isinstance(core, dict) else None
        if key.isdecimal() and isinstance(percent, int | float) and math.isfinite(percent):
            yield int(key), min(max(percent / 100, 0.0), 1.0)


def _used(report: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    runtime = _table(_table(report, "memory_used"), "neuron_runtime_used_bytes")
    cores = _table(_table(runtime, "usage_breakdown"), "neuroncore_memory_usage")
    for key, parts in cores.items():
        if key.isdecimal() and isinstance(parts, dict):
            yield int(key), sum(part for part in parts.values() if _is_count(part))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ToolNonsense("its output is no JSON") from error


def _rows(data: Any) -> list[dict[str, Any]] | None:
    """The list of devices: the answer itself, or the one inside it."""
    candidates = [data] if isinstance(data, list) else list(data.values()) if isinstance(data, dict) else []
    for candidate in candidates:
        if isinstance(candidate, list):
            rows = [row for row in candidate if isinstance(row, dict) and _is_count(row.get("neuron_device"))]
            if rows or candidate == []:
                return rows
    return None


def _table(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def _list(data: Mapping[str, Any], name: str) -> list[Any]:
    value = data.get(name)
    return value if isinstance(value, list) else []


def _count(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    return value if _is_count(value) else 0


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
