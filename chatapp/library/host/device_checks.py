"""The NeuronCores themselves: which instance, how many, who may open them, who holds them, what their memory is used for."""

from __future__ import annotations

import grp
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chatapp.domain.device import CoreReading
from chatapp.domain.errors import InvalidSetting
from chatapp.domain.neuron_hosts import HOSTS, NeuronHost, neuron_host
from chatapp.library.host.commands import NOT_INSTALLED, Ran
from chatapp.library.host.findings import Finding, Lines, Section, counted, spans
from chatapp.library.host.machine import Host, release
from chatapp.library.host.neuron_tools import (
    ListedChip,
    ToolNonsense,
    holders_of,
    parse_monitor,
    parse_neuron_ls,
)
from chatapp.library.host.sysfs import (
    GIB,
    Chip,
    device_files,
    neuron_present,
    read_chips,
    read_cores,
)
from chatapp.library.host.working_set import DRIVER, MOVED_TREE_DRIVER, dotted, system_set

LINES = Lines(Section.DEVICE)
PRODUCT = "/sys/devices/virtual/dmi/id/product_name"
DRIVER_VERSION = "/sys/module/neuron/version"
PCI = "/sys/bus/pci/devices"
AMAZON = "0x1d0f"
NEURON_PCI = {"0x7064": "Inferentia", "0x7164": "Trainium1", "0x7264": "Inferentia2", "0x7364": "Trainium2"}
RELATED = ("inf2", "trn1", "trn1n")
INSTANCE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
IN_USE_BYTES = 64 << 20
"""The driver itself keeps a little on every core; less than this is nobody's model."""
LIST_TOOL = "neuron-ls"
MONITOR_TOOL = "neuron-monitor"
TOOLS_MEND = "Install aws-neuronx-tools."
LISTS = (("-j",), ("--output-format", "json"))
"""The second from SDK 2.34 on, which no longer knows the first."""
UNKNOWN_WORD = "unknown"
NO_DEVICE = "none on this machine: pairs run on the processor or a GPU"


@dataclass(frozen=True, slots=True)
class Listing:
    """What neuron-ls said: the chips, or why not."""

    chips: tuple[ListedChip, ...] = ()
    trouble: str = ""


def instance_type(host: Host, chips: tuple[Chip, ...], asked: str = "") -> str:
    """The instance type: as the metadata service said when it was `asked`, as the firmware says, or by family and number of
    chips where only one type has them; empty when it cannot be told."""
    named = asked or host.text(PRODUCT) or ""
    if INSTANCE.fullmatch(named):
        return named
    family = chips[0].family.lower() if chips else ""
    fitting = [one.name for one in HOSTS if one.family == family and one.chips == len(chips)]
    return fitting[0] if len(fitting) == 1 else ""


def list_chips(host: Host, stop: socket.socket | None = None) -> Listing:
    """Ask neuron-ls, in the words of either SDK generation. `stop` as `CommandRunner.run` has it."""
    ran = Ran(trouble=NOT_INSTALLED)
    for words in LISTS:
        ran = host.commands.run(LIST_TOOL, *words, stop=stop)
        if ran.trouble or (not ran.good and UNKNOWN_WORD not in (ran.output + ran.errors).lower()):
            break
        try:
            if ran.good:
                return Listing(parse_neuron_ls(ran.output))
        except ToolNonsense as nonsense:
            return Listing(trouble=str(nonsense))
    return Listing(trouble=ran.why)


def device_findings(host: Host, asked_instance: str = "") -> Iterator[Finding]:
    """One line when there is no Neuron device, all of them when there is one."""
    if not neuron_present(host):
        yield _without_device(host, asked_instance)
        return
    chips, listing = read_chips(host), list_chips(host)
    cores = read_cores(chips)
    yield _instance(host, chips, instance_type(host, chips, asked_instance))
    yield _cores(host, chips, listing)
    yield _permission(host)
    yield _driver(host)
    yield _memory(host, cores)
    yield _holders(listing)
    yield _monitor(host)


