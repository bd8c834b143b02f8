"""A switch, on or off, painted by hand. It must not know what it switches."""

from __future__ import annotations

from PySide6.QtCore import QEasingCurve, QRectF, QSize, Qt, QVariantAnimation
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QWidget

from chatapp.ui.display_mode import DisplayedWidget
from chatapp.ui.theme import SPACE_2_PX, ThemedWidget, Tokens

TRACK_WIDTH_PX = 34
TRACK_HEIGHT_PX = 20
KNOB_MARGIN_PX = 3
RING_PX = 3
SLIDE_MS = 120


class ToggleSwitch(QAbstractButton, ThemedWidget, DisplayedWidget):
    """A checkable button with its label on the right; Space and a click flip it, as with every button of Qt."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setText(text)
        self.setCheckable(True)
        self.setAccessibleName(text)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._place = 0.0
        self._slide = QVariantAnimation(self)
        self._slide.setDuration(SLIDE_MS)
        self._slide.setEasingCurve(QEasingCurve.Type.OutCubic)
        self._slide.valueChanged.connect(self._on_slide)
        self.toggled.connect(self._on_toggled)

    def set_tokens(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.update()

    def sizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        width = 2 * RING_PX + TRACK_WIDTH_PX + SPACE_2_PX + metrics.horizontalAdvance(self.text())
        return QSize(width + RING_PX, max(TRACK_HEIGHT_PX + 2 * RING_PX, metrics.height() + 2))

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def _on_toggled(self, on: bool) -> None:
        self._slide.stop()
        if not (self.isVisible() and self.display.animated):
            self._place = 1.0 if on else 0.0
            self.update()
            return
        self._slide.setStartValue(self._place)
        self._slide.setEndValue(1.0 if on else 0.0)
        self._slide.start()

    def _on_slide(self, place: float) -> None:
        self._place = place
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        track = QRectF(RING_PX, (self.height() - TRACK_HEIGHT_PX) / 2, TRACK_WIDTH_PX, TRACK_HEIGHT_PX)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._track_colour()))
        painter.drawRoundedRect(track, TRACK_HEIGHT_PX / 2, TRACK_HEIGHT_PX / 2)
        knob = TRACK_HEIGHT_PX - 2 * KNOB_MARGIN_PX
        left = track.left() + KNOB_MARGIN_PX + self._place * (TRACK_WIDTH_PX - knob - 2 * KNOB_MARGIN_PX)
        painter.setBrush(QColor(self.tokens.on_accent if self.isChecked() else self.tokens.surface))
        painter.drawEllipse(QRectF(left, track.top() + KNOB_MARGIN_PX, knob, knob))
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(self.tokens.focus), 2))
            ring = track.adjusted(-2, -2, 2, 2)
            painter.drawRoundedRect(ring, ring.height() / 2, ring.height() / 2)
        painter.setPen(QColor(self.tokens.text if self.isEnabled() else self.tokens.disabled))
        place = self.rect().adjusted(RING_PX + TRACK_WIDTH_PX + SPACE_2_PX, 0, 0, 0)
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, self.text())

    def _track_colour(self) -> str:
        if not self.isEnabled():
            return self.tokens.border
        return self.tokens.accent if self.isChecked() else self.tokens.border_strong
