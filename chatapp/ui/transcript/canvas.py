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
- An update lays out the last fragment of the last paragraph and repaints its lines that changed, within the text column.
- The view follows the end only while it stands at the end; scrolling away lets go, scrolling back takes hold again.
- In the remote display mode the text moves by whole lines. While a reply grows the end is `FEED_SHARE` of a view ahead of
  the text, so that most new lines fill empty room and one in many moves everything.

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
from chatapp.ui.display_mode import LOCAL, DisplayMode
from chatapp.ui.transcript.selection import Place, TextSelection, TokenCursor
from chatapp.ui.transcript.style import COLUMN_PX, MARGIN_PX, NARROW_MARGIN_PX, NARROW_PX, TranscriptStyle
from chatapp.ui.transcript.turn import CARET_ROOM_PX, TurnItem
from chatapp.ui.transcript.turn_painting import Highlights, TurnPainter
from chatapp.ui.widgets.line_scroll_bar import LineScrollBar

AT_END_PX = 12
IDLE_SLICE_MS = 6
EDGE_PX = 8
PULSE_MS = 400
SPILL_PX = 1
MARGIN_OF_MARKS_PX = 3
FEED_SHARE = 1 / 2


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
        self._display = LOCAL
        self._bar = LineScrollBar(self)
        self.setVerticalScrollBar(self._bar)
        self._tops: list[float] = [float(EDGE_PX)]
        self._follow = True
        self._moving = False
        self._pulse = 0
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.viewport().setMouseTracking(True)
        self._bar.valueChanged.connect(self._on_scrolled)
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
        height, text_end, caret, waited = item.height, item.reply_bottom, item.caret_box, item.blank
        changed = item.refresh()
        if changed is None and item.height == height:
            return
        if not item.is_laid_out(self._style_now, self.column_width):
            self.settle()
            return
        place = self.scroll_y, self._tops[-2]
        if item.height != height:
            self._settle()
        self._update_pulse()
        if (self.scroll_y, self._tops[-2]) != place:
            self._update_column()
            return
        self._update_box(self._waiting_box if waited else caret)
        self._update_box(item.caret_box)
        if changed is not None:
            self._update_box(changed)
            text_alone = item.running and not item.cards
            end = max(text_end, item.reply_bottom) if text_alone else max(height, item.height)
            wide = self.column_width + EDGE_PX + CARET_ROOM_PX
            self._update_box(QRectF(-EDGE_PX, changed.bottom(), wide, end - changed.bottom()))

    def _update_box(self, box: QRectF) -> None:
        """Repaint a box of the last turn, and a little around it: letters may spill over their line."""
        if box.height() <= 0:
            return
        here = box.translated(self.origin_of(len(self.items) - 1)).toAlignedRect()
        self.viewport().update(here.adjusted(-SPILL_PX, -SPILL_PX, SPILL_PX, SPILL_PX))

    def set_display(self, display: DisplayMode) -> None:
        """Another screen: whether the text moves by whole lines, and what moves by itself."""
        self._display = display
        self.settle()

    def repaint_token(self, turn: int, view: TokenView) -> None:
        """Repaint a token with all tokens of its verify step."""
        for box in self.items[turn].step_rects(view):
            here = box.translated(self.origin_of(turn)).toAlignedRect()
            self.viewport().update(here.adjusted(-MARGIN_OF_MARKS_PX, 0, MARGIN_OF_MARKS_PX, 0))

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
        return self._bar.value()

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
        """Lay out what the viewport meets, keep what is read in place, set the scroll bar's range, and repaint."""
        self._settle()
        self.viewport().update()

    def _settle(self) -> None:
        self._measure()
        if self._follow:
            self._settle_at_end()
        else:
            self._settle_in_place()
        self._update_pulse()
        unknown = any(not item.is_laid_out(self._style_now, self.column_width) for item in self.items)
        if unknown and not self._idle.isActive():
            self._idle.start()

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
        self._scroll_to(self._bar.maximum())

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
        self._scroll_to(self._bar.snapped(self._tops[anchor] + inside))

    def _set_range(self) -> None:
        bar, height, pitch = self._bar, self.viewport().height(), self._style_now.body.pitch
        room = max(int(self._tops[-1]) + EDGE_PX - height, 0)
        self._moving = True
        bar.line_px = pitch if self._display.whole_lines else 0
        bar.setPageStep(height)
        bar.setSingleStep(pitch * 2)
        bar.setRange(0, -(-room // self._feed_px) * self._feed_px)
        self._moving = False
        self._tell_end()

    @property
    def _feed_px(self) -> int:
        """What the end of the scroll range is a multiple of."""
        if not self._display.whole_lines:
            return 1
        pitch = self._style_now.body.pitch
        growing = bool(self.items) and self.items[-1].running
        return max(int(self.viewport().height() * FEED_SHARE / pitch), 1) * pitch if growing else pitch

    def _scroll_to(self, value: int) -> None:
        self._moving = True
        self._bar.setValue(value)
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
        kept = self._bar.snapped(self._tops[max(anchor, 0)] + inside)
        self._scroll_to(self._bar.maximum() if self._follow else kept)

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
        return self._bar.value() >= self._bar.maximum() - AT_END_PX

    def jump_to_end(self) -> None:
        self._follow = True
        self.settle()

    def reveal(self, box: QRect) -> None:
        """Scroll as little as needed to bring a rectangle (viewport px) into view."""
        margin = self._style_now.body.pitch
        above, below = box.top() - margin, box.bottom() + margin - self.viewport().height()
        if above < 0:
            self._bar.move_to(self.scroll_y + above)
        elif below > 0:
            self._bar.move_to(self.scroll_y + below)

    def scrollContentsBy(self, dx: int, dy: int) -> None:  # noqa: ARG002  # Qt calls it with both
        self._update_column()

    def _update_column(self) -> None:
        """Repaint everything that can move; beside the text column there is nothing but ground."""
        column = QRect(
            self.column_left - EDGE_PX, 0, round(self.column_width) + EDGE_PX, self.viewport().height()
        )
        self.viewport().update(column.adjusted(0, 0, CARET_ROOM_PX, 0))

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
        return Highlights(hovered, selected, self.hasFocus(), ranges, self._pulse, self._display.animated)

    def _update_pulse(self) -> None:
        last = self.items[-1] if self.items else None
        waiting = last is not None and last.waiting and self._display.animated
        if waiting != self._pulse_timer.isActive():
            if waiting:
                self._pulse_timer.start()
            else:
                self._pulse_timer.stop()

    def _on_pulse(self) -> None:
        self._pulse += 1
        self._update_box(self._waiting_box)

    @property
    def _waiting_box(self) -> QRectF:
        """The line that says, where the last turn's reply will be, that it has not begun."""
        return QRectF(0, self.items[-1].reply_top, self.column_width, self._style_now.body.pitch)


def make_style(theme: Theme, widget: QWidget, display: DisplayMode) -> TranscriptStyle:
    """The style that suits the widget's font and the screen."""
    base_px = max(widget.fontInfo().pixelSize(), 13) + 2
    return TranscriptStyle.of(theme, widget.font(), base_px, translucent=display.translucent)
