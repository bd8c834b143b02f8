"""Conversation → file and back: the implementation of `ports.ExportPort`.

Chooses the format and leaves the work to it, to `files.py` and to `reading.py`. Must not know a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chatapp.domain.errors import ExportFailed
from chatapp.domain.record import Conversation
from chatapp.domain.rehearsal import REHEARSAL
from chatapp.export.contracts import Exporter
from chatapp.export.files import write_text
from chatapp.export.reading import open_record
from chatapp.export.registry import builtin_exporters

_OTHER_SUFFIXES = {".htm": ".html", ".markdown": ".md"}


class FileExporter:
    """Writes and reads files. `exporters` are the formats it offers, built-in ones if none are given."""

    def __init__(self, exporters: Sequence[Exporter] | None = None) -> None:
        self._exporters = tuple(builtin_exporters() if exporters is None else exporters)

    def formats(self) -> Sequence[tuple[str, str, str]]:
        """`(name, file suffix, description)` of every format."""
        return [(exporter.name, exporter.suffix, exporter.description) for exporter in self._exporters]

    def format_of(self, path: Path) -> str:
        """The format's name that a file's suffix stands for. Raises `ExportFailed`."""
        suffix = path.suffix.lower()
        suffix = _OTHER_SUFFIXES.get(suffix, suffix)
        for exporter in self._exporters:
            if exporter.suffix == suffix:
                return exporter.name
        known = ", ".join(exporter.suffix for exporter in self._exporters)
        raise ExportFailed(
            f"“{path.name}” does not say which format is wanted.", remedy=f"Use one of the endings {known}."
        )

    def export(self, conversation: Conversation, path: Path, format_name: str) -> None:
        """Write `path` whole or not at all. Raises `ExportFailed`, also for a format that hides a rehearsal."""
        text = self._exporter(format_name).render(conversation)
        if any(turn.record.simulated for turn in conversation.turns) and REHEARSAL not in text.lower():
            raise ExportFailed(
                f"The format “{format_name}” does not say that replies are of a {REHEARSAL}.",
                kept="Nothing was written and the conversation is unchanged.",
                remedy="Export it in another format.",
            )
        write_text(path, text)

    def open_record(self, path: Path) -> Conversation:
        """Read a JSON export. Raises `RecordError`."""
        return open_record(path)

    def _exporter(self, name: str) -> Exporter:
        for exporter in self._exporters:
            if exporter.name == name:
                return exporter
        known = ", ".join(exporter.name for exporter in self._exporters)
        raise ExportFailed(f"There is no export format “{name}”.", remedy=f"Known formats: {known}.")