def _without_device(host: Host, asked: str) -> Finding:
    product = asked or host.text(PRODUCT) or ""
    seen = sorted(set(_pci_names(host)))
    if seen or product.partition(".")[0] in {one.family for one in HOSTS}:
        what = f"a {product}" if INSTANCE.fullmatch(product) else f"{' and '.join(seen)} on the PCI bus"
        return LINES.bad(
            "driver",
            f"this is {what}, but there is no /dev/neuron0: the driver is not loaded",
            f"Install {DRIVER} and `sudo modprobe neuron`; see `dmesg | grep -i neuron`.",
        )
    return LINES.good("device", NO_DEVICE)


def _pci_names(host: Host) -> Iterator[str]:
    try:
        functions = list(host.path(PCI).iterdir())
    except OSError:
        return
    for function in functions:
        if host.text(function / "vendor") == AMAZON:
            name = NEURON_PCI.get(host.text(function / "device") or "")
            if name:
                yield name


def _instance(host: Host, chips: tuple[Chip, ...], name: str) -> Finding:
    if not name:
        return LINES.warn(
            "instance",
            f"unknown: {PRODUCT} says {host.text(PRODUCT) or 'nothing'}",
            "`chatapp doctor --metadata` asks the instance's metadata service.",
        )
    known = _known(name)
    if known is None and name.partition(".")[0] in RELATED:
        return LINES.warn(
            "instance",
            f"{name}: of the right family, but not among the types that pairs are planned for",
            "Plan with `chatapp plan` for trn1.32xlarge, which has the same chips.",
        )
    if known is None:
        return LINES.bad(
            "instance",
            f"{name}: transformers-neuronx runs on inf2 and trn1 instances alone",
            "Use one of " + ", ".join(one.name for one in HOSTS) + ".",
        )
    present = max(len(chips), len(device_files(host)))
    if present != known.chips:
        return LINES.bad(
            "instance",
            f"{name} has {counted(known.chips, 'chip')}, {present} are seen",
            "In a container, pass every /dev/neuron* in. Otherwise stop and start the instance: that moves it to other hardware.",
        )
    return LINES.good(
        "instance", f"{name}: {known.vcpus} vCPUs, {known.host_ram_gib} GiB, {known.hbm_gib:.0f} GiB HBM"
    )


def _known(name: str) -> NeuronHost | None:
    try:
        return neuron_host(name)
    except InvalidSetting:
        return None


def _cores(host: Host, chips: tuple[Chip, ...], listing: Listing) -> Finding:
    count = sum(chip.size for chip in chips)
    if not count:
        listed = sum(len(chip.core_ids) for chip in listing.chips)
        nodes = len(device_files(host))
        said = f"; neuron-ls lists {listed}" if listed else ""
        return LINES.warn(
            "cores",
            f"{counted(nodes, 'chip')} in /dev, and the driver's tree in /sys shows no core{said}",
            "In a container, mount /sys/devices/virtual/neuron_device read-only.",
        )
    names = sorted({chip.name for chip in chips if chip.name}) or ["Neuron"]
    return LINES.good(
        "cores", f"{counted(len(chips), f'{names[0]} chip')}, {counted(count, 'NeuronCore')} (0–{count - 1})"
    )


def _permission(host: Host) -> Finding:
    nodes = device_files(host)
    if not nodes:
        return LINES.bad(
            "permission",
            "no /dev/neuron* to open",
            "In a container, start it with --device=/dev/neuron0 and so on; otherwise `sudo modprobe neuron`.",
        )
    closed = [node for node in nodes if not _may_open(node)]
    if not closed:
        return LINES.good("permission", f"you may open {counted(len(nodes), 'device')} in /dev")
    return LINES.bad(
        "permission",
        f"you may not open {counted(len(closed), 'device')}, {closed[0].name} first",
        _permission_mend(closed[0]),
    )


def _may_open(node: Path) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(node, os.R_OK | os.W_OK, effective_ids=effective)


