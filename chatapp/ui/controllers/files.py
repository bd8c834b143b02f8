"""Export and open: dialogs that do not block, formats from the port, errors to the banner.

It must not know how a format is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from chatapp.domain.errors import ExportFailed, RecordError
from chatapp.domain.ports import ExportPort
from chatapp.domain.record import Conversation

FALLBACK_NAME = "chat"


class FileController(QObject):
    """`exported` carries the path, `opened` a `Conversation` and its path, `failed` a `ChatappError`."""

    exported = Signal(object)
    opened = Signal(object, object)
    failed = Signal(object)

    def __init__(self, port: ExportPort, window: QWidget, conversation: Callable[[], Conversation]) -> None:
        super().__init__(window)
        self._port = port
        self._window = window
        self._conversation = conversation
        self._folder = Path.home()

    def ask_export(self) -> QFileDialog | None:
        """Show the dialog; None (and an error) when there is nothing to export yet."""
        conversation = self._conversation()
        if not conversation.turns:
            self.failed.emit(ExportFailed("There is nothing to export yet.", remedy="Send a message first."))
            return None
        formats = list(self._port.formats())
        filters = [f"{description} (*{_suffix(suffix)})" for _, suffix, description in formats]
        dialog = QFileDialog(self._window, "Export the conversation", str(self._folder))
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters(filters)
        dialog.setDefaultSuffix(_suffix(formats[0][1]).lstrip("."))
        dialog.selectFile(file_stem(conversation.title) + _suffix(formats[0][1]))

        def on_filter(chosen: str) -> None:
            suffix = _suffix(formats[filters.index(chosen)][1])
            dialog.setDefaultSuffix(suffix.lstrip("."))
            dialog.selectFile(file_stem(conversation.title) + suffix)

        def on_accepted() -> None:
            name = formats[filters.index(dialog.selectedNameFilter())][0]
            self.export(Path(dialog.selectedFiles()[0]), name)

        dialog.filterSelected.connect(on_filter)
        dialog.accepted.connect(on_accepted)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()
        return dialog

    def export(self, path: Path, format_name: str) -> None:
        """Write the conversation; a path that ends in another format's suffix is written in that format."""
        by_suffix = {_suffix(suffix): name for name, suffix, _ in self._port.formats()}
        chosen = by_suffix.get(path.suffix.lower(), format_name)
        self._folder = path.parent
        try:
            self._port.export(self._conversation(), path, chosen)
        except ExportFailed as error:
            self.failed.emit(error)
        else:
            self.exported.emit(path)

    def ask_open(self) -> QFileDialog:
        dialog = QFileDialog(self._window, "Open a record", str(self._folder))
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setNameFilters(["Records (*.json)", "All files (*)"])
        dialog.accepted.connect(lambda: self.open_record(Path(dialog.selectedFiles()[0])))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()
        return dialog

    def open_record(self, path: Path) -> None:
        self._folder = path.parent
        try:
            conversation = self._port.open_record(path)
        except RecordError as error:
            if not error.kept:
                error.kept = "The conversation on screen is untouched."
            self.failed.emit(error)
        else:
            self.opened.emit(conversation, path)


def _suffix(text: str) -> str:
    return "." + text.lstrip(".").lower()


def file_stem(title: str) -> str:
    """A file name from a title: letters, digits and dashes."""
    words = re.sub(r"[^\w]+", "-", title, flags=re.UNICODE).strip("-_")
    return words[:60] or FALLBACK_NAME
