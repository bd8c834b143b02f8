"""The four marks that tell token classes apart without colour: solid, wavy, double, dotted.

Drawn by hand. Qt's own underlines of a 15 px font are one pixel thick: at a scale of 1 two of them
are hardly apart, its wave starts anew at every run, and all four sit at the font's own underline position, where
they touch descenders. These keep their shape at every scale.

Cost: stroking waves took 1.9 ms for a line of text and filling dots 0.8 ms, 80 % of a repaint; rectangles take 4 µs. So
solid and double marks are rectangles, and waves and dots are cut from a pattern that is drawn once per class and scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen, QPixmap

from chatapp.domain.palette import KIND_STYLES, Underline
from chatapp.domain.tokens import TokenKind

THICKNESS_PX = 1.4
WAVE_LENGTH_PX = 6.0
WAVE_HEIGHT_PX = 1.6
DOUBLE_THICKNESS_PX = 1.0
DOUBLE_TOPS_PX = (-2.0, 1.0)
"""Whole pixels, so that both lines are crisp at a scale of 1."""
DOT_PX = 1.9
DOT_PITCH_PX = 4.4
TOKEN_GAP_PX = 1.5
"""What stays free between neighbouring tokens, so that a reader sees where one ends."""
PATTERN_WIDTH_PX = 960
PATTERN_HEIGHT_PX = 8


def underline_boxes(underline: Underline, left: float, right: float) -> list[QRectF]:
    """The boxes of one token's mark between `left` and `right`; y = 0 is the mark's middle.

    Solid and double boxes are to be filled, wavy and dotted ones are windows on their pattern, never cut mid-shape.
    """
    wide = max(right - left - TOKEN_GAP_PX, 1.0)
    if underline is Underline.SOLID:
        return [QRectF(left, -THICKNESS_PX / 2, wide, THICKNESS_PX)]
    if underline is Underline.DOUBLE:
        return [QRectF(left, top, wide, DOUBLE_THICKNESS_PX) for top in DOUBLE_TOPS_PX]
    if underline is Underline.WAVY:
        half = WAVE_LENGTH_PX / 2
        shape = max(math.floor(wide / half), 1) * half
    else:
        shape = max(math.floor((wide - DOT_PX) / DOT_PITCH_PX), 0) * DOT_PITCH_PX + DOT_PX
    return [QRectF(left, -PATTERN_HEIGHT_PX / 2, min(shape, wide, PATTERN_WIDTH_PX), PATTERN_HEIGHT_PX)]


def _pattern(underline: Underline, colour: QColor, scale: float) -> QPixmap:
    """A long piece of wave or dots, y = 0 in its middle."""
    pattern = QPixmap(QSize(math.ceil(PATTERN_WIDTH_PX * scale), math.ceil(PATTERN_HEIGHT_PX * scale)))
    pattern.setDevicePixelRatio(scale)
    pattern.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pattern)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.translate(0, PATTERN_HEIGHT_PX / 2)
    path = QPainterPath()
    if underline is Underline.WAVY:
        half = WAVE_LENGTH_PX / 2
        path.moveTo(0, 0)
        for number in range(math.ceil(PATTERN_WIDTH_PX / half)):
            swing = 2 * WAVE_HEIGHT_PX * (-1 if number % 2 == 0 else 1)
            path.quadTo(number * half + half / 2, swing, (number + 1) * half, 0)
        painter.setPen(QPen(colour, THICKNESS_PX))
    else:
        for number in range(math.ceil(PATTERN_WIDTH_PX / DOT_PITCH_PX)):
            path.addEllipse(QPointF(DOT_PX / 2 + number * DOT_PITCH_PX, 0), DOT_PX / 2, DOT_PX / 2)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour)
    painter.drawPath(path)
    painter.end()
    return pattern


class MarkPainter:
    """Draws the marks of token classes in their colours; keeps the patterns it has drawn."""

    def __init__(self, colours: Mapping[TokenKind, QColor]) -> None:
        self._colours = dict(colours)
        self._patterns: dict[tuple[TokenKind, float], QPixmap] = {}

    def draw(self, painter: QPainter, kind: TokenKind, boxes: Sequence[QRectF]) -> None:
        """Draw boxes made by `underline_boxes`, in the painter's coordinates; the painter must be antialiasing."""
        underline = KIND_STYLES[kind].underline
        if underline in (Underline.SOLID, Underline.DOUBLE):
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._colours[kind])
            painter.drawRects(boxes)
            return
        scale = painter.device().devicePixelRatio()
        pattern = self._patterns.get((kind, scale))
        if pattern is None:
            pattern = self._patterns[kind, scale] = _pattern(underline, self._colours[kind], scale)
        for box in boxes:
            # Whole pixels: a fractional edge is a fringe that Qt draws otherwise when only a part is painted again.
            window = QRectF(0, 0, math.ceil(box.width() * scale), box.height() * scale)
            painter.drawPixmap(QPointF(round(box.left()), box.top()), pattern, window)

    def draw_sample(self, painter: QPainter, kind: TokenKind, left: float, right: float, y: float) -> None:
        """One mark from `left` to `right` at height `y`."""
        boxes = underline_boxes(KIND_STYLES[kind].underline, left, right + TOKEN_GAP_PX)
        self.draw(painter, kind, [box.translated(0, y) for box in boxes])
