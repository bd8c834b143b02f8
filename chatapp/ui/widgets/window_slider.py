"""The slider of k: ticks with numbers, and the value in a bubble that is the handle. Snaps to the stops it is given.

Where the target's passes are compiled for certain windows, those stops stand out: there no row of a pass is padding. Between
two of them the track shows in a paler colour what the next window holds beyond k. It must not know an engine; the stops and
the compiled windows come from outside.
"""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSlider, QWidget

from chatapp.domain.request import DEFAULT_WINDOW, MAX_WINDOW, SLIDER_MIN_WINDOW
from chatapp.ui.theme import ThemedWidget, number_font

HANDLE_WIDTH_PX = 28
HANDLE_HEIGHT_PX = 22
TRACK_PX = 4
TICK_LABEL_PX = 10
LABEL_SPACE_PX = 14
LABEL_ROOM_PX = 22
DOT_PX = 2.5
SMALL_DOT_PX = 1.5
MARK_WIDTH_PX = 4
MARK_HEIGHT_PX = 12
PALE = 0.35
"""Opacity of the rows that a compiled window holds beyond k."""
DESCRIPTION = "How many tokens one pass of the target can yield"


class WindowSlider(QSlider, ThemedWidget):
    """Chooses k. Arrow keys go to the neighbouring stop, Home and End to the ends, a click on the track goes there."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._stops: tuple[int, ...] = tuple(range(SLIDER_MIN_WINDOW, MAX_WINDOW + 1))
        self._compiled: tuple[int, ...] = ()
        self.setRange(SLIDER_MIN_WINDOW, MAX_WINDOW)
        self.setValue(DEFAULT_WINDOW)
        self.setPageStep(2)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Window k")
        self.setMinimumWidth(140)
        self.valueChanged.connect(self._describe)
        self._describe()

    @property
    def stops(self) -> tuple[int, ...]:
        return self._stops

    def set_stops(self, windows: Sequence[int]) -> None:
        """Offer only these values of k; those below the slider's least (k = 1 is the switch's business) are left out."""
        stops = tuple(sorted(k for k in windows if SLIDER_MIN_WINDOW <= k <= MAX_WINDOW))
        if not stops:
            return
        self._stops = stops
        self.setRange(stops[0], stops[-1])
        self.setValue(self.nearest(self.value()))
        self.update()

    def set_compiled(self, windows: Sequence[int]) -> None:
        """Passes of the target are compiled for these windows, ascending, and a k between two costs what the next of them
        does; none where every k has a cost of its own."""
        self._compiled = tuple(windows)
        self._describe()
        self.update()

    @property
    def compiled_words(self) -> str:
        """What a pass of this k costs, where that is not k's own; empty otherwise."""
        k = self.value()
        if not self._compiled:
            return ""
        window = self._window_of(k)
        if window is None:
            return f"k {k} takes more than one pass: the longest compiled window is {self._compiled[-1]}."
        if window == k:
            return f"k {k} fills a compiled window: nothing is padded."
        free = min(window, self.maximum())
        return f"k {k} runs in the compiled window of {window}: up to k {free} a pass of the target costs the same."

    def _window_of(self, k: int) -> int | None:
        """The compiled window that a pass of k runs in; None where it takes several."""
        return next((window for window in self._compiled if window >= k), None)

    def _describe(self) -> None:
        self.setAccessibleDescription(". ".join(filter(None, (DESCRIPTION, self.compiled_words))))

    def nearest(self, k: int) -> int:
        return min(self._stops, key=lambda stop: (abs(stop - k), stop))

    def step_by(self, stops: int) -> None:
        """Go `stops` stops up (or down when negative), staying within the ends."""
        place = self._stops.index(self.nearest(self.value()))
        self.setValue(self._stops[min(max(place + stops, 0), len(self._stops) - 1)])

    def sizeHint(self) -> QSize:
        return QSize(260, HANDLE_HEIGHT_PX + LABEL_SPACE_PX + 4)

    def minimumSizeHint(self) -> QSize:
        return QSize(140, HANDLE_HEIGHT_PX + LABEL_SPACE_PX + 4)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {
            Qt.Key.Key_Left: -1,
            Qt.Key.Key_Down: -1,
            Qt.Key.Key_Right: 1,
            Qt.Key.Key_Up: 1,
            Qt.Key.Key_PageDown: -2,
            Qt.Key.Key_PageUp: 2,
            Qt.Key.Key_Home: -len(self._stops),
            Qt.Key.Key_End: len(self._stops),
        }
        move = moves.get(Qt.Key(event.key()))
        if move is None or event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            super().keyPressEvent(event)
            return
        self.step_by(move)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() is Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self._go_to(event.position().x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self._go_to(event.position().x())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() is Qt.MouseButton.LeftButton:
            self.setSliderDown(False)

    def _go_to(self, x: float) -> None:
        left, right = self._ends()
        fraction = (x - left) / max(right - left, 1.0)
        self.setValue(self.nearest(round(self.minimum() + fraction * (self.maximum() - self.minimum()))))

    def _ends(self) -> tuple[float, float]:
        """x of the least and the greatest value, px."""
        return HANDLE_WIDTH_PX / 2 + 3, self.width() - HANDLE_WIDTH_PX / 2 - 3

    def _x_of(self, k: int) -> float:
        left, right = self._ends()
        span = max(self.maximum() - self.minimum(), 1)
        return left + (right - left) * (k - self.minimum()) / span

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = 2 + HANDLE_HEIGHT_PX / 2
        self._paint_track(painter, middle)
        self._paint_ticks(painter, middle)
        self._paint_handle(painter, middle)

    def _paint_track(self, painter: QPainter, middle: float) -> None:
        left, right = self._ends()
        here = self._x_of(self.value())
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self.tokens.border))
        painter.drawRoundedRect(QRectF(left, middle - TRACK_PX / 2, right - left, TRACK_PX), 2, 2)
        painter.setBrush(QColor(self.tokens.accent if self.isEnabled() else self.tokens.border_strong))
        painter.drawRoundedRect(QRectF(left, middle - TRACK_PX / 2, here - left, TRACK_PX), 2, 2)
        window = self._window_of(self.value())
        if window is not None and self.isEnabled():
            pale = QColor(self.tokens.accent)
            pale.setAlphaF(PALE)
            painter.setBrush(pale)
            end = self._x_of(min(window, self.maximum()))
            painter.drawRect(QRectF(here, middle - TRACK_PX / 2, end - here, TRACK_PX))

    def _paint_ticks(self, painter: QPainter, middle: float) -> None:
        top = middle + HANDLE_HEIGHT_PX / 2 + 1
        labelled = self._labelled_stops()
        for k in self._stops:
            x = self._x_of(k)
            passed = k <= self.value() and self.isEnabled()
            painter.setPen(Qt.PenStyle.NoPen)
            marked = k in self._compiled
            ahead = self.tokens.muted if marked and self.isEnabled() else self.tokens.border_strong
            painter.setBrush(QColor(self.tokens.accent if passed else ahead))
            if marked:
                box = QRectF(0, 0, MARK_WIDTH_PX, MARK_HEIGHT_PX)
                box.moveCenter(QPointF(x, middle))
                painter.drawRoundedRect(box, MARK_WIDTH_PX / 2, MARK_WIDTH_PX / 2)
            else:
                size = SMALL_DOT_PX if self._compiled else DOT_PX
                painter.drawEllipse(QPointF(x, middle), size, size)
            if k in labelled:
                painter.setFont(number_font(TICK_LABEL_PX, bold=marked))
                strong = self.tokens.text if marked else self.tokens.muted
                painter.setPen(QColor(strong if self.isEnabled() else self.tokens.disabled))
                painter.drawText(
                    QRectF(x - 12, top, 24, LABEL_SPACE_PX), Qt.AlignmentFlag.AlignCenter, str(k)
                )

    def _labelled_stops(self) -> set[int]:
        """Those of compiled windows where there are any; else both ends, and as many even stops between as have room for
        their numbers."""
        marked = {k for k in self._stops if k in self._compiled}
        if marked:
            return marked | {self._stops[0], self._stops[-1]}
        room = (self._x_of(self.maximum()) - self._x_of(self.minimum())) / max(
            self.maximum() - self.minimum(), 1
        )
        for step in (1, 2, 4):
            if step * room >= LABEL_ROOM_PX:
                return {k for k in self._stops if k % step == 0} | {self._stops[-1]}
        return {self._stops[0], self._stops[-1]}

    def _paint_handle(self, painter: QPainter, middle: float) -> None:
        here = self._x_of(self.value())
        box = QRectF(
            here - HANDLE_WIDTH_PX / 2, middle - HANDLE_HEIGHT_PX / 2, HANDLE_WIDTH_PX, HANDLE_HEIGHT_PX
        )
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(self.tokens.focus), 2))
            painter.drawRoundedRect(box.adjusted(-2, -1, 2, 1), 9, 9)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self.tokens.accent if self.isEnabled() else self.tokens.disabled))
        painter.drawRoundedRect(box, 8, 8)
        painter.setFont(number_font(self.fontInfo().pixelSize(), bold=True))
        painter.setPen(QColor(self.tokens.on_accent if self.isEnabled() else self.tokens.surface))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(self.value()))
