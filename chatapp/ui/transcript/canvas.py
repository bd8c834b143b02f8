"""The scrolled column of turns: who is laid out when, what is painted, and where the view stands.

Costs, in ms of processor time (2-core server, offscreen, 900 × 800 px, scale 1, text of 15 px; `python -m
tests.ui.transcript.measure` prints them):

    one frame (take in, lay out, paint) of one paragraph: 0.9 at its start, 1.0 at 2,000 tokens, p99 4 to 6
    the same below 200 older turns: 0.9        repainting a full view: 1.5 to 2.5
    opening 200 turns of 100 tokens: 10, then 380 in idle slices        scrolling to turns never seen: p99 4 to 7
    per 16 ms while 2,000 tokens stream, the plot runs and a person scrolls: median 3, p99 12

With one `QTextLayout` of ten open lines and stroked marks a frame grew from 2.4 to 6.9 and a repaint took 5.7. In wall
time the beat was late by 19 to 47 at p99 with 4 to 6 other busy processes on the two cores. How costs are kept:

- Only turns that the viewport meets are laid out; the others have an estimated height until they are met or an idle
  slice of `IDLE_SLICE_MS` reaches them. What is being read stays in place when a height above it changes.
- An update lays out the last fragment of the last paragraph and repaints from its line downwards.
- The view follows the end only while it stands at the end; scrolling away lets go, scrolling back takes hold again.

Pointer and keys are `interaction`'s; this module must not know what a token means.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from PySide6.QtCore import QElapsedTimer, QPointF, QRect, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QWidget

from chatapp.domain.palette import Theme
from chatapp.domain.record import TokenView, Turn
from chatapp.ui.transcript.selection import Place, TextSelection, TokenCursor
from chatapp.ui.transcript.style import COLUMN_PX, MARGIN_PX, NARROW_MARGIN_PX, NARROW_PX, TranscriptStyle
from chatapp.ui.transcript.turn import TurnItem
from chatapp.ui.transcript.turn_painting import Highlights, TurnPainter

AT_END_PX = 12
IDLE_SLICE_MS = 6
EDGE_PX = 8
PULSE_MS = 400


class TurnCanvas(QAbstractScrollArea):
    """Lays out, scrolls and paints turns.

    `end_left` tells whether the end of the conversation is out of view, `column_moved` where the text column begins, px.
    """

    end_left = Signal(bool)
    column_moved = Signal(int)

    def __init__(self, style: TranscriptStyle, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.items: list[TurnItem] = []
        self.text_selection = TextSelection()
        self.token_cursor = TokenCursor()
        self.hovered: tuple[int, TokenView] | None = None
        self._style_now = style
        self._tops: list[float] = [float(EDGE_PX)]
        self._follow = True
        self._moving = False
        self._pulse = 0
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.viewport().setMouseTracking(True)
        self.verticalScrollBar().valueChanged.connect(self._on_scrolled)
        self._idle = QTimer(self)
        self._idle.setInterval(0)
        self._idle.timeout.connect(self._lay_out_idle)
        self._pulse_timer = QTimer(self)
        self._pulse_timer.setInterval(PULSE_MS)
        self._pulse_timer.timeout.connect(self._on_pulse)

    # --- what is shown ----------------------------------------------------------------------------------------------

    def set_turns(self, turns: Sequence[Turn]) -> None:
        """Show other turns, from their end."""
        self.items = [TurnItem(turn) for turn in turns]
        self.text_selection.clear()
        self.token_cursor.clear()
        self.hovered = None
        self._follow = True
        self._estimate()
        self.settle()

    def add_turn(self, turn: Turn) -> None:
        """Append a turn and go to the end: a person who sends wants to see the answer."""
        item = TurnItem(turn, live=True)
        item.estimate(self._style_now, self.column_width)
        self.items.append(item)
        self._follow = True
        self.settle()

    def refresh_last(self) -> None:
        """Take in what the last turn's record gained."""
        if not self.items:
            return
        item = self.items[-1]
        item.live = True
        height = item.height
        changed = item.refresh()
        if changed is None and item.height == height:
            return
        if not item.is_laid_out(self._style_now, self.column_width) or item.height != height:
            self.settle()
        self._update_pulse()
        top = self._tops[len(self.items) - 1] + (changed or 0.0) - self.scroll_y - self._style_now.body.pitch
        if top < self.viewport().height():
            whole = self.viewport().rect()
            self.viewport().update(whole.adjusted(0, max(int(top), 0), 0, 0))

    def set_style(self, style: TranscriptStyle) -> None:
        self._style_now = style
        self.settle()
        self.viewport().update()

    @property
    def style_now(self) -> TranscriptStyle:
        return self._style_now

    # --- geometry ---------------------------------------------------------------------------------------------------

    @property
    def column_width(self) -> float:
        width = self.viewport().width()
        margin = MARGIN_PX if width >= NARROW_PX else NARROW_MARGIN_PX
        return float(max(min(width - 2 * margin, COLUMN_PX), 80))

    @property
    def column_left(self) -> int:
        return int((self.viewport().width() - self.column_width) // 2)

    @property
    def scroll_y(self) -> int:
        return self.verticalScrollBar().value()

    def origin_of(self, turn: int) -> QPointF:
        """Where turn number `turn` begins, in viewport px."""
        return QPointF(self.column_left, self._tops[turn] - self.scroll_y)

    def turn_at(self, y: float) -> int:
        """The turn at viewport height `y`, the nearest one outside; -1 without turns."""
        return min(max(bisect_right(self._tops, y + self.scroll_y) - 1, 0), len(self.items) - 1)

    def place_at(self, point: QPointF) -> Place | None:
        """The character nearest to a viewport point."""
        turn = self.turn_at(point.y())
        if turn < 0:
            return None
        part, offset = self.items[turn].position_at(point - self.origin_of(turn))
        return Place(turn, part, offset)

    def token_at(self, point: QPointF) -> tuple[int, TokenView] | None:
        """The token under a viewport point, with its turn's number."""
        turn = self.turn_at(point.y())
        view = self.items[turn].token_at(point - self.origin_of(turn)) if turn >= 0 else None
        return None if view is None else (turn, view)

    def token_box(self, turn: int, view: TokenView) -> QRect:
        """The first line's part of a token, in viewport px."""
        for box in self.items[turn].token_rects(view, view):
            return box.translated(self.origin_of(turn)).toAlignedRect()
        return QRect()

    # --- layout -----------------------------------------------------------------------------------------------------

    def _estimate(self) -> None:
        for item in self.items:
            item.estimate(self._style_now, self.column_width)

    def settle(self) -> None:
        """Lay out what the viewport meets, keep what is read in place, and set the scroll bar's range."""
        self._measure()
        if self._follow:
            self._settle_at_end()
        else:
            self._settle_in_place()
        self._update_pulse()
        unknown = any(not item.is_laid_out(self._style_now, self.column_width) for item in self.items)
        if unknown and not self._idle.isActive():
            self._idle.start()
        self.viewport().update()

    def _measure(self) -> None:
        tops = [float(EDGE_PX)]
        for item in self.items:
            tops.append(tops[-1] + item.height)
        self._tops = tops

    def _settle_at_end(self) -> None:
        room = float(self.viewport().height())
        for item in reversed(self.items):
            if room <= 0:
                break
            item.lay_out(self._style_now, self.column_width)
            room -= item.height
        self._measure()
        self._set_range()
        self._scroll_to(self.verticalScrollBar().maximum())

    def _settle_in_place(self) -> None:
        anchor = self.turn_at(0)
        if anchor < 0:
            self._set_range()
            return
        inside = self.scroll_y - self._tops[anchor]
        height = self.items[anchor].height
        room = self.viewport().height() + inside
        for item in self.items[anchor:]:
            if room <= 0:
                break
            item.lay_out(self._style_now, self.column_width)
            room -= item.height
        if self.items[anchor].height != height and anchor < len(self.items) - 1:
            inside *= self.items[anchor].height / height
        self._measure()
        self._set_range()
        self._scroll_to(round(self._tops[anchor] + inside))

    def _set_range(self) -> None:
        bar = self.verticalScrollBar()
        total = int(self._tops[-1]) + EDGE_PX
        self._moving = True
        bar.setPageStep(self.viewport().height())
        bar.setSingleStep(self._style_now.body.pitch * 2)
        bar.setRange(0, max(total - self.viewport().height(), 0))
        self._moving = False
        self._tell_end()

    def _scroll_to(self, value: int) -> None:
        self._moving = True
        self.verticalScrollBar().setValue(value)
        self._moving = False
        self._tell_end()

    def _lay_out_idle(self) -> None:
        """Lay out a few unseen turns, nearest to the view first, then let the event loop go on."""
        clock = QElapsedTimer()
        clock.start()
        here = self.turn_at(0)
        order = sorted(range(len(self.items)), key=lambda turn: abs(turn - here))
        for turn in order:
            item = self.items[turn]
            if item.is_laid_out(self._style_now, self.column_width):
                continue
            item.lay_out(self._style_now, self.column_width)
            if clock.elapsed() >= IDLE_SLICE_MS:
                break
        else:
            self._idle.stop()
        self._keep_place(here)

    def _keep_place(self, anchor: int) -> None:
        inside = self.scroll_y - self._tops[anchor] if anchor >= 0 else 0.0
        self._measure()
        self._set_range()
        end = self.verticalScrollBar().maximum()
        self._scroll_to(end if self._follow else round(self._tops[max(anchor, 0)] + inside))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        for item in self.items:
            if not item.height:
                item.estimate(self._style_now, self.column_width)
        self.column_moved.emit(self.column_left)
        self.settle()

    # --- scrolling --------------------------------------------------------------------------------------------------

    @property
    def at_end(self) -> bool:
        bar = self.verticalScrollBar()
        return bar.value() >= bar.maximum() - AT_END_PX

    def jump_to_end(self) -> None:
        self._follow = True
        self.settle()

    def reveal(self, box: QRect) -> None:
        """Scroll as little as needed to bring a rectangle (viewport px) into view."""
        margin = self._style_now.body.pitch
        above, below = box.top() - margin, box.bottom() + margin - self.viewport().height()
        if above < 0:
            self.verticalScrollBar().setValue(self.scroll_y + above)
        elif below > 0:
            self.verticalScrollBar().setValue(self.scroll_y + below)

    def scrollContentsBy(self, dx: int, dy: int) -> None:  # noqa: ARG002  # Qt calls it with both
        self.viewport().update()

    def _on_scrolled(self) -> None:
        if self._moving:
            return
        self._follow = self.at_end
        top, bottom = self.turn_at(0), self.turn_at(self.viewport().height())
        seen = self.items[max(top, 0) : bottom + 1]
        if any(not item.is_laid_out(self._style_now, self.column_width) for item in seen):
            self.settle()
        self._tell_end()

    def _tell_end(self) -> None:
        self.end_left.emit(not self.at_end)

    # --- painting ---------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(event.rect(), QColor(self._style_now.tokens.window))
        clip = QRectF(event.rect())
        drawn = TurnPainter(painter, self._style_now, clip)
        for turn in range(max(self.turn_at(clip.top()), 0), len(self.items)):
            origin = self.origin_of(turn)
            if origin.y() > clip.bottom():
                break
            drawn.draw(self.items[turn], origin, self._highlights(turn))
        painter.end()

    def _highlights(self, turn: int) -> Highlights:
        hovered = self.hovered[1] if self.hovered is not None and self.hovered[0] == turn else None
        selected = self.token_cursor.view(self.items) if self.token_cursor.turn == turn else None
        ranges = self.text_selection.ranges(turn, self.items[turn])
        return Highlights(hovered, selected, self.hasFocus(), ranges, self._pulse)

    def _update_pulse(self) -> None:
        last = self.items[-1] if self.items else None
        waiting = last is not None and last.running and not last.record.visible_chars
        if waiting != self._pulse_timer.isActive():
            if waiting:
                self._pulse_timer.start()
            else:
                self._pulse_timer.stop()

    def _on_pulse(self) -> None:
        self._pulse += 1
        self.viewport().update()


def make_style(theme: Theme, widget: QWidget) -> TranscriptStyle:
    """The style that suits the widget's font."""
    return TranscriptStyle.of(theme, widget.font(), max(widget.fontInfo().pixelSize(), 13) + 2)