def _permission_mend(node: Path) -> str:
    try:
        facts = node.stat()
        group = grp.getgrgid(facts.st_gid).gr_name
    except (OSError, KeyError):
        return "See `ls -l /dev/neuron*`."
    if facts.st_mode & 0o060 == 0o060 and facts.st_gid != 0:
        return f"`sudo usermod -aG {group} $USER`, then log in again."
    return f"`sudo chmod a+rw /dev/neuron*` until the next start; reinstalling {DRIVER} brings its udev rule back."


def _driver(host: Host) -> Finding:
    version = host.text(DRIVER_VERSION)
    if version is None:
        return LINES.warn(
            "driver",
            f"{DRIVER_VERSION} cannot be read, so its version is unknown",
            "Normal in a container; otherwise see `modinfo neuron`.",
        )
    sdk, wanted = system_set(host.versions())
    found = f"{version} (SDK {sdk} has {dotted(wanted[DRIVER])})"
    if release(version) < wanted[DRIVER]:
        return LINES.warn("driver", f"{found}: older", f"Update {DRIVER}, then start the machine again.")
    return LINES.good("driver", found)


def _memory(host: Host, cores: tuple[CoreReading, ...]) -> Finding:
    known = [core for core in cores if core.used_bytes is not None]
    if not known:
        moved = release(host.text(DRIVER_VERSION) or "") >= MOVED_TREE_DRIVER
        return LINES.warn(
            "memory",
            "what the cores' memory is used for cannot be read in /sys",
            "This driver keeps it elsewhere; `neuron-monitor` shows it."
            if moved
            else "`neuron-monitor` shows it.",
        )
    used = sum(core.used_bytes or 0 for core in known)
    most = max(known, key=lambda core: core.used_bytes or 0)
    room = most.total_bytes
    of = f" of {room * len(cores) / GIB:.0f}" if room else ""
    most_of = f" of {room / GIB:.0f}" if room else ""
    least = min(core.used_bytes or 0 for core in known)
    span = f"; per core {least / GIB:.1f} to {(most.used_bytes or 0) / GIB:.1f}{most_of}, most on core {most.index}"
    partly = "" if len(known) == len(cores) else f"; {counted(len(cores) - len(known), 'core')} unreadable"
    found = f"{used / GIB:.1f}{of} GiB in use{span if used > IN_USE_BYTES else ''}{partly}"
    details = ((f"core {core.index}", f"{(core.used_bytes or 0) / GIB:.2f} GiB") for core in known)
    return LINES.good("memory", found, details)


def _holders(listing: Listing) -> Finding:
    if listing.trouble:
        mend = (
            TOOLS_MEND
            if listing.trouble == NOT_INSTALLED
            else "Run `neuron-ls` by hand and see what it says."
        )
        return LINES.warn("holders", f"cannot tell who holds the cores: neuron-ls: {listing.trouble}", mend)
    holders = holders_of(listing.chips, os.getpid())
    if not holders:
        return LINES.good("holders", "nobody holds a core")
    told = "; ".join(f"pid {one.pid} {one.command[:60]} (cores {spans(one.cores)})" for one in holders)
    mend = "A core belongs to one process until that ends: close it (`kill {}`), then load the pair.".format(
        " ".join(str(one.pid) for one in holders)
    )
    if all("chatapp" in one.command for one in holders):
        return LINES.warn("holders", f"chatapp itself: {told}", mend)
    return LINES.bad("holders", told, mend)


def _monitor(host: Host) -> Finding:
    ran = host.commands.run(MONITOR_TOOL, first_line=True)
    if ran.trouble == NOT_INSTALLED:
        return LINES.warn(
            MONITOR_TOOL, "not installed: the window cannot show how busy the cores are", TOOLS_MEND
        )
    try:
        if not ran.good:
            raise ToolNonsense(ran.why)
        report = parse_monitor(ran.output)
    except ToolNonsense as nonsense:
        return LINES.warn(MONITOR_TOOL, str(nonsense), "Run it by hand and see what it says.")
    if report.errors:
        return LINES.warn(MONITOR_TOOL, f"says: {report.errors[0][:160]}", "See `dmesg | grep -i neuron`.")
    return LINES.good(MONITOR_TOOL, "answers")
