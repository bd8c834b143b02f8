"""The transcript as the window uses it: legend, canvas, jump button, token card, and the clock that paces painting.

`record_changed` may be called at any rate; the screen follows at the display mode's text clock, and one frame takes in
everything that came since the last. This module must not know the engine, the composer or the panels.
"""

from __future__ import annotations

from PySide6.QtCore import QElapsedTimer, QEvent, QRect, Qt, QTimer, Signal
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent, QAccessibleEvent, QResizeEvent
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from chatapp.domain.palette import Theme
from chatapp.domain.record import Conversation, RunRecord, TokenView, Turn
from chatapp.ui.display_mode import DisplayedWidget, DisplayMode
from chatapp.ui.theme import tokens_of
from chatapp.ui.transcript.canvas import make_style
from chatapp.ui.transcript.hover_card import HoverCard
from chatapp.ui.transcript.interaction import TranscriptCanvas
from chatapp.ui.transcript.legend import Legend
from chatapp.ui.transcript.wording import cut_label, spoken_token

CARD_DELAY_MS = 220
REMOTE_CARD_DELAY_MS = 500
"""Long enough that a pointer on its way over the text brings no card."""
JUMP_MARGIN_PX = 14


class TranscriptView(QWidget, DisplayedWidget):
    """Prompts and coloured replies of one conversation.

    `token_hovered` and `token_selected` carry `(RunRecord, TokenView)`, or None when no token is hovered or selected.
    """

    token_hovered = Signal(object)
    token_selected = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = Theme.LIGHT
        self._conversation: Conversation | None = None
        style = make_style(self._theme, self, self.display)
        self.legend = Legend(style, self)
        self.canvas = TranscriptCanvas(style, self)
        self.canvas.setAccessibleName("Transcript")
        self.canvas.setAccessibleDescription("No messages yet.")
        self.setFocusProxy(self.canvas)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.legend)
        layout.addWidget(self.canvas, 1)
        self.jump_button = QPushButton("↓  Jump to end", self)
        self.jump_button.setObjectName("jumpToEnd")
        self.jump_button.setAccessibleName("Jump to the end of the conversation")
        self.jump_button.setCursor(Qt.CursorShape.PointingHandCursor)
        self.jump_button.hide()
        self.card = HoverCard(style, self)
        self._frame = QTimer(self)
        self._frame.setSingleShot(True)
        self._frame.setTimerType(Qt.TimerType.PreciseTimer)
        self._frame.timeout.connect(self._paint_new)
        self._since_frame = QElapsedTimer()
        self._card_delay = QTimer(self)
        self._card_delay.setSingleShot(True)
        self._card_delay.setInterval(CARD_DELAY_MS)
        self._card_delay.timeout.connect(self._show_card)
        self.jump_button.clicked.connect(self._jump)
        self.canvas.column_moved.connect(self.legend.set_left)
        self.canvas.end_left.connect(self._on_end_left)
        self.canvas.hover_changed.connect(self._on_hovered)
        self.canvas.selection_changed.connect(self._on_selected)
        self.canvas.verticalScrollBar().valueChanged.connect(self._hide_card)
        self._style_button()

    # --- the conversation -------------------------------------------------------------------------------------------

    def set_conversation(self, conversation: Conversation) -> None:
        """Show another conversation, from its end."""
        had_token = self.canvas.token_cursor.active
        self._conversation = conversation
        self._hide_card()
        self.canvas.stop_hovering()
        self.canvas.set_turns(conversation.turns)
        if had_token:
            self.token_selected.emit(None)
        self._describe()

    def begin_turn(self, prompt: str, record: RunRecord) -> None:
        """Show a prompt that was just sent, and the record that its reply grows in."""
        self._paint_new()
        self.canvas.add_turn(Turn(prompt, record))
        self._describe()

    def record_changed(self) -> None:
        """The last turn's record took events; they are painted with the next frame."""
        if self._frame.isActive():
            return
        frame_ms = self.display.clocks.text_ms
        elapsed = self._since_frame.elapsed() if self._since_frame.isValid() else frame_ms
        self._frame.start(max(frame_ms - int(elapsed), 0))

    def _paint_new(self) -> None:
        self._frame.stop()
        self._since_frame.start()
        items = self.canvas.items
        if not items:
            return
        was_open = not items[-1].flow.closed
        self.canvas.refresh_last()
        if was_open and items[-1].record.ended is not None:
            self._announce_reply(items[-1].record)

    # --- looks ------------------------------------------------------------------------------------------------------

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self._restyle()

    def set_display(self, display: DisplayMode) -> None:
        if display is self.display:
            return
        super().set_display(display)
        self._card_delay.setInterval(CARD_DELAY_MS if display.animated else REMOTE_CARD_DELAY_MS)
        self.canvas.set_display(display)
        self._restyle()

    def set_legend_visible(self, shown: bool) -> None:
        self.legend.setVisible(shown)

    def _restyle(self) -> None:
        style = make_style(self._theme, self, self.display)
        self.legend.set_style(style)
        self.canvas.set_style(style)
        self.card.set_style(style)
        self._style_button()

    def _style_button(self) -> None:
        tokens = tokens_of(self._theme)
        radius = 15 if self.display.translucent else 0  # round corners let the text below shine through
        self.jump_button.setStyleSheet(
            f"QPushButton#jumpToEnd {{ background: {tokens.surface}; color: {tokens.text}; padding: 6px 14px;"
            f" border: 1px solid {tokens.border_strong}; border-radius: {radius}px; }}"
            f"QPushButton#jumpToEnd:hover {{ background: {tokens.hover}; }}"
            f"QPushButton#jumpToEnd:focus {{ border: 2px solid {tokens.focus}; padding: 5px 13px; }}"
        )

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() is QEvent.Type.FontChange and hasattr(self, "card"):
            self._restyle()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place_button()
        self._hide_card()

    # --- the end of the conversation --------------------------------------------------------------------------------

    def _on_end_left(self, left: bool) -> None:
        if left != self.jump_button.isVisible():
            self.jump_button.setVisible(left)
            self._place_button()

    def _place_button(self) -> None:
        self.jump_button.adjustSize()
        x = (self.width() - self.jump_button.width()) // 2
        self.jump_button.move(x, self.height() - self.jump_button.height() - JUMP_MARGIN_PX)
        self.jump_button.raise_()

    def _jump(self) -> None:
        self.canvas.jump_to_end()
        self.canvas.setFocus(Qt.FocusReason.OtherFocusReason)

    # --- tokens -----------------------------------------------------------------------------------------------------

    def _on_hovered(self, found: tuple[int, TokenView] | None) -> None:
        if found is None:
            self._hide_card()
            self.token_hovered.emit(None)
            return
        if self.card.isVisible():
            self._show_card()
        else:
            self._card_delay.start()
        self.token_hovered.emit((self.canvas.items[found[0]].record, found[1]))

    def _show_card(self) -> None:
        if self.canvas.hovered is None:
            return
        turn, view = self.canvas.hovered
        box = self.canvas.token_box(turn, view)
        near = QRect(self.canvas.viewport().mapTo(self, box.topLeft()), box.size())
        self.card.show_token(self.canvas.items[turn].record, view, near)

    def _hide_card(self) -> None:
        self._card_delay.stop()
        self.card.hide()

    def _on_selected(self, found: tuple[int, TokenView] | None) -> None:
        self._describe()
        if found is None:
            self.token_selected.emit(None)
            return
        record = self.canvas.items[found[0]].record
        self._announce(spoken_token(record, found[1]))
        self.token_selected.emit((record, found[1]))

    # --- screen readers ---------------------------------------------------------------------------------------------

    def _describe(self) -> None:
        items = self.canvas.items
        count = len(items)
        said = f"{count} turn{'' if count == 1 else 's'}. " if count else "No messages yet. "
        view = self.canvas.token_cursor.view(items)
        if view is not None:
            said += "Selected: " + spoken_token(items[self.canvas.token_cursor.turn].record, view)
        elif count:
            said += "Left and Right select a token of a reply, Escape clears the selection."
        self.canvas.setAccessibleDescription(said.strip())
        event = QAccessibleEvent(self.canvas, QAccessible.Event.DescriptionChanged)
        QAccessible.updateAccessibility(event)

    def _announce_reply(self, record: RunRecord) -> None:
        cut = cut_label(record)
        self._announce(f"{record.text}\n{cut}" if cut else record.text)

    def _announce(self, text: str) -> None:
        if QAccessible.isActive() and text:
            QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self.canvas, text))
