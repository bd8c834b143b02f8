"""How near the passes come to what the memory gives: a thin bar per model, with words. Computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from chatapp.ui.theme import SPACE_1_PX, ThemedWidget, number_font

BAR_HEIGHT_PX = 4
GAP_PX = 6
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
        rows_changed = len(readings) != len(self._readings)
        self._readings = tuple(readings)
        said = "; ".join(f"{one.words}, reply {_percent(one.reply)}" for one in self._readings)
        self.setAccessibleName(f"Memory traffic: {said}")
        self.setVisible(bool(self._readings))
        if rows_changed:
            self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(220, max(len(self._readings), 1) * self._row_height() - GAP_PX)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def _row_height(self) -> int:
        return self.fontMetrics().height() + SPACE_1_PX // 2 + BAR_HEIGHT_PX + GAP_PX

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for place, reading in enumerate(self._readings):
            self._paint_row(painter, place * self._row_height(), reading)

    def _paint_row(self, painter: QPainter, top: float, reading: Reading) -> None:
        high = self.fontMetrics().height()
        line = QRectF(0, top, self.width(), high)
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.setFont(self.font())
        painter.setPen(QColor(self.tokens.muted))
        painter.drawText(line, middle | Qt.AlignmentFlag.AlignLeft, f"Memory, {reading.name}")
        painter.setFont(number_font(self.fontInfo().pixelSize()))
        painter.setPen(QColor(self.tokens.text))
        words = f"{_percent(reading.now)} of {reading.of}"
        painter.drawText(line, middle | Qt.AlignmentFlag.AlignRight, words)
        rail = QRectF(0, top + high + SPACE_1_PX // 2, self.width(), BAR_HEIGHT_PX)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self.tokens.border))
        painter.drawRoundedRect(rail, BAR_HEIGHT_PX / 2, BAR_HEIGHT_PX / 2)
        if reading.now:
            painter.setBrush(QColor(self.tokens.accent))
            filled = QRectF(rail.left(), rail.top(), rail.width() * min(reading.now, 1.0), rail.height())
            painter.drawRoundedRect(filled, BAR_HEIGHT_PX / 2, BAR_HEIGHT_PX / 2)
        if reading.reply is not None:
            x = rail.left() + (rail.width() - TICK_PX) * min(reading.reply, 1.0)
            painter.fillRect(QRectF(x, rail.top() - 2, TICK_PX, rail.height() + 4), QColor(self.tokens.text))


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"
