"""A stacked bar of shares with its legend: one colour, one word and one number per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from chatapp.domain.palette import KIND_STYLES
from chatapp.domain.tokens import TokenKind
from chatapp.ui.theme import SPACE_2_PX, SPACE_4_PX, ThemedWidget, number_font

BAR_HEIGHT_PX = 10
DASH = "–"


@dataclass(frozen=True, slots=True)
class Share:
    """`fraction` in 0..1, None while there is nothing to count."""

    kind: TokenKind
    fraction: float | None


class ShareBar(QWidget, ThemedWidget):
    """Share of each token class. Paints the bar and, below it in two columns, swatch, label and percentage."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shares: tuple[Share, ...] = tuple(Share(kind, None) for kind in TokenKind)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._describe()

    def set_shares(self, shares: Sequence[Share]) -> None:
        if tuple(shares) == self._shares:
            return
        self._shares = tuple(shares)
        self._describe()
        self.update()

    def _describe(self) -> None:
        words = ", ".join(f"{KIND_STYLES[s.kind].label} {_percent(s.fraction)}" for s in self._shares)
        self.setAccessibleName(f"Share of each class: {words}")
        self.setToolTip(
            "\n".join(f"{KIND_STYLES[s.kind].label}: {KIND_STYLES[s.kind].meaning}" for s in self._shares)
        )

    @property
    def text(self) -> str:
        return self.accessibleName()

    def sizeHint(self) -> QSize:
        return QSize(220, BAR_HEIGHT_PX + SPACE_2_PX + self._rows() * self._row_height())

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def _rows(self) -> int:
        return (len(self._shares) + 1) // 2

    def _row_height(self) -> int:
        return self.fontMetrics().height() + 1

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_bar(painter)
        for place, share in enumerate(self._shares):
            self._paint_entry(painter, place, share)

    def _paint_bar(self, painter: QPainter) -> None:
        frame = QRectF(0, 0, self.width(), BAR_HEIGHT_PX)
        outline = QPainterPath()
        outline.addRoundedRect(frame, BAR_HEIGHT_PX / 2, BAR_HEIGHT_PX / 2)
        painter.setClipPath(outline)
        painter.fillRect(frame, QColor(self.tokens.sunken))
        left = 0.0
        for share in self._shares:
            width = (share.fraction or 0.0) * self.width()
            colour = QColor(KIND_STYLES[share.kind].colour(self.tokens.theme))
            painter.fillRect(QRectF(left, 0, width, BAR_HEIGHT_PX), colour)
            if left > 0 and width > 0:
                painter.fillRect(QRectF(left - 0.5, 0, 1, BAR_HEIGHT_PX), QColor(self.tokens.surface))
            left += width
        painter.setClipping(False)

    def _paint_entry(self, painter: QPainter, place: int, share: Share) -> None:
        style = KIND_STYLES[share.kind]
        column_width = self.width() / 2
        left = (place % 2) * column_width
        top = BAR_HEIGHT_PX + SPACE_2_PX + (place // 2) * self._row_height()
        right_gap = SPACE_4_PX if place % 2 == 0 else 0
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(style.colour(self.tokens.theme)))
        swatch = 8
        painter.drawRoundedRect(QRectF(left, top + (self._row_height() - swatch) / 2, swatch, swatch), 2, 2)
        text = QRectF(left + swatch + 6, top, column_width - swatch - 6 - right_gap, self._row_height())
        painter.setFont(self.font())
        painter.setPen(QColor(self.tokens.text))
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(text, middle | Qt.AlignmentFlag.AlignLeft, style.label)
        painter.setFont(number_font(self.fontInfo().pixelSize()))
        painter.setPen(QColor(self.tokens.muted))
        painter.drawText(text, middle | Qt.AlignmentFlag.AlignRight, _percent(share.fraction))


def _percent(fraction: float | None) -> str:
    return DASH if fraction is None else f"{100 * fraction:.0f} %"
