"""Paragraphs under one another: the text of a prompt, of a reply or of a notice.

Text between code fences stands on panels in a monospace font; blank lines are lower than lines of text. Heights are kept
per paragraph, so that an update measures only what changed. This module must not know records or turns.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

from chatapp.ui.transcript.flow import Block
from chatapp.ui.transcript.lines import Cell
from chatapp.ui.transcript.paragraph import Paragraph
from chatapp.ui.transcript.style import (
    CODE_GAP_PX,
    CODE_PAD_X_PX,
    CODE_PAD_Y_PX,
    CODE_RADIUS_PX,
    Face,
    TranscriptStyle,
)

BLANK_LINE_SHARE = 0.6


class TextStack:
    """Blocks laid out at one width; all coordinates are px from the stack's top left corner."""

    def __init__(self) -> None:
        self.paragraphs: list[Paragraph] = []
        self.height = 0.0
        self._tops: list[float] = []
        self._style: TranscriptStyle | None = None
        self._face: Face | None = None
        self._width = 0.0

    def lay_out(
        self,
        blocks: Sequence[Block],
        style: TranscriptStyle,
        width: float,
        *,
        face: Face | None = None,
        first: int = 0,
        unchanged: int = 0,
    ) -> QRectF:
        """Lay out `blocks`, whose first `first` are as they were, with `unchanged` characters of the next.

        `face` is that of text; None: the body's. Returns a box around what may have changed in the first line that did; below
        it everything may have, above it nothing.
        """
        face = face or style.body
        if style is not self._style or face is not self._face or width != self._width:
            self._style, self._face, self._width = style, face, width
            first = unchanged = 0
        same = first < len(self.paragraphs) and self.paragraphs[first].block is blocks[first]
        old_top = self._tops[first] if first < len(self._tops) else self.height
        del self.paragraphs[first + same :]
        del self._tops[first + same :]
        changed = QRectF(0.0, self.height, width, 0.0)
        for index in range(first, len(blocks)):
            if index == len(self.paragraphs):
                self.paragraphs.append(Paragraph(blocks[index]))
                self._tops.append(0.0)
                unchanged = 0
            box = self._lay_out_one(index, style, face, unchanged)
            if index == first:
                changed = box.translated(self._left(index), self._tops[index])
                if (
                    not box.top() and not same
                ):  # a new block, perhaps with a panel, where another one may have been
                    panel = CODE_PAD_Y_PX if self._is_code(index) else 0
                    top = min(self._tops[index] - panel, old_top)
                    changed = QRectF(0.0, top, width, changed.bottom() - top)
        last = len(self.paragraphs) - 1
        self.height = self._bottom(last) + (CODE_PAD_Y_PX if self._is_code(last) else 0) if blocks else 0.0
        return changed

    def _lay_out_one(self, index: int, style: TranscriptStyle, face: Face, unchanged: int) -> QRectF:
        paragraph = self.paragraphs[index]
        code = paragraph.block.is_code
        inner = self._width - 2 * CODE_PAD_X_PX if code else self._width
        changed = paragraph.lay_out(style, style.code if code else face, inner, unchanged)
        top = self._bottom(index - 1) if index else 0.0
        after_code = index > 0 and self._is_code(index - 1)
        if code != after_code:
            top += CODE_PAD_Y_PX + (CODE_GAP_PX if index else 0)
        self._tops[index] = top
        return changed

    def _is_code(self, index: int) -> bool:
        return self.paragraphs[index].block.is_code

    def _bottom(self, index: int) -> float:
        paragraph = self.paragraphs[index]
        blank = not paragraph.block.shown and not paragraph.block.is_code and len(self.paragraphs) > 1
        return self._tops[index] + (round(paragraph.height * BLANK_LINE_SHARE) if blank else paragraph.height)

    def _left(self, index: int) -> float:
        return CODE_PAD_X_PX if self._is_code(index) else 0.0

    @property
    def natural_width(self) -> float:
        return max((paragraph.natural_width for paragraph in self.paragraphs), default=0.0)

    @property
    def has_code(self) -> bool:
        return any(paragraph.block.is_code for paragraph in self.paragraphs)

    # --- where things are -------------------------------------------------------------------------------------------

    def index_at(self, y: float) -> int:
        """Index of the paragraph at height `y`, the nearest one outside."""
        return max(bisect_right(self._tops, y) - 1, 0)

    def cell_at(self, x: float, y: float) -> Cell | None:
        if not self.paragraphs:
            return None
        index = self.index_at(y)
        return self.paragraphs[index].cell_at(x - self._left(index), y - self._tops[index])

    def source_at(self, x: float, y: float) -> int:
        if not self.paragraphs:
            return 0
        index = self.index_at(y)
        return self.paragraphs[index].source_at(x - self._left(index), y - self._tops[index])

    def index_of(self, offset: int) -> int:
        """Index of the paragraph that holds text character `offset`."""
        return max(bisect_right(self.paragraphs, offset, key=lambda one: one.block.start) - 1, 0)

    def place_of(self, offset: int) -> QRectF:
        """A rectangle without width before text character `offset`, as high as its line."""
        if not self.paragraphs:
            return QRectF(0.0, 0.0, 0.0, self._face.pitch if self._face else 0.0)
        index = self.index_of(offset)
        paragraph = self.paragraphs[index]
        x, top = paragraph.place_of(offset)
        return QRectF(x + self._left(index), top + self._tops[index], 0.0, self._pitch(index))

    def _pitch(self, index: int) -> float:
        paragraph = self.paragraphs[index]
        return paragraph.height / max(len(paragraph.lines), 1)

    def spans(self, start: int, end: int) -> Iterator[QRectF]:
        """Rectangles behind the text characters `start`:`end`."""
        for index in range(self.index_of(start), len(self.paragraphs)):
            paragraph = self.paragraphs[index]
            if paragraph.block.start >= end:
                return
            for box in paragraph.spans(start, end):
                yield box.translated(self._left(index), self._tops[index])

    def token_rects(self, start: int, end: int, first: int, last: int) -> Iterator[QRectF]:
        """Rectangles, one per line, of the tokens `first`..`last`, which lie within the text `start`:`end`."""
        for index in range(self.index_of(start), len(self.paragraphs)):
            paragraph = self.paragraphs[index]
            if paragraph.block.start > end:
                return
            for box in paragraph.token_rects(first, last):
                yield box.translated(self._left(index), self._tops[index])

    # --- drawing ----------------------------------------------------------------------------------------------------

    def draw_panels(self, painter: QPainter, origin: QPointF, top: float, bottom: float) -> None:
        """The panels behind code, as far as they reach into `top`..`bottom`."""
        assert self._style is not None
        first = 0
        while first < len(self.paragraphs):
            if not self._is_code(first):
                first += 1
                continue
            last = first
            while last + 1 < len(self.paragraphs) and self._is_code(last + 1):
                last += 1
            upper = self._tops[first] - CODE_PAD_Y_PX
            box = QRectF(0, upper, self._width, self._bottom(last) + CODE_PAD_Y_PX - upper).translated(origin)
            if box.bottom() >= top and box.top() <= bottom:
                painter.setPen(QPen(QColor(self._style.tokens.border), 1))
                painter.setBrush(QColor(self._style.tokens.sunken))
                painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), CODE_RADIUS_PX, CODE_RADIUS_PX)
            first = last + 1

    def draw(self, painter: QPainter, origin: QPointF, top: float, bottom: float) -> None:
        """Draw what lies between the heights `top` and `bottom` of the painter's system."""
        if not self.paragraphs:
            return
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for index in range(self.index_at(top - origin.y()), len(self.paragraphs)):
            at = origin + QPointF(self._left(index), self._tops[index])
            if at.y() > bottom:
                return
            self.paragraphs[index].draw(painter, at, top, bottom)
