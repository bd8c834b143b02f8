"""Pointer and keyboard of the transcript: hovering, selecting tokens and text, copying.

The canvas below it knows where things are; this layer turns events into selections and tells the view by signals.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QPointF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QFocusEvent,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
)
from PySide6.QtWidgets import QApplication, QMenu, QWidget

from chatapp.domain.record import TokenView
from chatapp.ui.transcript.canvas import TurnCanvas
from chatapp.ui.transcript.selection import Place
from chatapp.ui.transcript.style import TranscriptStyle
from chatapp.ui.transcript.turn import Part

AUTOSCROLL_MS = 30


class TranscriptCanvas(TurnCanvas):
    """`hover_changed` and `selection_changed` carry `(turn, TokenView)` or None."""

    hover_changed = Signal(object)
    selection_changed = Signal(object)

    def __init__(self, style: TranscriptStyle, parent: QWidget | None = None) -> None:
        super().__init__(style, parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._pressed: QPoint | None = None
        self._dragging = False
        self._clicks = 0
        self._autoscroll = QTimer(self)
        self._autoscroll.setInterval(AUTOSCROLL_MS)
        self._autoscroll.timeout.connect(self._drag_on)
        self._pointer = QPointF()
        self.verticalScrollBar().valueChanged.connect(self._hover_again)

    # --- tokens -----------------------------------------------------------------------------------------------------

    def select_token(self, turn: int, view: TokenView, *, reveal: bool = False) -> None:
        self.text_selection.clear()
        self.token_cursor.set(turn, view.index)
        self._tell_selected(reveal=reveal)

    def clear_selection(self) -> bool:
        """Drop the selected text, or else the selected token. False: nothing was selected."""
        if not self.text_selection.empty:
            self.text_selection.clear()
            self.viewport().update()
            return True
        if not self.token_cursor.active:
            return False
        self.token_cursor.clear()
        self._tell_selected()
        return True

    def _tell_selected(self, *, reveal: bool = False) -> None:
        view = self.token_cursor.view(self.items)
        if view is not None and reveal:
            turn = self.token_cursor.turn
            self.items[turn].lay_out(self.style_now, self.column_width)
            self.settle()
            self.reveal(self.token_box(turn, view))
        self.viewport().update()
        self.selection_changed.emit(None if view is None else (self.token_cursor.turn, view))

    def _hover(self, found: tuple[int, TokenView] | None) -> None:
        if found != self.hovered:
            left, self.hovered = self.hovered, found
            for one in (left, found):
                if one is not None and one[0] < len(self.items):
                    self.repaint_token(*one)
            self.hover_changed.emit(found)

    def _hover_again(self) -> None:
        """The text moved under a pointer at rest."""
        if self.hovered is not None:
            self._hover(self.token_at(self._pointer))

    def stop_hovering(self) -> None:
        self._hover(None)

    # --- pointer ----------------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() is not Qt.MouseButton.LeftButton:
            super().mousePressEvent(event)
            return
        self._pressed = event.position().toPoint()
        self._dragging = False
        self._clicks = 0
        place = self.place_at(event.position())
        if place is None:
            return
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier and self.text_selection.anchor is not None:
            self.text_selection.head = place
            self._dragging = True
        else:
            self.text_selection.begin(place)
        self.viewport().update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._pointer = event.position()
        if self._pressed is None or not event.buttons() & Qt.MouseButton.LeftButton:
            self._hover(self.token_at(event.position()))
            self.viewport().setCursor(self._shape_at(event.position()))
            return
        moved = (event.position().toPoint() - self._pressed).manhattanLength()
        if not self._dragging and moved < QApplication.startDragDistance() // 2:
            return
        self._dragging = True
        self._hover(None)
        self._drag_on()
        outside = not self.viewport().rect().contains(event.position().toPoint())
        if outside and not self._autoscroll.isActive():
            self._autoscroll.start()

    def _drag_on(self) -> None:
        """Extend the selection to the pointer, scrolling while it is above or below the view."""
        height = self.viewport().height()
        past = self._pointer.y() if self._pointer.y() < 0 else max(self._pointer.y() - height, 0.0)
        if past:
            self._bar.move_to(self.scroll_y + int(past))
        else:
            self._autoscroll.stop()
        place = self.place_at(self._pointer)
        if place is not None and self._pressed is not None:
            self.text_selection.head = place
            self.viewport().update()

    def _shape_at(self, point: QPointF) -> Qt.CursorShape:
        if self._on_more_link(point):
            return Qt.CursorShape.PointingHandCursor
        turn = self.turn_at(point.y())
        if turn < 0:
            return Qt.CursorShape.ArrowCursor
        item, at = self.items[turn], point - self.origin_of(turn)
        over_reply = 0 <= at.y() - item.reply_top < item.reply.height and 0 <= at.x() < self.column_width
        return (
            Qt.CursorShape.IBeamCursor
            if over_reply or item.bubble.contains(at)
            else Qt.CursorShape.ArrowCursor
        )

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._autoscroll.stop()
        pressed, self._pressed = self._pressed, None
        if pressed is None or self._dragging or self._clicks:
            return
        self.text_selection.clear()
        if self._on_more_link(event.position()):
            self._toggle_prompt(self.turn_at(event.position().y()))
            return
        found = self.token_at(event.position())
        if found is not None:
            self.select_token(*found)
        elif not self.clear_selection():
            self.viewport().update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        place = self.place_at(event.position())
        if place is None or event.button() is not Qt.MouseButton.LeftButton:
            return
        self._clicks += 1
        self._pressed = event.position().toPoint()
        text = self.items[place.turn].text_of(place.part)
        self.text_selection.select_word(place, text)
        self.viewport().update()

    def leaveEvent(self, event: QEvent) -> None:
        self._hover(None)
        super().leaveEvent(event)

    def viewportEvent(self, event: QEvent) -> bool:
        if event.type() is QEvent.Type.Leave:
            self._hover(None)
        return super().viewportEvent(event)

    def _on_more_link(self, point: QPointF) -> bool:
        turn = self.turn_at(point.y())
        return turn >= 0 and self.items[turn].more_box.contains(point - self.origin_of(turn))

    def _toggle_prompt(self, turn: int) -> None:
        self.items[turn].toggle_prompt()
        self.settle()

    # --- keyboard ---------------------------------------------------------------------------------------------------

    def event(self, event: QEvent) -> bool:
        # A window's shortcut for Esc comes before key presses, unless the focused widget claims the key.
        if event.type() is QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            selected = self.token_cursor.active or not self.text_selection.empty
            if event.key() == Qt.Key.Key_Escape and selected:
                event.accept()
                return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        elif event.matches(QKeySequence.StandardKey.SelectAll):
            self.select_all()
        elif key == Qt.Key.Key_Escape:
            if not self.clear_selection():
                event.ignore()
        elif key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            if self.token_cursor.move(1 if key == Qt.Key.Key_Right else -1, self.items):
                self._tell_selected(reveal=True)
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End) and event.modifiers() == Qt.KeyboardModifier.NoModifier:
            if self.token_cursor.move_to_end(key == Qt.Key.Key_End, self.items):
                self._tell_selected(reveal=True)
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End):
            bar = self.verticalScrollBar()
            bar.setValue(bar.maximum() if key == Qt.Key.Key_End else 0)
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self._repaint_selected()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self._repaint_selected()

    def _repaint_selected(self) -> None:
        """The selected token shows where the focus is."""
        view = self.token_cursor.view(self.items)
        if view is not None:
            self.repaint_token(self.token_cursor.turn, view)

    # --- copying ----------------------------------------------------------------------------------------------------

    def selected_text(self) -> str:
        """The selected text; without any, the selected token's."""
        if not self.text_selection.empty:
            return self.text_selection.text(self.items)
        view = self.token_cursor.view(self.items)
        if view is None:
            return ""
        record = self.items[self.token_cursor.turn].record
        return record.text[view.start : view.end]

    def copy(self) -> None:
        text = self.selected_text()
        if text:
            QGuiApplication.clipboard().setText(text)

    def select_all(self) -> None:
        if self.items:
            last = len(self.items) - 1
            end = Place(last, Part.REPLY, self.items[last].record.visible_chars)
            self.text_selection.set(Place(0, Part.PROMPT, 0), end)
            self.viewport().update()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        at = self.viewport().mapFromGlobal(event.globalPos())
        turn = self.turn_at(at.y())
        if turn < 0:
            return
        item = self.items[turn]
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        copy = menu.addAction("Copy", self.copy)
        copy.setEnabled(bool(self.selected_text()))
        clipboard = QGuiApplication.clipboard()
        menu.addAction("Copy reply", lambda: clipboard.setText(item.record.text))
        menu.addAction("Copy message", lambda: clipboard.setText(item.turn.prompt))
        menu.addAction("Select all", self.select_all)
        if item.more_label:
            menu.addSeparator()
            menu.addAction(
                "Show less" if item.expanded else "Show whole message", lambda: self._toggle_prompt(turn)
            )
        menu.popup(event.globalPos())
