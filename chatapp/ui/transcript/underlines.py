"""The four marks that tell token classes apart without colour: solid, wavy, dashed, dotted.

Drawn by hand. Qt's own underlines of a 15 px font are one pixel thick: at a scale of 1 its dashed and dotted ones differ
by two pixels per period, its wave is drawn from a cached pixmap that starts anew at every run, and all four sit at the
font's own underline position, where they touch descenders. These keep their shape at every scale.
"""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen

from chatapp.domain.palette import Underline

THICKNESS_PX = 1.4
WAVE_LENGTH_PX = 6.0
WAVE_HEIGHT_PX = 1.5
DASH_PX = 6.0
DASH_GAP_PX = 3.5
DOT_PX = 1.9
DOT_PITCH_PX = 4.4
TOKEN_GAP_PX = 1.5
"""What stays free between neighbouring tokens, so that a reader sees where one ends."""


def add_underline(path: QPainterPath, underline: Underline, left: float, right: float, y: float) -> None:
    """Append the mark of one token, from `left` to `right` at height `y`, to the path of its class in its line."""
    right -= TOKEN_GAP_PX
    if right - left < 1.0:
        right = left + 1.0
    if underline is Underline.SOLID:
        path.moveTo(left, y)
        path.lineTo(right, y)
    elif underline is Underline.WAVY:
        _add_wave(path, left, right, y)
    elif underline is Underline.DASHED:
        _add_dashes(path, left, right, y)
    else:
        _add_dots(path, left, right, y)


def _add_wave(path: QPainterPath, left: float, right: float, y: float) -> None:
    half = WAVE_LENGTH_PX / 2
    count = max(round((right - left) / half), 1)
    step = (right - left) / count
    path.moveTo(left, y)
    for number in range(count):
        x = left + number * step
        swing = -2 * WAVE_HEIGHT_PX if number % 2 == 0 else 2 * WAVE_HEIGHT_PX
        path.quadTo(x + step / 2, y + swing, x + step, y)


def _add_dashes(path: QPainterPath, left: float, right: float, y: float) -> None:
    # Whole dashes only, stretched a little to fill the token: a cut-off dash would look like a dot.
    count = max(round((right - left + DASH_GAP_PX) / (DASH_PX + DASH_GAP_PX)), 1)
    dash = (right - left - (count - 1) * DASH_GAP_PX) / count
    for number in range(count):
        x = left + number * (dash + DASH_GAP_PX)
        path.moveTo(x, y)
        path.lineTo(x + dash, y)


def _add_dots(path: QPainterPath, left: float, right: float, y: float) -> None:
    count = max(math.floor((right - left - DOT_PX) / DOT_PITCH_PX) + 1, 1)
    radius = DOT_PX / 2
    for number in range(count):
        path.addEllipse(QPointF(left + radius + number * DOT_PITCH_PX, y), radius, radius)


def draw_underline(painter: QPainter, path: QPainterPath, underline: Underline, colour: QColor) -> None:
    """Draw a path made by `add_underline`; the painter must be antialiasing."""
    if underline is Underline.DOTTED:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour)
    else:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(colour, THICKNESS_PX, Qt.PenStyle.SolidLine, Qt.PenCapStyle.FlatCap))
    painter.drawPath(path)
