"""The whole examination: every check in the order in which it is read, none of which can end the others.

This module must not know how findings are printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chatapp.library.host.device_checks import device_findings
from chatapp.library.host.findings import Examination, Finding, Section, Verdict
from chatapp.library.host.machine import Host
from chatapp.library.host.machine_checks import machine_findings, program_findings
from chatapp.library.host.metadata_service import ask_instance_type
from chatapp.library.host.screen_checks import screen_findings
from chatapp.library.host.software_checks import software_findings
from chatapp.library.host.sysfs import neuron_present


@dataclass(frozen=True, slots=True)
class Subject:
    """What beside the machine is looked at: the folder of prepared graphs, and that of the built-in pair. `metadata_url` is
    where to ask for the instance type, empty for not asking."""

    artefacts: Path
    pair: Path
    metadata_url: str = ""


def examine(host: Host, subject: Subject) -> Examination:
    """Look at everything. Takes as long as the slowest tool, at most a few seconds each. Raises nothing of the machine's."""
    neuron = neuron_present(host)
    asked = ask_instance_type(subject.metadata_url) if subject.metadata_url else ""
    sections: tuple[tuple[Section, Callable[[], Iterator[Finding]]], ...] = (
        (Section.DEVICE, lambda: device_findings(host, asked)),
        (Section.SOFTWARE, lambda: software_findings(host, neuron=neuron)),
        (Section.SCREEN, lambda: screen_findings(host, neuron=neuron)),
        (Section.MACHINE, lambda: machine_findings(host, subject.artefacts, neuron=neuron)),
        (Section.PROGRAM, lambda: program_findings(host, subject.pair)),
    )
    return Examination(neuron, tuple(one for section, look in sections for one in _all(section, look)))


def _all(section: Section, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except (
        OSError
    ) as error:  # a file that went away or a disk that fails, in a place where no check expects it
        yield Finding(
            section,
            "rest",
            Verdict.WARN,
            f"could not be looked at: {error}",
            "Run it again; if it stays, see the file.",
        )
