"""Where a person writes: a growing text box, large pastes as chips, the slider of k, the switch, Send or Stop.

It never loses text: it is cleared by whoever took the message, never by itself. It must not know an engine.
"""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from chatapp.ui.icons import tinted_icon, tinted_pixmap
from chatapp.ui.prompt_edit import CHIP_FROM_CHARS, PromptEdit
from chatapp.ui.text_hygiene import visible
from chatapp.ui.theme import SPACE_1_PX, SPACE_2_PX, SPACE_3_PX, ThemedWidget, Tokens
from chatapp.ui.widgets.card import label
from chatapp.ui.widgets.toggle import ToggleSwitch
from chatapp.ui.widgets.window_slider import WindowSlider

BUTTON_PX, ICON_BUTTON_PX = 92, 44
"""Least width of Send and Stop, with and without the word."""

SPECULATION_TIP = "Let the drafter propose tokens (Ctrl+D). Takes effect at the next verify step."
WINDOW_TIP = "Tokens that one pass of the target can yield (Ctrl+Up, Ctrl+Down)"
CAP_TIP = "The longest window that Auto may choose (Ctrl+Up, Ctrl+Down)"
AUTO_TIP = (
    "Auto (Ctrl+Shift+K): the engine chooses each window by itself, up to the slider's k.\n"
    "It drafts on while that is expected to gain time, and stops drafting where it does not pay.\n"
    "With a lossless acceptor the text's distribution stays the target's."
)
NO_AUTO = "The engine offers no window policy that chooses by itself"


class PasteChip(QFrame, ThemedWidget):
    """One large paste, kept whole beside the box; `removed` carries the chip itself."""

    removed = Signal(object)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.setProperty("card", "attachment")
        row = QHBoxLayout(self)
        row.setContentsMargins(SPACE_2_PX, SPACE_1_PX, SPACE_1_PX, SPACE_1_PX)
        row.setSpacing(SPACE_2_PX)
        self._icon = QLabel()
        row.addWidget(self._icon)
        self.caption = label(f"Pasted text, {len(text):,} characters")
        self.caption.setToolTip(f"Sent whole, after what is in the box.\nBegins: {visible(text, limit=120)}")
        row.addWidget(self.caption)
        self.close_button = QToolButton()
        self.close_button.setProperty("kind", "plain")
        self.close_button.setIconSize(QSize(14, 14))
        self.close_button.setToolTip("Remove this paste")
        self.close_button.setAccessibleName("Remove the pasted text")
        self.close_button.clicked.connect(lambda: self.removed.emit(self))
        row.addWidget(self.close_button)

    def set_tokens(self, tokens: Tokens) -> None:
        super().set_tokens(tokens)
        self._icon.setPixmap(tinted_pixmap("clip", tokens.muted, 16))
        self.close_button.setIcon(tinted_icon("close", tokens.muted, 14))


@dataclass(frozen=True, slots=True)
class Draft:
    """What stands in the composer: the box's text and the large pastes."""

    typed: str
    pastes: tuple[str, ...]

    @property
    def whole(self) -> str:
        return "\n\n".join(part for part in (self.typed, *self.pastes) if part)


