"""Every NeuronCore as a small cell: how full its memory is, and below it how busy it is. Computes nothing, asks nobody.

Up to four cores are written out, one line each; more stand in rows of cells, the cores of a chip side by side, with the words
in a tooltip.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QHelpEvent, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from chatapp.domain.device import CoreReading
from chatapp.ui import numbers
from chatapp.ui.theme import ThemedWidget, number_font

MOST_LINES = 4
MOST_CELLS = 16
CELL_PX = 28
BUSY_PX = 3
GAP_PX = 2
CHIP_GAP_PX = 6
ROW_GAP_PX = 10
GUTTER_PX = 22
RADIUS_PX = 3
BAR_PX = 6
LINE_GAP_PX = 8
NEARLY_FULL = 0.94
"""From here on a core's memory is shown as a warning: on a core of 16 GiB this leaves less than one."""


class CoreGrid(QWidget, ThemedWidget):
    """`set_cores` shows one reading; `text` is what a screen reader is told."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cores: tuple[CoreReading, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_cores(self, cores: Sequence[CoreReading]) -> None:
        if tuple(cores) == self._cores:
            return
        another_size = len(cores) != len(self._cores)
        self._cores = tuple(cores)
        told = "; ".join(describe_core(core).replace("\n", ", ") for core in self._cores)
        self.setAccessibleName(f"Cores: {told}")
        if another_size:
            self.updateGeometry()
        self.update()

    @property
    def text(self) -> str:
        return self.accessibleName()

    def sizeHint(self) -> QSize:
        if self._written:
            return QSize(220, len(self._cores) * self._line_height() - LINE_GAP_PX)
        rows = ceil(self._chips / self._chips_per_row)
        return QSize(220, rows * self._row_height() - ROW_GAP_PX if rows else 0)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    @property
    def _written(self) -> bool:
        return 0 < len(self._cores) <= MOST_LINES

    @property
    def _chips(self) -> int:
        return len({core.chip for core in self._cores})

    @property
    def _cores_per_chip(self) -> int:
        return max(1, len(self._cores) // max(1, self._chips))

    @property
    def _chips_per_row(self) -> int:
        """As many as fit, and then so many that the rows are equally long."""
        most = max(1, MOST_CELLS // self._cores_per_chip)
        return max(1, ceil(self._chips / max(1, ceil(self._chips / most))))

    def _line_height(self) -> int:
        return self.fontMetrics().height() + GAP_PX + BAR_PX + BUSY_PX + LINE_GAP_PX

    def _row_height(self) -> int:
        return CELL_PX + 1 + BUSY_PX + ROW_GAP_PX

    def cell(self, place: int) -> QRectF:
        """Where the core at `place` of the reading is drawn, with its busy line."""
        if self._written:
            return QRectF(0, place * self._line_height(), self.width(), self._line_height() - LINE_GAP_PX)
        per_row = self._chips_per_row * self._cores_per_chip
        row, column = divmod(place, per_row)
        chip = column // self._cores_per_chip
        gaps = (self._chips_per_row - 1) * CHIP_GAP_PX + (per_row - self._chips_per_row) * GAP_PX
        width = (self.width() - GUTTER_PX - gaps) / per_row
        left = GUTTER_PX + column * width + chip * CHIP_GAP_PX + (column - chip) * GAP_PX
        return QRectF(left, row * self._row_height(), width, self._row_height() - ROW_GAP_PX)

    def core_at(self, point: QPointF) -> CoreReading | None:
        return next(
            (core for place, core in enumerate(self._cores) if self.cell(place).contains(point)), None
        )

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() is QEvent.Type.ToolTip:
            core = self.core_at(QPointF(event.pos()))
            QToolTip.showText(event.globalPos(), describe_core(core) if core is not None else "", self)
            return True
        return super().event(event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for place, core in enumerate(self._cores):
            if self._written:
                self._paint_line(painter, self.cell(place), core)
            else:
                self._paint_cell(painter, self.cell(place), core)
        if not self._written:
            self._paint_gutter(painter)

    def _paint_gutter(self, painter: QPainter) -> None:
        """The number of each row's first core."""
        painter.setFont(number_font(self.fontInfo().pixelSize() - 2))
        painter.setPen(QColor(self.tokens.muted))
        for place in range(0, len(self._cores), self._chips_per_row * self._cores_per_chip):
            room = QRectF(0, self.cell(place).top(), GUTTER_PX - 6, CELL_PX)
            middle = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
            painter.drawText(room, middle, str(self._cores[place].index))

    def _paint_cell(self, painter: QPainter, cell: QRectF, core: CoreReading) -> None:
        box = QRectF(cell.left(), cell.top(), cell.width(), CELL_PX)
        outline = QPainterPath()
        outline.addRoundedRect(box, RADIUS_PX, RADIUS_PX)
        painter.fillPath(outline, QColor(self.tokens.border))
        share = share_used(core)
        if share:
            painter.save()
            painter.setClipPath(outline)
            high = max(1.0, box.height() * min(share, 1.0))
            painter.fillRect(QRectF(box.left(), box.bottom() - high, box.width(), high), self._filling(share))
            painter.restore()
        self._paint_busy(painter, QRectF(box.left(), box.bottom() + 1, box.width(), BUSY_PX), core)

    def _paint_line(self, painter: QPainter, line: QRectF, core: CoreReading) -> None:
        text = QRectF(line.left(), line.top(), line.width(), self.fontMetrics().height())
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.setFont(self.font())
        painter.setPen(QColor(self.tokens.muted))
        painter.drawText(text, middle | Qt.AlignmentFlag.AlignLeft, f"core {core.index}")
        painter.setFont(number_font(self.fontInfo().pixelSize()))
        painter.setPen(QColor(self.tokens.text))
        busy = "" if core.busy is None else f" · {100 * core.busy:.0f} %"
        painter.drawText(text, middle | Qt.AlignmentFlag.AlignRight, _memory(core) + busy)
        rail = QRectF(line.left(), text.bottom() + GAP_PX, line.width(), BAR_PX)
        self._paint_rail(painter, rail, QColor(self.tokens.border))
        share = share_used(core)
        if share:
            filled = QRectF(rail.left(), rail.top(), rail.width() * min(share, 1.0), rail.height())
            self._paint_rail(painter, filled, self._filling(share))
        self._paint_busy(painter, QRectF(rail.left(), rail.bottom() + 1, rail.width(), BUSY_PX), core)

    def _paint_rail(self, painter: QPainter, rail: QRectF, colour: QColor) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour)
        painter.drawRoundedRect(rail, min(RADIUS_PX, rail.width() / 2), min(RADIUS_PX, rail.height() / 2))

    def _paint_busy(self, painter: QPainter, rail: QRectF, core: CoreReading) -> None:
        if core.busy:
            width = max(1.0, rail.width() * core.busy)
            painter.fillRect(QRectF(rail.left(), rail.top(), width, rail.height()), QColor(self.tokens.text))

    def _filling(self, share: float) -> QColor:
        return QColor(self.tokens.warning if share >= NEARLY_FULL else self.tokens.accent)


def share_used(core: CoreReading) -> float | None:
    """Of the core's memory, 0..1; None when either number is unknown."""
    if core.used_bytes is None or not core.total_bytes:
        return None
    return core.used_bytes / core.total_bytes


def describe_core(core: CoreReading) -> str:
    """All that is known of a core, in lines."""
    lines = [f"Core {core.index}, chip {core.chip}: {_memory(core)}"]
    lines += [f"  {name.replace('_', ' ')}  {numbers.gibibytes(used)}" for name, used in core.parts[:6]]
    if core.busy is not None:
        lines.append(f"busy {100 * core.busy:.0f} % of the last second")
    if core.inferences is not None:
        lines.append(
            f"{core.inferences:,} launches, {core.model_loads or 0:,} graphs loaded since the driver started"
        )
    return "\n".join(lines)


def _memory(core: CoreReading) -> str:
    if core.used_bytes is None:
        return "memory unknown"
    of = f" of {core.total_bytes / (1 << 30):.0f}" if core.total_bytes else ""
    return f"{core.used_bytes / (1 << 30):.1f}{of} GiB"
