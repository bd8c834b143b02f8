"""How near the passes come to what the memory gives: one line of words over a thin bar per model. Computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from chatapp.ui.theme import ThemedWidget, number_font

BAR_HEIGHT_PX = 4
GAP_PX = 4
BETWEEN_PX = 12
TICK_PX = 2
TIP = (
    "Bytes that the passes had to read at the least, per second, against the bandwidth measured at start-up.\n"
    "Bar: the last verify steps. Tick: the whole reply. Near 100 % the memory is the limit, and only fewer or smaller\n"
    "passes can be faster; above it the weights came from the processor's cache."
)


@dataclass(frozen=True, slots=True)
class Reading:
    """`now` and `reply` are shares of the bandwidth, None while there is nothing to measure; `of` is the limit in words."""

    name: str
    now: float | None
    reply: float | None
    of: str

    @property
    def words(self) -> str:
        return f"{self.name} {_percent(self.now)} of {self.of}"


class TrafficGauge(QWidget, ThemedWidget):
    """Hidden while it has no reading."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._readings: tuple[Reading, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(TIP)
        self.hide()

    @property
    def text(self) -> str:
        """What is shown, for tests and screen readers; empty while hidden."""
        return "" if self.isHidden() else self.accessibleName()

    def set_readings(self, readings: Sequence[Reading]) -> None:
        if tuple(readings) == self._readings:
            return
        self._readings = tuple(readings)
        said = "; ".join(f"{one.words}, reply {_percent(one.reply)}" for one in self._readings)
        self.setAccessibleName(f"Memory traffic: {said}")
        self.setVisible(bool(self._readings))
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(220, self.fontMetrics().height() + GAP_PX + BAR_HEIGHT_PX)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        high = self.fontMetrics().height()
        line = QRectF(0, 0, self.width(), high)
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.setPen(QColor(self.tokens.muted))
        painter.drawText(line, middle | Qt.AlignmentFlag.AlignLeft, "Memory")
        painter.setFont(number_font(self.fontInfo().pixelSize()))
        painter.setPen(QColor(self.tokens.text))
        painter.drawText(line, middle | Qt.AlignmentFlag.AlignRight, self._words())
        gaps = BETWEEN_PX * (len(self._readings) - 1)
        width = (self.width() - gaps) / max(len(self._readings), 1)
        for place, reading in enumerate(self._readings):
            left = place * (width + BETWEEN_PX)
            self._paint_bar(painter, QRectF(left, high + GAP_PX - 1, width, BAR_HEIGHT_PX), reading)

    def _words(self) -> str:
        parts = " · ".join(f"{one.name} {_percent(one.now)}" for one in self._readings)
        return f"{parts} of {self._readings[0].of}" if self._readings else ""

    def _paint_bar(self, painter: QPainter, rail: QRectF, reading: Reading) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self.tokens.border))
        painter.drawRoundedRect(rail, BAR_HEIGHT_PX / 2, BAR_HEIGHT_PX / 2)
        if reading.now:
            painter.setBrush(QColor(self.tokens.accent))
            filled = QRectF(rail.left(), rail.top(), rail.width() * min(reading.now, 1.0), rail.height())
            painter.drawRoundedRect(filled, BAR_HEIGHT_PX / 2, BAR_HEIGHT_PX / 2)
        if reading.reply is not None:
            x = rail.left() + (rail.width() - TICK_PX) * min(reading.reply, 1.0)
            painter.fillRect(QRectF(x, rail.top() - 2, TICK_PX, rail.height() + 3), QColor(self.tokens.text))


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"
