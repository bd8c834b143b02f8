"""The row that explains colours and marks. It draws its samples with the transcript's own pens; knows no record."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QHelpEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from chatapp.domain.palette import KIND_STYLES
from chatapp.domain.tokens import TokenKind
from chatapp.ui.transcript.style import NARROW_MARGIN_PX, TranscriptStyle

GAP_PX = 20
PAD_Y_PX = 7
LEAST_ROOM_PX = 120
MARK_LABEL = "k 5 → 8"
MARK_MEANING = "Window k, Auto, speculation or the acceptor was changed here"


@dataclass(frozen=True, slots=True)
class _Sample:
    label: str
    meaning: str
    kind: TokenKind | None
    box: QRectF


class Legend(QWidget):
    """Samples of the four classes and of the change mark, in as many rows as they need."""

    def __init__(self, style: TranscriptStyle, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._style_now = style
        self._samples: list[_Sample] = []
        self._heights: dict[int, int] = {}  # by width: layouts ask a dozen times whenever a page is shown
        self._left = NARROW_MARGIN_PX
        self.setAccessibleName("Legend of token colours")
        self.setAccessibleDescription(
            "; ".join(
                f"{style.label}, {style.underline.value} underline: {style.meaning}"
                for style in KIND_STYLES.values()
            )
        )
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self._arrange()

    def set_style(self, style: TranscriptStyle) -> None:
        self._style_now = style
        self._heights.clear()
        self._arrange()
        self.updateGeometry()
        self.update()

    def set_left(self, left: int) -> None:
        """Begin at `left` px, where the text below begins."""
        if left != self._left:
            self._left = left
            self._heights.clear()
            self._arrange()
            self.updateGeometry()
            self.update()

    def _entries(self) -> list[tuple[str, str, TokenKind | None]]:
        classes: list[tuple[str, str, TokenKind | None]] = [
            (look.label, look.meaning[0].upper() + look.meaning[1:], kind)
            for kind, look in KIND_STYLES.items()
        ]
        return [*classes, (MARK_LABEL, MARK_MEANING, None)]

    def _placed(self, width: int) -> list[_Sample]:
        face = self._style_now.small
        metrics = QFontMetricsF(face.font)
        margin = min(self._left, max(width // 2 - LEAST_ROOM_PX, NARROW_MARGIN_PX))
        samples = []
        x, y = float(margin), float(PAD_Y_PX)
        for label, meaning, kind in self._entries():
            wide = metrics.horizontalAdvance(label) + (14 if kind is None else 0)
            if x + wide > width - margin and x > margin:
                x, y = float(margin), y + face.pitch + 2
            samples.append(_Sample(label, meaning, kind, QRectF(x, y, wide, face.pitch)))
            x += wide + GAP_PX
        return samples

    def _arrange(self) -> None:
        self._samples = self._placed(max(self.width(), 1))

    def heightForWidth(self, width: int) -> int:
        if width not in self._heights:
            self._heights[width] = int(self._placed(width)[-1].box.bottom()) + PAD_Y_PX + 2
        return self._heights[width]

    def hasHeightForWidth(self) -> bool:
        return True

    def sizeHint(self) -> QSize:
        return QSize(400, self.heightForWidth(max(self.width(), 400)))

    def minimumSizeHint(self) -> QSize:
        return QSize(120, self._style_now.small.pitch + 2 * PAD_Y_PX + 2)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        style = self._style_now
        painter.fillRect(self.rect(), QColor(style.tokens.window))
        painter.setFont(style.small.font)
        for sample in self._samples:
            if sample.kind is None:
                self._draw_pill(painter, sample)
                continue
            colour = style.kinds[sample.kind]
            baseline = QPointF(sample.box.left(), sample.box.top() + style.small.baseline)
            painter.setPen(colour)
            painter.drawText(baseline, sample.label)
            left, right = sample.box.left(), sample.box.right()
            style.marks.draw_sample(painter, sample.kind, left, right, baseline.y() + 4.5)
        painter.setPen(QColor(style.tokens.border))
        painter.drawLine(QPointF(0, self.height() - 0.5), QPointF(self.width(), self.height() - 0.5))
        painter.end()

    def _draw_pill(self, painter: QPainter, sample: _Sample) -> None:
        tokens = self._style_now.tokens
        box = sample.box.adjusted(0, 1, 0, -1)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(tokens.accent_soft))
        painter.drawRoundedRect(box, box.height() / 2, box.height() / 2)
        painter.setPen(QColor(tokens.accent))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, sample.label)

    def event(self, event: QEvent) -> bool:
        if event.type() is QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            for sample in self._samples:
                if sample.box.adjusted(-4, -4, 4, 4).contains(QPointF(event.pos())):
                    QToolTip.showText(event.globalPos(), sample.meaning, self)
                    return True
            QToolTip.hideText()
            return True
        return super().event(event)
