"""A pair's graphs being compiled, as a strip inside the window: offered, running, stopped, failed or ready. It covers nothing,
so that a person can go on with the pair in use. It must not know who prepares, or how.
"""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QAccessible, QAccessibleEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from chatapp.domain.errors import ArtefactsDamaged, NotPrepared
from chatapp.domain.preparation import PreparationFailed, PreparationProgress, PreparationStopped
from chatapp.ui.icons import tinted_icon, tinted_pixmap
from chatapp.ui.text_hygiene import readable
from chatapp.ui.theme import SPACE_2_PX, SPACE_3_PX, ThemedWidget, Tokens
from chatapp.ui.widgets.banner import Severity
from chatapp.ui.widgets.card import label

STEPS = 1000
NAME_CHARS = 80
MAX_SHOWN_CHARS = 600
WHAT_IT_TAKES = (
    "Its graphs are compiled once, in a process of its own. It can take long, can be stopped at any time, and goes on from "
    "where it was stopped."
)
GO_ON = "You can go on with the pair in use."
STOPPING = "Stopping; what is finished is kept…"
PREPARE, RESUME, AGAIN, OPEN = "Prepare", "Resume", "Try again", "Open now"


class PreparationCard(QFrame, ThemedWidget):
    """Hidden until there is something to prepare. `prepare_clicked` means begin or go on, `open_clicked` load what is ready."""

    prepare_clicked = Signal()
    stop_clicked = Signal()
    open_clicked = Signal()
    dismissed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._severity = Severity.INFO
        row = QHBoxLayout(self)
        row.setContentsMargins(SPACE_3_PX, SPACE_2_PX, SPACE_2_PX, SPACE_2_PX)
        row.setSpacing(SPACE_3_PX)
        self._icon = QLabel()
        row.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(self._make_lines(), 1)
        buttons = QHBoxLayout()
        buttons.setSpacing(SPACE_2_PX)
        self.action = QPushButton(PREPARE)
        self.action.setProperty("kind", "primary")
        self.action.clicked.connect(self._on_action)
        self.stop_button = QPushButton("Stop")
        self.stop_button.setProperty("kind", "stop")
        self.stop_button.setAccessibleName("Stop preparing")
        self.stop_button.setToolTip("Graphs that are finished are kept")
        self.stop_button.clicked.connect(self.stop_clicked)
        self.close_button = QToolButton()
        self.close_button.setProperty("kind", "plain")
        self.close_button.setIconSize(QSize(16, 16))
        self.close_button.setToolTip("Not now")
        self.close_button.setAccessibleName("Do not prepare now")
        self.close_button.clicked.connect(self._on_dismissed)
        for button in (self.action, self.stop_button, self.close_button):
            button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
            buttons.addWidget(button, 0, Qt.AlignmentFlag.AlignVCenter)
        row.addLayout(buttons)
        self.hide()

    def _make_lines(self) -> QVBoxLayout:
        lines = QVBoxLayout()
        lines.setSpacing(2)
        self._what = label(role="card-title", wrap=True)
        self._rest = label(role="muted", wrap=True)
        for line in (self._what, self._rest):
            line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
            lines.addWidget(line)
        self.bar = QProgressBar()
        self.bar.setRange(0, STEPS)
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName("Graphs that are prepared")
        lines.addSpacing(4)
        lines.addWidget(self.bar)
        return lines

    @property
    def text(self) -> str:
        """All that is shown, for tests and screen readers; empty while hidden."""
        if self.isHidden():
            return ""
        return " ".join(part for part in (self._what.text(), self._rest.text()) if part)

    @property
    def severity(self) -> Severity:
        return self._severity

    def show_offer(self, name: str, error: NotPrepared, *, pair_in_use: bool) -> None:
        """`error` says what is not prepared and how it differs from what is."""
        damaged = isinstance(error, ArtefactsDamaged)
        why = error.what if damaged or error.differences else ""
        go_on = GO_ON if pair_in_use else ""
        what = "To be prepared again" if damaged else "Not prepared for this device"
        rest = " ".join(filter(None, (why, error.kept, WHAT_IT_TAKES, go_on)))
        self._show(Severity.INFO, f"{what}: {_short(name)}.", rest, PREPARE)
        self._tell()

    def show_running(
        self, name: str, progress: PreparationProgress | None, *, stopping: bool = False
    ) -> None:
        """`progress` None: nothing was heard yet."""
        begun = not self.stop_button.isVisibleTo(self)
        words = "starting" if progress is None else progress.headline
        what = f"Preparing {_short(name)}: {words}"
        detail = "" if progress is None else progress.detail
        self._show(Severity.INFO, what, STOPPING if stopping else detail, "", bar=progress)
        self.stop_button.setEnabled(not stopping)
        if begun:
            self._tell()

    def show_stopped(self, name: str, stopped: PreparationStopped) -> None:
        self._show(Severity.INFO, f"Stopped preparing {_short(name)}.", stopped.kept, RESUME)
        self._tell()

    def show_failed(self, failed: PreparationFailed) -> None:
        rest = " ".join(part for part in (failed.kept, failed.remedy) if part)
        self._show(Severity.ERROR, failed.what, rest, AGAIN)
        self._tell()

    def show_ready(self, name: str, words: str) -> None:
        """It is prepared, and something keeps the window from loading it at once."""
        self._show(Severity.INFO, f"Ready to open: {_short(name)}.", words, OPEN)
        self._tell()

    def set_tokens(self, tokens: Tokens) -> None:
        super().set_tokens(tokens)
        colour = tokens.danger if self._severity is Severity.ERROR else tokens.info
        self._icon.setPixmap(tinted_pixmap(self._severity.value, colour, 20))
        self.close_button.setIcon(tinted_icon("close", tokens.muted, 16))

    def _show(
        self,
        severity: Severity,
        what: str,
        rest: str,
        action: str,
        *,
        bar: PreparationProgress | None = None,
    ) -> None:
        """`action` is the button's text, empty while something runs."""
        self._what.setText(readable(what, limit=MAX_SHOWN_CHARS))
        self._rest.setText(readable(rest, limit=MAX_SHOWN_CHARS))
        self._rest.setVisible(bool(rest))
        self.bar.setVisible(not action)
        self.bar.setValue(round(bar.fraction * STEPS) if bar is not None else 0)
        self.action.setText(action)
        self.action.setVisible(bool(action))
        self.stop_button.setVisible(not action)
        self.close_button.setVisible(bool(action))
        if severity is not self._severity or self.property("banner") is None:
            self._severity = severity
            self.setProperty("banner", severity.value)
            self.style().unpolish(self)
            self.style().polish(self)
            self.set_tokens(self.tokens)
        self.setAccessibleName(f"{severity.value}: {what} {rest}".strip())
        self.show()

    def _tell(self) -> None:
        """Screen readers hear of a new state, not of every number."""
        QAccessible.updateAccessibility(QAccessibleEvent(self, QAccessible.Event.Alert))

    def _on_action(self) -> None:
        (self.open_clicked if self.action.text() == OPEN else self.prepare_clicked).emit()

    def _on_dismissed(self) -> None:
        self.hide()
        self.dismissed.emit()


def _short(name: str) -> str:
    return readable(name, limit=NAME_CHARS)
