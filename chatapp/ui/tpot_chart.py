"""The chart inside the TPOT plot. Importing this module imports pyqtgraph and numpy; `tpot_plot` does so late.

Bars live in chunks of `CHUNK_BARS`: a full chunk is recorded once and only replayed, so that a frame builds at most one
chunk however long the session. Lines, labels and the hover card are drawn over the scene in device px, where text stays
sharp. This module must not know timers or records' events.
"""

from __future__ import annotations

import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPicture,
    QPolygonF,
    QWheelEvent,
)
from PySide6.QtWidgets import QFrame, QStyleOptionGraphicsItem, QWidget

from chatapp.domain.palette import KIND_STYLES
from chatapp.domain.rehearsal import REHEARSAL
from chatapp.domain.tokens import TokenKind
from chatapp.ui.numbers import milliseconds
from chatapp.ui.theme import Tokens, mixed
from chatapp.ui.tpot_bars import Bar, PlotSeries, Reply

CHUNK_BARS = 256
SHOWN_TOKENS = 320
CRISP_FROM_PX = 4.0
"""Tokens narrower than this are painted with soft edges: hard ones fall between two pixels and vanish."""
LEAST_TOKENS = 24
STRIDE_TOKENS = 12
X_PADDING = 0.01
BAR_GAP_TOKENS = 0.14
BAR_OPACITY = 0.82
SHADE_OPACITY = 0.2
ANY_HEIGHT_MS = 1e5
GRID_OPACITY = 0.12
VEIL_OPACITY = 0.82
LABEL_GAP_PX = 6.0
FONT_SHRINK_PX = 2


class BarChunk(pg.GraphicsObject):  # type: ignore[misc]  # pyqtgraph has no type information
    """Up to `CHUNK_BARS` bars; each is cut into its tokens' classes, so that it reads like the text."""

    def __init__(self, bars: list[Bar], tokens: Tokens) -> None:
        super().__init__()
        self.bars = bars
        self._picture = QPicture()
        self._box = QRectF()
        self.record(tokens)

    def set_bars(self, bars: list[Bar], tokens: Tokens) -> None:
        """The same chunk, with what it gained."""
        self.bars = bars
        self.record(tokens)
        self.update()

    def record(self, tokens: Tokens) -> None:
        """Draw the bars into the picture that `paint` replays."""
        painter = QPainter(self._picture)
        painter.setPen(Qt.PenStyle.NoPen)
        for kind, boxes in segments(self.bars).items():
            painter.setBrush(mixed(KIND_STYLES[kind].colour(tokens.theme), tokens.surface, BAR_OPACITY))
            painter.drawRects(boxes)
        painter.end()
        high = max(bar.tpot_ms for bar in self.bars)
        left = self.bars[0].left
        self.prepareGeometryChange()
        self._box = QRectF(left, 0, self.bars[-1].right - left, high)
        self.informViewBoundsChanged()

    def boundingRect(self) -> QRectF:
        return self._box

    def paint(
        self, painter: QPainter, _option: QStyleOptionGraphicsItem, _widget: QWidget | None = None
    ) -> None:
        token_px = painter.worldTransform().m11()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, token_px < CRISP_FROM_PX)
        self._picture.play(painter)


class Shades(pg.GraphicsObject):  # type: ignore[misc]  # as above
    """The spans without speculation, behind the bars, as high as any view."""

    def __init__(self, series: PlotSeries) -> None:
        super().__init__()
        self._series = series
        self.colour = QColor()
        self.setZValue(-10)

    def boundingRect(self) -> QRectF:
        return QRectF(0, 0, max(self._series.end, 1), ANY_HEIGHT_MS)

    def paint(
        self, painter: QPainter, _option: QStyleOptionGraphicsItem, _widget: QWidget | None = None
    ) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        for reply in self._series.replies:
            for span in reply.shades:
                painter.fillRect(QRectF(span.left, 0, span.right - span.left, ANY_HEIGHT_MS), self.colour)


