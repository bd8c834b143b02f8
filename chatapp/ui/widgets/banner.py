"""One message inside the window: what happened, what was kept, what to do. It covers nothing."""

from __future__ import annotations

from enum import Enum

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QAccessible, QAccessibleEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from chatapp.domain.errors import ChatappError
from chatapp.ui.icons import tinted_icon, tinted_pixmap
from chatapp.ui.theme import SPACE_2_PX, SPACE_3_PX, ThemedWidget, Tokens
from chatapp.ui.widgets.card import label

MAX_SHOWN_CHARS = 600


class Severity(str, Enum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Banner(QFrame, ThemedWidget):
    """Hidden until it has something to say. `dismissed` fires when a person closes it."""

    dismissed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._severity = Severity.INFO
        row = QHBoxLayout(self)
        row.setContentsMargins(SPACE_3_PX, SPACE_2_PX, SPACE_2_PX, SPACE_2_PX)
        row.setSpacing(SPACE_3_PX)
        self._icon = QLabel()
        row.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        lines = QVBoxLayout()
        lines.setSpacing(2)
        self._what = label(role="card-title", wrap=True)
        self._rest = label(role="muted", wrap=True)
        for line in (self._what, self._rest):
            line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
            lines.addWidget(line)
        row.addLayout(lines, 1)
        self._close = QToolButton()
        self._close.setProperty("kind", "plain")
        self._close.setIconSize(QSize(16, 16))
        self._close.setToolTip("Dismiss")
        self._close.setAccessibleName("Dismiss the message")
        self._close.clicked.connect(self._on_dismissed)
        row.addWidget(self._close, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    @property
    def text(self) -> str:
        """All that is shown, for tests and screen readers; empty while hidden."""
        if self.isHidden():
            return ""
        return " ".join(part for part in (self._what.text(), self._rest.text()) if part)

    @property
    def severity(self) -> Severity:
        return self._severity

    def show_error(self, error: ChatappError) -> None:
        self.show_message(Severity.ERROR, error.what, " ".join(p for p in (error.kept, error.remedy) if p))

    def show_message(self, severity: Severity, what: str, rest: str = "") -> None:
        self._severity = severity
        self._what.setText(_shortened(what))
        self._rest.setText(_shortened(rest))
        self._rest.setVisible(bool(rest))
        self.setProperty("banner", severity.value)
        self.style().unpolish(self)
        self.style().polish(self)
        self.set_tokens(self.tokens)
        self.setAccessibleName(f"{severity.value}: {what} {rest}".strip())
        self.show()
        QAccessible.updateAccessibility(QAccessibleEvent(self, QAccessible.Event.Alert))

    def clear(self) -> None:
        self.hide()

    def set_tokens(self, tokens: Tokens) -> None:
        super().set_tokens(tokens)
        colours = {
            Severity.ERROR: tokens.danger,
            Severity.WARNING: tokens.warning,
            Severity.INFO: tokens.info,
        }
        self._icon.setPixmap(tinted_pixmap(self._severity.value, colours[self._severity], 20))
        self._close.setIcon(tinted_icon("close", tokens.muted, 16))

    def _on_dismissed(self) -> None:
        self.hide()
        self.dismissed.emit()


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"
