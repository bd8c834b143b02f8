"""An examination as text for people and as JSON for programs. Must not know what was looked at."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

from chatapp.library.host.findings import Examination, Finding, Section, Verdict, counted

JSON_SCHEMA = 1
COLOURS = {Verdict.GOOD: "\x1b[32m", Verdict.WARN: "\x1b[33m", Verdict.BAD: "\x1b[1;31m"}
FAINT, BOLD, PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
NARROWEST = 60
WIDEST = 118
ARROW = "→ "


def as_json(examination: Examination, version: str) -> str:
    """One object: `schema`, `version` of this program, `neuron`, `good`, `counts` by verdict, and `findings` in order."""
    document: dict[str, Any] = {
        "schema": JSON_SCHEMA,
        "version": version,
        "neuron": examination.neuron,
        "good": examination.good,
        "counts": {verdict.value: examination.count(verdict) for verdict in Verdict},
        "findings": [_as_table(finding) for finding in examination.findings],
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def _as_table(finding: Finding) -> dict[str, Any]:
    details = {"details": dict(finding.details)} if finding.details else {}
    return {
        "section": finding.section.value,
        "name": finding.name,
        "verdict": finding.verdict.value,
        "found": finding.found,
        "mend": finding.mend,
        **details,
    }


def as_text(examination: Examination, *, colour: bool, width: int | None = None) -> str:
    """Aligned columns below a heading for each section, the mend below what it mends, and a last line that counts.

    `width` is that of the terminal, in characters; by default as the terminal says."""
    wide = max(NARROWEST, min(width or shutil.get_terminal_size((100, 24)).columns, WIDEST))
    names = max((len(finding.name) for finding in examination.findings), default=0)
    return "\n".join(_lines(examination, wide, names, colour))


def _lines(examination: Examination, width: int, names: int, colour: bool) -> Iterator[str]:
    for section in Section:
        findings = [finding for finding in examination.findings if finding.section is section]
        if findings:
            yield _in(section.value, BOLD, colour)
        for finding in findings:
            yield from _finding(finding, width, names, colour)
        if findings:
            yield ""
    yield _sum(examination, colour)


def _finding(finding: Finding, width: int, names: int, colour: bool) -> Iterator[str]:
    indent = 2 + 4 + 2 + names + 2
    word = _in(f"{finding.verdict.value:<4}", COLOURS[finding.verdict], colour)
    first, *rest = _wrapped(finding.found, width - indent)
    yield f"  {word}  {finding.name:<{names}}  {first}"
    yield from (" " * indent + line for line in rest)
    if finding.mend:
        first, *rest = _wrapped(finding.mend, width - indent - len(ARROW))
        yield " " * indent + _in(ARROW + first, FAINT, colour)
        yield from (" " * (indent + len(ARROW)) + _in(line, FAINT, colour) for line in rest)


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of `text`; control characters that a tool may have printed are left out. Paths and commands are never cut."""
    harmless = "".join(letter if letter.isprintable() else " " for letter in text)
    return textwrap.wrap(harmless, max(width, 20), break_long_words=False, break_on_hyphens=False) or [""]


def _sum(examination: Examination, colour: bool) -> str:
    bad, warn = examination.count(Verdict.BAD), examination.count(Verdict.WARN)
    if bad:
        return (
            _in(f"{bad} bad", COLOURS[Verdict.BAD], colour)
            + f", {counted(warn, 'warning')}: mend what is bad first."
        )
    if warn:
        return f"Nothing bad, {counted(warn, 'warning')}."
    return _in("All good.", COLOURS[Verdict.GOOD], colour)


def _in(text: str, code: str, colour: bool) -> str:
    return f"{code}{text}{PLAIN}" if colour else text