def segments(bars: list[Bar]) -> dict[TokenKind, list[QRectF]]:
    """Rectangles of the bars by class: neighbouring tokens of one class in one bar share a rectangle."""
    found: dict[TokenKind, list[QRectF]] = {}
    for bar in bars:
        begin = 0
        for index in range(1, len(bar.kinds) + 1):
            if index == len(bar.kinds) or bar.kinds[index] is not bar.kinds[begin]:
                right = bar.left + index - (BAR_GAP_TOKENS if index == len(bar.kinds) else 0.0)
                box = QRectF(bar.left + begin, 0.0, right - bar.left - begin, bar.tpot_ms)
                found.setdefault(bar.kinds[begin], []).append(box)
                begin = index
    return found


class TpotChart(pg.PlotWidget):  # type: ignore[misc]  # as above
    """Axes, bars, shaded spans, marks and the TPOT line. `hovered` carries the `Bar` under the pointer or None."""

    hovered = Signal(object)

    def __init__(self, series: PlotSeries, tokens: Tokens, parent: QWidget | None = None) -> None:
        self._series = series
        self._tokens = tokens
        self._hover: Bar | None = None
        self._pointer = QPointF()
        self._free = False
        self._translucent = True
        self._chunks: list[list[BarChunk]] = []
        self._shades = Shades(series)
        super().__init__(parent)
        self.addItem(self._shades, ignoreBounds=True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMenuEnabled(False)
        self.hideButtons()
        self.setAntialiasing(True)
        self.setMouseEnabled(x=True, y=False)
        self.plotItem.setContentsMargins(0, 4, 6, 0)
        self.setLimits(xMin=-1)
        self.set_tokens(tokens)
        self.setCursor(Qt.CursorShape.ArrowCursor)

    # --- looks ------------------------------------------------------------------------------------------------------

    @property
    def label_font(self) -> QFont:
        font = QFont(self.font())
        font.setPixelSize(max(self.fontInfo().pixelSize() - FONT_SHRINK_PX, 9))
        return font

    def set_tokens(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.setBackground(QColor(tokens.surface))
        for name, text in (("bottom", "token"), ("left", "ms per token")):
            axis = self.getAxis(name)
            axis.enableAutoSIPrefix(False)
            axis.setPen(pg.mkPen(tokens.border_strong, width=1))
            axis.setTextPen(pg.mkPen(tokens.muted))
            axis.setStyle(tickFont=self.label_font, tickLength=3, tickTextOffset=4, maxTickLevel=0)
            axis.setLabel(text, **{"font-size": f"{self.label_font.pixelSize()}px", "color": tokens.muted})
        self.getAxis("bottom").setHeight(self.label_font.pixelSize() * 2 + 14)
        self.getAxis("left").setWidth(self.label_font.pixelSize() * 3 + 18)
        self._shades.colour = mixed(tokens.muted, tokens.surface, SHADE_OPACITY)
        self._shades.update()
        for chunk in (chunk for reply in self._chunks for chunk in reply):
            chunk.record(tokens)
            chunk.update()
        self.viewport().update()

    def set_translucent(self, on: bool) -> None:
        """Whether grid and labels let through what lies below them."""
        self._translucent = on
        self.viewport().update()

    # --- data -------------------------------------------------------------------------------------------------------

    def show_replies(self, kept: int) -> None:
        """The series holds other replies; the first `kept` are as they were."""
        added = self._series.replies[kept:]
        if kept >= len(self._chunks) and not self._free and not any(reply.bars for reply in added):
            return  # a reply that has just begun shows nothing yet
        for chunk in (chunk for reply in self._chunks[kept:] for chunk in reply):
            self.removeItem(chunk)
        del self._chunks[kept:]
        self._free = False
        self.show_growth()

    def show_growth(self) -> None:
        """The last reply may have gained bars."""
        for index, reply in enumerate(self._series.replies):
            if index == len(self._chunks):
                self._chunks.append([])
            if index >= len(self._chunks) - 1:
                self._grow_chunks(reply, self._chunks[index])
        self._shades.prepareGeometryChange()
        self._fit()
        self.viewport().update()

    def _grow_chunks(self, reply: Reply, chunks: list[BarChunk]) -> None:
        full = len(chunks) - 1 if chunks and len(chunks[-1].bars) < CHUNK_BARS else len(chunks)
        for number, first in enumerate(range(full * CHUNK_BARS, len(reply.bars), CHUNK_BARS), start=full):
            bars = reply.bars[first : first + CHUNK_BARS]
            if number == len(chunks):
                chunks.append(BarChunk(bars, self._tokens))
                self.addItem(chunks[-1], ignoreBounds=True)
            elif len(bars) != len(chunks[number].bars):
                chunks[number].set_bars(bars, self._tokens)

    def drawn_bars(self) -> list[Bar]:
        """Every bar in the scene, left to right."""
        return [bar for reply in self._chunks for chunk in reply for bar in chunk.bars]

    def _fit(self) -> None:
        """The latest tokens, unless a person has moved the axis."""
        if self._free:
            return
        # In strides: axes are drawn anew only when they change, and that is half of a frame's cost.
        end = max(-(-self._series.end // STRIDE_TOKENS) * STRIDE_TOKENS, LEAST_TOKENS)
        left = max(end - SHOWN_TOKENS, 0)
        edge = X_PADDING * (end - left)
        top = self._series.top_ms(left, end)
        self.setRange(xRange=(left - edge, end + edge), yRange=(0, top), padding=0)

    # --- pointer ----------------------------------------------------------------------------------------------------

    def wheelEvent(self, event: QWheelEvent) -> None:
        # The plot sits in a scrolling panel: the wheel alone belongs to the panel.
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._free = True
            super().wheelEvent(event)
        else:
            event.ignore()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._free = True
        super().mousePressEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._free = False
        self._fit()
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        self._pointer = event.position()
        inside = self._area().contains(self._pointer)
        x = self.plotItem.vb.mapSceneToView(self.mapToScene(self._pointer.toPoint())).x()
        self._set_hover(self._series.bar_at(x) if inside else None)

    def leaveEvent(self, event: QEvent) -> None:
        self._set_hover(None)
        super().leaveEvent(event)

    def _set_hover(self, bar: Bar | None) -> None:
        if bar is not None or self._hover is not None:
            self.viewport().update()
        if bar is not self._hover:
            self._hover = bar
            self.hovered.emit(bar)

    # --- drawing over the scene -------------------------------------------------------------------------------------

    def _area(self) -> QRectF:
        """The rectangle inside the axes, px."""
        box = self.plotItem.vb.sceneBoundingRect()
        return QRectF(self.mapFromScene(box.topLeft()), self.mapFromScene(box.bottomRight()))

    def _x(self, token: float) -> float:
        left, right = self.viewRange()[0]
        area = self._area()
        return float(area.left() + (token - left) / (right - left) * area.width())

    def _y(self, ms: float) -> float:
        low, high = self.viewRange()[1]
        area = self._area()
        return float(area.bottom() - (ms - low) / (high - low) * area.height())

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(self.label_font)
        area = self._area()
        painter.save()
        painter.setClipRect(area)
        self._draw_grid(painter, area)
        self._draw_tpot_lines(painter)
        self._draw_clipped(painter, area)
        self._draw_marks(painter, area)
        self._draw_tpot_label(painter, area)
        painter.restore()
        if self._hover is not None:
            self._draw_hover(painter, self._hover, area)
        painter.end()

    def _draw_grid(self, painter: QPainter, area: QRectF) -> None:
        """Faint lines at the labelled heights, over the bars as well: they are for reading a bar's height."""
        colour = QColor(self._tokens.text)
        colour.setAlphaF(GRID_OPACITY)
        flat = mixed(self._tokens.text, self._tokens.surface, GRID_OPACITY)
        painter.setPen(QPen(colour if self._translucent else flat, 1))
        low, high = self.viewRange()[1]
        _spacing, heights = self.getAxis("left").tickValues(low, high, area.height())[0]
        for ms in heights:
            y = round(self._y(ms)) + 0.5
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))

    def _draw_tpot_lines(self, painter: QPainter) -> None:
        colour = QColor(self._tokens.accent)
        for reply in self._series.replies:
            if reply.tpot_ms is not None:
                y = round(self._y(reply.tpot_ms)) + 0.5
                painter.setPen(QPen(colour, 1.5, Qt.PenStyle.DashLine))
                painter.drawLine(QPointF(self._x(reply.offset), y), QPointF(self._x(reply.end), y))

    def _draw_tpot_label(self, painter: QPainter, area: QRectF) -> None:
        """The last reply's TPOT, above its line and over everything else."""
        last = self._series.replies[-1] if self._series.replies else None
        if last is None or last.tpot_ms is None:
            return
        bottom = max(self._y(last.tpot_ms) - 3, area.top() + QFontMetricsF(painter.font()).height() + 6)
        text = f"TPOT {milliseconds(last.tpot_ms / 1e3)}"
        at = QPointF(area.right() - 2, bottom)
        self._draw_label(painter, text, at, QColor(self._tokens.accent), from_right=True)

    def _draw_label(
        self, painter: QPainter, text: str, at: QPointF, colour: QColor, *, from_right: bool = False
    ) -> QRectF:
        """Text on a veil of the background, its bottom corner at `at`. Returns the veil."""
        metrics = QFontMetricsF(painter.font())
        wide, high = metrics.horizontalAdvance(text) + 8, metrics.height()
        box = QRectF(at.x() - wide if from_right else at.x(), at.y() - high, wide, high)
        veil = QColor(self._tokens.surface)
        veil.setAlphaF(VEIL_OPACITY if self._translucent else 1.0)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(veil)
        painter.drawRoundedRect(box, 4, 4)
        painter.setPen(colour)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)
        return box

    def _draw_clipped(self, painter: QPainter, area: QRectF) -> None:
        """A small arrow on top of each bar that is taller than the scale."""
        top = self.viewRange()[1][1]
        left, right = self.viewRange()[0]
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._tokens.text))
        for reply in self._series.replies:
            for bar in reply.bars_between(left, right):
                if bar.tpot_ms > top:
                    x = self._x((bar.left + bar.right) / 2)
                    y = area.top() + 1
                    painter.drawPolygon(
                        QPolygonF([QPointF(x, y), QPointF(x - 3.5, y + 5), QPointF(x + 3.5, y + 5)])
                    )

    def _draw_marks(self, painter: QPainter, area: QRectF) -> None:
        """A vertical line where k or the toggle changed; labels that would overlap are left to the hover card."""
        colour = QColor(self._tokens.text)
        free_from = area.left() - 1.0
        metrics = QFontMetricsF(painter.font())
        for reply in self._series.replies:
            for mark in reply.marks:
                x = round(self._x(mark.x)) + 0.5
                if not area.left() <= x <= area.right():
                    continue
                painter.setPen(QPen(colour, 1, Qt.PenStyle.DotLine))
                painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
                wide = metrics.horizontalAdvance(mark.change.label) + 8
                left = min(x + 1, area.right() - wide)
                if left >= free_from:
                    at = QPointF(left, area.top() + metrics.height() + 6)
                    free_from = (
                        self._draw_label(painter, mark.change.label, at, colour).right() + LABEL_GAP_PX
                    )

    def _draw_hover(self, painter: QPainter, bar: Bar, area: QRectF) -> None:
        left, right = self._x(bar.left), self._x(bar.right - BAR_GAP_TOKENS)
        top = max(self._y(bar.tpot_ms), area.top())
        painter.setPen(QPen(QColor(self._tokens.text), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(QRectF(left, top, right - left, area.bottom() - top))
        lines = describe_bar(bar)
        metrics = QFontMetricsF(painter.font())
        wide = max(metrics.horizontalAdvance(line) for line in lines) + 20
        high = metrics.height() * len(lines) + 14
        x = left - wide - 8 if right + 8 + wide > area.right() else right + 8
        box = QRectF(min(max(x, area.left() + 4), area.right() - wide), area.top() + 4, wide, high)
        painter.setPen(QPen(QColor(self._tokens.border_strong), 1))
        painter.setBrush(QColor(self._tokens.surface))
        painter.drawRoundedRect(box, 8, 8)
        painter.setPen(QColor(self._tokens.text))
        painter.drawText(box.adjusted(10, 7, -10, -7), Qt.AlignmentFlag.AlignLeft, "\n".join(lines))


def describe_bar(bar: Bar) -> list[str]:
    """The hover card's lines: step, k, tokens, ms."""
    timing = bar.timing
    count = f"{timing.tokens} token" + ("" if timing.tokens == 1 else "s")
    mode = f"k {timing.window}" if timing.speculation else "speculation off"
    whole_ms = bar.tpot_ms * timing.tokens
    return [
        f"step {timing.index}, {mode}",
        f"{count}, {milliseconds(bar.tpot_ms / 1e3)} each",
        f"step took {milliseconds(whole_ms / 1e3)}",
        *([REHEARSAL] if timing.simulated else []),
    ]
