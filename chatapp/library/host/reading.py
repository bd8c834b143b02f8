"""Makes one reading of what the driver, neuron-ls and neuron-monitor said; what one does not know comes from the next.

This module must not know threads or how anything was asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from chatapp.domain.device import CoreHolder, CoreReading, DeviceReading
from chatapp.library.host.device_checks import Listing
from chatapp.library.host.machine import Host
from chatapp.library.host.neuron_tools import MonitorReport, holders_of
from chatapp.library.host.sysfs import Chip

LONGEST_COMMAND = 200


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen in one look. `report` is None while the monitor has nothing fresh to say."""

    instance: str
    chips: tuple[Chip, ...]
    cores: tuple[CoreReading, ...]
    listing: Listing
    report: MonitorReport | None
    launches_per_s: float | None
    problems: tuple[str, ...]


def make_reading(host: Host, looked: Looked, own_pid: int) -> DeviceReading:
    """The reading that the window gets."""
    report, listing = looked.report, looked.listing
    cores = looked.cores or tuple(_cores_from_tools(listing, report))
    if report is not None:
        cores = tuple(_with_report(core, report) for core in cores)
    sizes = _sizes(listing, report)
    cores = tuple(
        core if core.total_bytes else replace(core, total_bytes=sizes.get(core.index)) for core in cores
    )
    sources: tuple[str, ...] = ("driver",) if looked.cores else ()
    if report is not None:
        sources += ("neuron-monitor",)
    elif listing.chips:
        sources += ("neuron-ls",)
    problems = looked.problems + ((f"neuron-ls: {listing.trouble}",) if listing.trouble else ())
    return DeviceReading(
        looked.instance or (report.instance if report is not None else ""),
        next((chip.name for chip in looked.chips if chip.name), ""),
        len(looked.chips) or len(listing.chips) or (report.chips if report is not None else 0),
        cores,
        _holders(host, looked, own_pid),
        looked.launches_per_s,
        sources,
        problems,
    )


def _with_report(core: CoreReading, report: MonitorReport) -> CoreReading:
    """The driver's memory stands, for it counts everybody; the monitor fills in where that is silent."""
    used = core.used_bytes if core.used_bytes is not None else report.used_bytes.get(core.index)
    return replace(core, busy=report.busy.get(core.index), used_bytes=used)


def _cores_from_tools(listing: Listing, report: MonitorReport | None) -> Iterator[CoreReading]:
    """Where the driver's tree is hidden, as in some containers."""
    if listing.chips:
        yield from (CoreReading(core, chip.index) for chip in listing.chips for core in chip.core_ids)
    elif report is not None:
        count = report.chips * report.cores_per_chip
        yield from (CoreReading(core, core // report.cores_per_chip) for core in range(count))


def _sizes(listing: Listing, report: MonitorReport | None) -> dict[int, int]:
    """Bytes of device memory by core, as the tools have them."""
    sizes = {
        core: chip.memory_bytes // len(chip.core_ids)
        for chip in listing.chips
        if chip.memory_bytes
        for core in chip.core_ids
    }
    if not sizes and report is not None and report.chip_bytes and report.cores_per_chip:
        each = report.chip_bytes // report.cores_per_chip
        sizes = dict.fromkeys(range(report.chips * report.cores_per_chip), each)
    return sizes


def _holders(host: Host, looked: Looked, own_pid: int) -> tuple[CoreHolder, ...] | None:
    listed = holders_of(looked.listing.chips, own_pid)
    if looked.report is None:
        return None if looked.listing.trouble else listed
    by_pid = {one.pid: one for one in listed}
    return tuple(
        CoreHolder(
            pid,
            _command(host, pid) or (by_pid[pid].command if pid in by_pid else ""),
            cores or (by_pid[pid].cores if pid in by_pid else ()),
            own=pid == own_pid,
        )
        for pid, cores in looked.report.holders
    )


def _command(host: Host, pid: int) -> str:
    words = (host.text(f"/proc/{pid}/cmdline") or "").replace("\0", " ")
    return words.strip()[:LONGEST_COMMAND]
