"""The box a message is typed into: Enter sends, it grows with its text, and a large paste is handed on instead of laid out.

It must not know what becomes of the text.
"""

from __future__ import annotations

from PySide6.QtCore import QMimeData, Qt, Signal
from PySide6.QtGui import QFocusEvent, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QPlainTextEdit, QSizePolicy, QWidget

from chatapp.ui.theme import SPACE_1_PX, SPACE_2_PX

MAX_LINES = 8
LONG_HINT = "Message the model…   Enter sends, Shift+Enter starts a new line"
SHORT_HINT = "Message the model…"
CHIP_FROM_CHARS = 8_000
"""From this length on a paste becomes a chip: laying out one paragraph of 1 MB blocks a window for seconds."""


class PromptEdit(QPlainTextEdit):
    """Enter sends, Shift+Enter breaks the line; grows with its text up to `MAX_LINES`."""

    submitted = Signal()
    large_paste = Signal(object)
    focus_changed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("kind", "composer")
        self.setAccessibleName("Message")
        self.setTabChangesFocus(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.document().setDocumentMargin(SPACE_1_PX)
        self.textChanged.connect(self.fit)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
                self.insertPlainText("\n")
                self.ensureCursorVisible()
            else:
                self.submitted.emit()
            return
        super().keyPressEvent(event)

    def insertFromMimeData(self, source: QMimeData) -> None:
        text = source.text()
        if len(text) >= CHIP_FROM_CHARS:
            self.large_paste.emit(text)
        else:
            self.insertPlainText(text)

    def whole_text(self) -> str:
        """The text with its lone surrogates, so that they can be counted and replaced in the open.

        `toPlainText` loses them without a word: PySide drops what UTF-8 cannot hold on the way to Python.
        """
        text = self.toPlainText()
        held = self.document().characterCount() - 1  # UTF-16 units, less the end of the document
        if len(text.encode("utf-16-le")) // 2 == held:
            return text
        units = (self.document().characterAt(place) for place in range(held))
        return "".join(units).replace("\u2029", "\n")

    def fit(self) -> None:
        """Take the height of the text, within one and `MAX_LINES` lines."""
        lines = min(max(round(self.document().size().height()), 1), MAX_LINES)
        height = lines * self.fontMetrics().lineSpacing() + 2 * SPACE_1_PX + 4
        if height != self.height():
            self.setFixedHeight(height)
        over = round(self.document().size().height()) > MAX_LINES
        policy = Qt.ScrollBarPolicy.ScrollBarAsNeeded if over else Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        self.setVerticalScrollBarPolicy(policy)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            room = self.fontMetrics().horizontalAdvance(LONG_HINT) + 4 * SPACE_2_PX
            self.setPlaceholderText(LONG_HINT if event.size().width() > room else SHORT_HINT)
            self.fit()

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.focus_changed.emit(True)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.focus_changed.emit(False)
