"""The small card beside a hovered token with everything the record knows of it. Plain text only; takes no input."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from chatapp.domain.palette import KIND_STYLES
from chatapp.domain.record import RunRecord, TokenView
from chatapp.ui.text_hygiene import visible
from chatapp.ui.transcript.style import TranscriptStyle, with_alpha
from chatapp.ui.transcript.wording import token_facts

PAD_PX = 12
SHADOW_PX = 10
COLUMN_GAP_PX = 14
MAX_WIDTH_PX = 460
RADIUS_PX = 10
TITLE_CHARS = 24


class HoverCard(QWidget):
    """Floats above its parent; `show_token` places it near a rectangle of the parent, inside its bounds."""

    def __init__(self, style: TranscriptStyle, parent: QWidget) -> None:
        super().__init__(parent)
        self._style_now = style
        self._title = ""
        self._view: TokenView | None = None
        self._facts: list[tuple[str, str]] = []
        self._name_width = 0.0
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Token details")
        self.hide()

    def set_style(self, style: TranscriptStyle) -> None:
        self._style_now = style
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent, not style.translucent)
        self.update()

    def show_token(self, record: RunRecord, view: TokenView, near: QRect) -> None:
        self._view = view
        self._title = visible(view.token.text, TITLE_CHARS)
        self._facts = token_facts(record, view)[1:]
        self.resize(self._wanted_size())
        self.move(self._place(near))
        self.raise_()
        self.show()
        self.update()

    @property
    def lines(self) -> list[str]:
        """What the card says, for tests and screen readers."""
        label = KIND_STYLES[self._view.kind].label if self._view else ""
        return [f"{self._title} {label}", *(f"{name} {value}".strip() for name, value in self._facts)]

    @property
    def _shadow(self) -> int:
        """Room around the card for its shadow; without translucency it has none, and no round corners either."""
        return SHADOW_PX if self._style_now.translucent else 0

    def _wanted_size(self) -> QSize:
        style = self._style_now
        metrics = QFontMetricsF(style.small.font)
        self._name_width = max(metrics.horizontalAdvance(name) for name, _ in self._facts)
        values = max(metrics.horizontalAdvance(value) for _, value in self._facts)
        title = QFontMetricsF(self._title_font()).horizontalAdvance(self._title)
        kind = metrics.horizontalAdvance(KIND_STYLES[self._view.kind].label) if self._view else 0.0
        wide = max(self._name_width + COLUMN_GAP_PX + values, title + COLUMN_GAP_PX + kind)
        high = style.code.pitch + 6 + len(self._facts) * style.small.pitch
        margin = 2 * (PAD_PX + self._shadow)
        parent = self.parentWidget()
        room = parent.width() - margin - 2 if parent is not None else MAX_WIDTH_PX
        return QSize(int(min(wide, MAX_WIDTH_PX, room)) + margin + 2, int(high) + margin)

    def _title_font(self) -> QFont:
        font = QFont(self._style_now.code.font)
        font.setWeight(QFont.Weight.DemiBold)
        return font

    def _place(self, near: QRect) -> QPoint:
        parent = self.parentWidget()
        area = parent.rect() if parent is not None else near
        shadow = self._shadow
        x = min(near.left() - shadow - PAD_PX, area.right() - self.width())
        below = near.bottom() - shadow + 6
        above = near.top() - self.height() + shadow - 6
        y = above if below + self.height() > area.bottom() and above > area.top() else below
        return QPoint(max(x, area.left()), y)

    def paintEvent(self, _event: QPaintEvent) -> None:
        if self._view is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        style = self._style_now
        shadow, radius = self._shadow, RADIUS_PX if style.translucent else 0
        box = QRectF(self.rect()).adjusted(shadow, shadow, -shadow, -shadow)
        painter.setPen(Qt.PenStyle.NoPen)
        for spread in range(shadow, 0, -2):
            painter.setBrush(with_alpha("#000000", 0.028))
            grown = box.adjusted(-spread, -spread + 3, spread, spread)
            painter.drawRoundedRect(grown, RADIUS_PX + spread, RADIUS_PX + spread)
        if not style.translucent:
            painter.fillRect(
                self.rect(), QColor(style.tokens.border_strong)
            )  # to the last pixel of its corners
        painter.setPen(QPen(QColor(style.tokens.border_strong), 1))
        painter.setBrush(QColor(style.tokens.surface))
        painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), radius, radius)
        inner = box.adjusted(PAD_PX, PAD_PX - 2, -PAD_PX, -PAD_PX)
        self._draw_title(painter, inner)
        self._draw_facts(painter, inner)
        painter.end()

    def _draw_title(self, painter: QPainter, inner: QRectF) -> None:
        assert self._view is not None
        style, look = self._style_now, KIND_STYLES[self._view.kind]
        row = QRectF(inner.left(), inner.top(), inner.width(), style.code.pitch)
        painter.setFont(self._title_font())
        painter.setPen(QColor(style.tokens.text))
        painter.drawText(row, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self._title)
        colour = style.kinds[self._view.kind]
        painter.setFont(style.small.font)
        painter.setPen(colour)
        painter.drawText(row, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, look.label)
        wide = QFontMetricsF(style.small.font).horizontalAdvance(look.label)
        style.marks.draw_sample(
            painter, self._view.kind, row.right() - wide, row.right(), row.center().y() + 8.5
        )

    def _draw_facts(self, painter: QPainter, inner: QRectF) -> None:
        style = self._style_now
        metrics = QFontMetricsF(style.small.font)
        baseline = inner.top() + style.code.pitch + 6 + style.small.baseline
        left = inner.left() + self._name_width + COLUMN_GAP_PX
        painter.setFont(style.small.font)
        for name, value in self._facts:
            painter.setPen(QColor(style.tokens.muted))
            painter.drawText(QPointF(inner.left(), baseline), name)
            painter.setPen(QColor(style.tokens.text))
            shown = metrics.elidedText(value, Qt.TextElideMode.ElideRight, inner.right() - left + 1)
            painter.drawText(QPointF(left, baseline), shown)
            baseline += style.small.pitch
