"""What lies on one NeuronCore, as a stacked bar against what a core has, with a legend that names and counts every part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from chatapp.domain.memory_plan import in_gib
from chatapp.domain.palette import KIND_STYLES
from chatapp.domain.tokens import TokenKind
from chatapp.ui.theme import SPACE_2_PX, SPACE_4_PX, ThemedWidget, Tokens, number_font

BAR_HEIGHT_PX = 12
SWATCH_PX = 8
LIMIT_PX = 2
COLUMNS = 2
PALE = 0.5
"""How much of the surface is mixed into the second part of one model: opaque, so that a remote screen has no blending to do."""


class Part(str, Enum):
    """What a part of the bar is; the values are the words of the legend."""

    TARGET_WEIGHTS = "target weights"
    TARGET_KV = "target KV cache"
    DRAFT_WEIGHTS = "draft weights"
    DRAFT_KV = "draft KV cache"
    OVERHEAD = "overhead (assumed)"


@dataclass(frozen=True, slots=True)
class Use:
    """`bytes` of one part on a core."""

    part: Part
    bytes: int


class MemoryBar(QWidget, ThemedWidget):
    """`set_uses` shows the parts in order against `limit` bytes; what is beyond the limit is hatched behind a line."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._uses: tuple[Use, ...] = ()
        self._limit = 1
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_uses(self, uses: Sequence[Use], limit: int) -> None:
        self._uses, self._limit = tuple(uses), max(limit, 1)
        parts = ", ".join(f"{use.part.value} {in_gib(use.bytes)} GiB" for use in self._uses)
        self.setAccessibleName(f"On one core of {in_gib(limit)} GiB: {parts}")
        self.updateGeometry()
        self.update()

    @property
    def text(self) -> str:
        return self.accessibleName()

    def sizeHint(self) -> QSize:
        return QSize(320, BAR_HEIGHT_PX + SPACE_2_PX + self._rows() * self._row_height())

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def _rows(self) -> int:
        return -(-len(self._uses) // COLUMNS)

    def _row_height(self) -> int:
        return self.fontMetrics().height() + 1

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_bar(painter)
        for place, use in enumerate(self._uses):
            self._paint_entry(painter, place, use)

    def _paint_bar(self, painter: QPainter) -> None:
        frame = QRectF(0, 0, self.width(), BAR_HEIGHT_PX)
        outline = QPainterPath()
        outline.addRoundedRect(frame, BAR_HEIGHT_PX / 2, BAR_HEIGHT_PX / 2)
        painter.setClipPath(outline)
        painter.fillRect(frame, QColor(self.tokens.sunken))
        used = sum(use.bytes for use in self._uses)
        scale = self.width() / max(self._limit, used)
        left = 0.0
        for use in self._uses:
            width = use.bytes * scale
            painter.fillRect(QRectF(left, 0, width, BAR_HEIGHT_PX), part_colour(use.part, self.tokens))
            if left > 0 and width > 1:
                painter.fillRect(QRectF(left - 0.5, 0, 1, BAR_HEIGHT_PX), QColor(self.tokens.surface))
            left += width
        if used > self._limit:
            edge = self._limit * scale
            danger = QColor(self.tokens.danger)
            painter.fillRect(QRectF(edge, 0, left - edge, BAR_HEIGHT_PX), QColor(self.tokens.danger_soft))
            painter.fillRect(
                QRectF(edge, 0, left - edge, BAR_HEIGHT_PX), QBrush(danger, Qt.BrushStyle.BDiagPattern)
            )
            painter.fillRect(QRectF(edge - LIMIT_PX / 2, 0, LIMIT_PX, BAR_HEIGHT_PX), danger)
        painter.setClipping(False)

    def _paint_entry(self, painter: QPainter, place: int, use: Use) -> None:
        column = self.width() / COLUMNS
        left = (place % COLUMNS) * column
        top = BAR_HEIGHT_PX + SPACE_2_PX + (place // COLUMNS) * self._row_height()
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(part_colour(use.part, self.tokens))
        middle = top + (self._row_height() - SWATCH_PX) / 2
        painter.drawRoundedRect(QRectF(left, middle, SWATCH_PX, SWATCH_PX), 2, 2)
        indent = SWATCH_PX + 6
        gap = SPACE_4_PX if place % COLUMNS < COLUMNS - 1 else 0
        text = QRectF(left + indent, top, column - indent - gap, self._row_height())
        across = Qt.AlignmentFlag.AlignVCenter
        painter.setFont(self.font())
        painter.setPen(QColor(self.tokens.text))
        painter.drawText(text, across | Qt.AlignmentFlag.AlignLeft, use.part.value)
        painter.setFont(number_font(self.fontInfo().pixelSize()))
        painter.setPen(QColor(self.tokens.muted))
        painter.drawText(text, across | Qt.AlignmentFlag.AlignRight, f"{in_gib(use.bytes)} GiB")


def part_colour(part: Part, tokens: Tokens) -> QColor:
    """One hue for each model, paler for its cache; grey for the overhead. The draft's is that of the tokens it wrote."""
    match part:
        case Part.TARGET_WEIGHTS:
            return QColor(tokens.accent)
        case Part.TARGET_KV:
            return _mixed(tokens.accent, tokens.surface)
        case Part.DRAFT_WEIGHTS:
            return QColor(_draft(tokens))
        case Part.DRAFT_KV:
            return _mixed(_draft(tokens), tokens.surface)
        case Part.OVERHEAD:
            return QColor(tokens.border_strong)


def _draft(tokens: Tokens) -> str:
    return KIND_STYLES[TokenKind.ACCEPTED].colour(tokens.theme)


def _mixed(colour: str, surface: str) -> QColor:
    one, other = QColor(colour), QColor(surface)
    channels = zip(
        (one.red(), one.green(), one.blue()), (other.red(), other.green(), other.blue()), strict=True
    )
    return QColor(*(round(a + (b - a) * PALE) for a, b in channels))
