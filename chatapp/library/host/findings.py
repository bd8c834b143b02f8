"""What the doctor found: one line per thing, with its verdict and, where it is not good, the mend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum


class Verdict(str, Enum):
    """`WARN` works and could be better, or could not be looked at; `BAD` keeps the program, or the pair, from working."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


class Section(str, Enum):
    DEVICE = "Neuron device"
    SOFTWARE = "Neuron software"
    SCREEN = "Screen"
    MACHINE = "Machine"
    PROGRAM = "This program"


@dataclass(frozen=True, slots=True)
class Finding:
    """`name` is short and stable, for programs that read the JSON; `mend` is empty where there is nothing to mend. `details`
    are `(what, words)` for the JSON alone, where `found` sums up."""

    section: Section
    name: str
    verdict: Verdict
    found: str
    mend: str = ""
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Examination:
    """All findings, in the order of the sections. `neuron` tells whether this machine has a Neuron device."""

    neuron: bool
    findings: tuple[Finding, ...]

    def count(self, verdict: Verdict) -> int:
        return sum(finding.verdict is verdict for finding in self.findings)

    @property
    def good(self) -> bool:
        """Nothing bad was found."""
        return self.count(Verdict.BAD) == 0


@dataclass(frozen=True, slots=True)
class Lines:
    """Makes the findings of one section."""

    section: Section

    def good(self, name: str, found: str, details: Iterable[tuple[str, str]] = ()) -> Finding:
        return Finding(self.section, name, Verdict.GOOD, found, details=tuple(details))

    def warn(self, name: str, found: str, mend: str) -> Finding:
        return Finding(self.section, name, Verdict.WARN, found, mend)

    def bad(self, name: str, found: str, mend: str) -> Finding:
        return Finding(self.section, name, Verdict.BAD, found, mend)


def counted(count: int, noun: str) -> str:
    """`1 chip`, `12 chips`."""
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def spans(numbers: Sequence[int]) -> str:
    """Ascending numbers as people write them: `0–11, 14`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ", ".join("–".join(map(str, part)) for part in parts)