class Composer(QFrame, ThemedWidget):
    """`submitted` carries the whole text; `stop_requested`, `window_changed` (k), `speculation_changed` and `auto_changed`
    (on)."""

    submitted = Signal(object)  # a `str` signal would drop lone surrogates
    stop_requested = Signal()
    window_changed = Signal(int)
    speculation_changed = Signal(bool)
    auto_changed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", "composer")
        self._chips: list[PasteChip] = []
        self._running = False
        self._stopping = False
        self._icons: dict[tuple[str, str], QIcon] = {}
        rows = QVBoxLayout(self)
        rows.setContentsMargins(SPACE_3_PX, SPACE_2_PX, SPACE_3_PX, SPACE_2_PX)
        rows.setSpacing(SPACE_1_PX)
        self._chip_row = QHBoxLayout()
        self._chip_row.setSpacing(SPACE_2_PX)
        self._chip_row.addStretch(1)
        rows.addLayout(self._chip_row)
        self.edit = PromptEdit()
        rows.addWidget(self.edit)
        self._compact = False
        self._whole_row_px = 0
        self._controls = self._make_controls()
        rows.addLayout(self._controls)
        self.edit.submitted.connect(self._on_submitted)
        self.edit.large_paste.connect(self.add_paste)
        self.edit.focus_changed.connect(self._show_focus)
        self.edit.textChanged.connect(self._show_button)
        self._show_button()

    def _make_controls(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(SPACE_3_PX)
        self.speculation = ToggleSwitch("Speculation")
        self.speculation.setChecked(True)
        self.speculation.setToolTip(SPECULATION_TIP)
        self.speculation.toggled.connect(self.speculation_changed)
        row.addWidget(self.speculation)
        row.addWidget(self._make_caption())
        self.window_slider = WindowSlider()
        self.window_slider.setMaximumWidth(360)
        self.window_slider.valueChanged.connect(self.window_changed)
        self.window_slider.valueChanged.connect(self._show_caption)
        self._caption.setBuddy(self.window_slider)
        row.addWidget(self.window_slider, 3)
        self.auto = ToggleSwitch("Auto")
        self.auto.setToolTip(AUTO_TIP)
        self.auto.toggled.connect(self.auto_changed)
        self.auto.toggled.connect(self._show_caption)
        row.addWidget(self.auto)
        self._show_caption()
        row.addStretch(1)
        self.button = QPushButton("Send")
        self.button.setIconSize(QSize(18, 18))
        self.button.setCursor(Qt.CursorShape.PointingHandCursor)
        self.button.clicked.connect(self._on_button)
        row.addWidget(self.button, 0, Qt.AlignmentFlag.AlignVCenter)
        return row

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._choose_row()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._choose_row()  # only now every part has its font

    def _choose_row(self) -> None:
        """Where the row of controls has no room for all its words, the button is its icon alone and the gaps are smaller."""
        if not self._compact:
            margins = self.contentsMargins().left() + self.contentsMargins().right() + 2 * SPACE_3_PX
            self._whole_row_px = self._controls.minimumSize().width() + margins
        compact = self.width() < self._whole_row_px
        if compact != self._compact:
            self._compact = compact
            self._controls.setSpacing(SPACE_2_PX if compact else SPACE_3_PX)
            self._show_button()

    def _make_caption(self) -> QWidget:
        """What the slider means, and below it the k really used: as wide as its longest words, so that nothing moves."""
        held = QWidget()
        lines = QVBoxLayout(held)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(0)
        self._caption = label("", "muted")
        self._used = label("", "caption")
        self._caption.ensurePolished()
        held.setMinimumWidth(self._caption.fontMetrics().horizontalAdvance("k up to 16"))
        lines.addWidget(self._caption)
        lines.addWidget(self._used)
        self._used.hide()
        return held

    @property
    def window_words(self) -> str:
        """What stands beside the slider."""
        used = [] if self._used.isHidden() else [self._used.text()]
        return ", ".join([self._caption.text(), *used])

    def show_used_window(self, mean: float | None) -> None:
        """The mean k of the last verify steps, None where there were none; shown while Auto is on."""
        if self._used.isHidden() and not self.auto.isChecked():
            return  # with every batch of events there is nothing to do
        self._used.setText("" if mean is None else f"now {mean:.1f}")
        self._used.setToolTip("Mean window of the last verify steps")
        self._used.setVisible(self.auto.isChecked() and mean is not None)

    def _show_caption(self) -> None:
        automatic = self.auto.isChecked()
        k = self.window_slider.value()
        self._caption.setText(f"k up to {k}" if automatic else "Window k")
        tips = (CAP_TIP if automatic else WINDOW_TIP, self.window_slider.compiled_words)
        self.window_slider.setToolTip("\n".join(filter(None, tips)))
        self.window_slider.setAccessibleName(
            "Window k, the most that Auto may choose" if automatic else "Window k"
        )
        if not automatic:
            self._used.hide()

    def set_auto(self, policy: tuple[str, str] | None) -> None:
        """Which window policy Auto stands for, as `(name, description)`; None where the engine offers none."""
        self.auto.setEnabled(policy is not None and self.window_slider.isEnabled())
        if not self.window_slider.isEnabled():
            return  # the tooltip already says why there is nothing to choose
        if policy is None:
            self.auto.setToolTip(NO_AUTO)
        else:
            self.auto.setToolTip(f"{AUTO_TIP}\nPolicy {policy[0]}: {policy[1]}")

    def draft(self) -> Draft:
        return Draft(self.edit.whole_text(), tuple(chip.text for chip in self._chips))

    def set_draft(self, draft: Draft) -> None:
        self.clear()
        self.edit.setPlainText(draft.typed)
        self.edit.moveCursor(self.edit.textCursor().MoveOperation.End)
        for paste in draft.pastes:
            self.add_paste(paste)

    def put_text(self, text: str) -> None:
        """Show `text` as if it had been pasted into an empty box."""
        large = len(text) >= CHIP_FROM_CHARS
        self.set_draft(Draft("" if large else text, (text,) if large else ()))

    def is_empty(self) -> bool:
        return not self._chips and self.edit.document().isEmpty()

    def clear(self) -> None:
        self.edit.clear()
        for chip in list(self._chips):
            self._remove(chip)

    def add_paste(self, text: str) -> None:
        chip = PasteChip(text)
        chip.set_tokens(self.tokens)
        chip.removed.connect(self._remove)
        self._chips.append(chip)
        self._chip_row.insertWidget(len(self._chips) - 1, chip)
        self._show_button()

    @property
    def chips(self) -> tuple[PasteChip, ...]:
        return tuple(self._chips)

    def set_running(self, running: bool, *, stopping: bool = False) -> None:
        self._running = running
        self._stopping = stopping
        self._show_button()

    def set_can_speculate(self, can: bool, why_not: str = "") -> None:
        self.speculation.setToolTip(SPECULATION_TIP if can else why_not)
        self._show_caption()
        for widget in (self.speculation, self.window_slider, self.auto):
            widget.setEnabled(can)
            if not can:
                widget.setToolTip(why_not)

    def set_tokens(self, tokens: Tokens) -> None:
        super().set_tokens(tokens)
        self._show_button()

    def _remove(self, chip: PasteChip) -> None:
        self._chips.remove(chip)
        self._chip_row.removeWidget(chip)
        chip.setParent(None)
        chip.deleteLater()
        self._show_button()
        self.edit.setFocus()

    def _on_submitted(self) -> None:
        self.submitted.emit(self.draft().whole)

    def _on_button(self) -> None:
        if self._running:
            self.stop_requested.emit()
        else:
            self._on_submitted()
        self.edit.setFocus()

    def _show_button(self) -> None:
        kind = "stop" if self._running else "primary"
        words = ("Stopping…" if self._stopping else "Stop") if self._running else "Send"
        enabled = not self._stopping if self._running else not self.is_empty()
        soft = self.tokens.disabled
        colour = self.tokens.danger if self._running else self.tokens.on_accent
        self.button.setText("" if self._compact else words)
        self.button.setAccessibleName(words)
        self.button.setToolTip("Stop the reply (Esc)" if self._running else "Send the message (Enter)")
        self.button.setEnabled(enabled)
        looks = (kind, colour)
        if self.button.property("looks") != looks:
            self.button.setProperty("looks", looks)
            self.button.setProperty("kind", kind)
            name = "stop" if self._running else "send"
            if (name, colour) not in self._icons:  # drawn once: the button changes with every reply
                self._icons[name, colour] = tinted_icon(name, colour, 18, disabled=soft)
            self.button.setIcon(self._icons[name, colour])
            self.button.style().unpolish(self.button)
            self.button.style().polish(self.button)
        least = ICON_BUTTON_PX if self._compact else BUTTON_PX
        self.button.setMinimumWidth(max(least, self.button.minimumSizeHint().width()))

    def _show_focus(self, focused: bool) -> None:
        self.setProperty("focused", focused)
        self.style().unpolish(self)
        self.style().polish(self)
