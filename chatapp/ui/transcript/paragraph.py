"""One block of text in lines: where every run stands, and how it is drawn.

Why a growing paragraph stays cheap. Laying out a paragraph costs time in proportion to its length, and a reply without
line breaks is one paragraph. Lines are broken greedily, so text appended at the end can change the last line only. Each
paragraph is therefore a list of fragments, each with a `QTextLayout` of its own; once a fragment has more than
`OPEN_LINES` lines, all but its last two are settled for good and the next fragment begins behind them. An update lays
out the last fragment again, never more (figures: `canvas`).

Characters are code points outside and UTF-16 units inside; the conversion happens in `lines` and nowhere else.
This module must not know records, turns or scrolling.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import takewhile

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QRegion, QTextCharFormat, QTextLayout, QTextOption

from chatapp.domain.palette import KIND_STYLES
from chatapp.domain.tokens import TokenKind
from chatapp.ui.transcript.flow import Block, Role, Run
from chatapp.ui.transcript.lines import Cell, Fragment, Line, has_right_to_left
from chatapp.ui.transcript.style import Face, TranscriptStyle
from chatapp.ui.transcript.underlines import underline_boxes

OPEN_LINES = 4
SETTLED_BEHIND = 2
SLICE_CHARS = 4096
TAB_CHARS = 4
MIN_CELL_PX = 3.0

_STRONG = re.compile(r"[^\W\d_]")


class Paragraph:
    """Lines of one block at one width. `width` and `style` are those of the last `lay_out`."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.lines: list[Line] = []
        self.width = 0.0
        self._face: Face | None = None
        self._style: TranscriptStyle | None = None
        self._right_to_left = False

    @property
    def height(self) -> float:
        return (self._face.pitch if self._face else 0) * max(len(self.lines), 1)

    @property
    def natural_width(self) -> float:
        return max((line.text_line.naturalTextWidth() for line in self.lines), default=0.0)

    def lay_out(self, style: TranscriptStyle, face: Face, width: float, unchanged: int = 0) -> QRectF:
        """Break the block into lines; its first `unchanged` characters are as they were at the last call.

        Returns a box around what may have changed in the first line that did; below it everything may have, above it nothing.
        """
        if style is not self._style or face is not self._face or width != self.width:
            self._style, self._face, self.width = style, face, width
            unchanged = 0
        self._find_direction()
        before = self.lines[:]
        start = self._keep_settled(unchanged)
        shown = self.block.shown
        kept = len(self.lines)
        while True:
            piece = shown[start : start + SLICE_CHARS]
            whole = start + len(piece) == len(shown)
            first = len(self.lines)
            self._lay_out_piece(piece, start)
            count = len(self.lines) - first
            if whole and count <= OPEN_LINES:
                break
            keep = max(count - SETTLED_BEHIND, 1)
            if not whole or keep < count:
                start = self.lines[first + keep - 1].end
                del self.lines[first + keep :]
            if start >= len(shown):
                break
        return self._first_change(before, kept, unchanged)

    def _first_change(self, before: list[Line], kept: int, unchanged: int) -> QRectF:
        """Most of the last fragment comes out as it was: what only was laid out again need not be painted again."""
        assert self._face is not None
        pairs = zip(before[kept:], self.lines[kept:], strict=False)
        like = takewhile(lambda pair: pair[1].end <= unchanged and pair[0].like(pair[1]), pairs)
        same = kept + sum(1 for _ in like)
        box = QRectF(0.0, same * self._face.pitch, self.width, self._face.pitch)
        if same < min(len(before), len(self.lines)):
            left, right = before[same].difference(self.lines[same], self.width)
            box.setLeft(left)
            box.setRight(right)
        return box

    def _find_direction(self) -> None:
        """Every fragment must agree on the direction: that of the block's first letter."""
        strong = _STRONG.search(self.block.shown)
        self._right_to_left = strong is not None and has_right_to_left(strong[0])

    def _keep_settled(self, unchanged: int) -> int:
        """Drop the last fragment, and every other that a change behind `unchanged` can reach. Returns where to begin."""
        while self.lines:
            fragment = self.lines[-1].fragment
            while self.lines and self.lines[-1].fragment is fragment:
                self.lines.pop()
            if fragment.start <= unchanged:
                return fragment.start
        return 0

    def _lay_out_piece(self, piece: str, start: int) -> None:
        assert self._style is not None
        assert self._face is not None
        layout = QTextLayout(piece, self._face.font)
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        right = Qt.LayoutDirection.RightToLeft if self._right_to_left else Qt.LayoutDirection.LeftToRight
        option.setTextDirection(right)
        option.setTabStopDistance(TAB_CHARS * self._face.font.pixelSize() * 0.6)
        layout.setTextOption(option)
        layout.setCacheEnabled(True)
        fragment = Fragment(layout, piece, start)
        first = len(self.lines)
        layout.setFormats(list(self._formats(fragment, start + len(piece))))
        layout.beginLayout()
        while (text_line := layout.createLine()).isValid():
            text_line.setLineWidth(self.width)
            begin = fragment.offset(text_line.textStart())
            end = fragment.offset(text_line.textStart() + text_line.textLength())
            top = float(len(self.lines) * self._face.pitch)
            text_line.setPosition(QPointF(0.0, self._face.baseline - text_line.ascent()))
            mixed = self._right_to_left or has_right_to_left(piece[begin - start : end - start])
            self.lines.append(Line(fragment, text_line, begin, end, top, mixed))
        layout.endLayout()
        for line in self.lines[first:]:
            line.cells = list(self._cells(line))

    def _formats(self, fragment: Fragment, end: int) -> Iterator[QTextLayout.FormatRange]:
        """Colours of the runs; neighbours that look alike share a range, so that their letters are shaped together."""
        looks: tuple[Role, TokenKind | None] | None = None
        begin = fragment.start
        for run in self._runs(fragment.start, end):
            look = (run.role, None if fragment.mixed and run.role is Role.TEXT else run.kind)
            if look != looks or run.role is Role.MARK:
                if looks is not None:
                    yield self._format(fragment, begin, max(run.shown_start, fragment.start), looks)
                looks, begin = look, max(run.shown_start, fragment.start)
        if looks is not None:
            yield self._format(fragment, begin, end, looks)

    def _format(
        self, fragment: Fragment, begin: int, end: int, look: tuple[Role, TokenKind | None]
    ) -> QTextLayout.FormatRange:
        assert self._style is not None
        assert self._face is not None
        role, kind = look
        chars = QTextCharFormat()
        if role is Role.MARK:
            chars.setFont(self._face.mark_font)
            chars.setForeground(QColor(self._style.tokens.accent))
        elif role is Role.LINE_END:
            chars.setForeground(self._style.veil(self._style.colour(kind), 0.7))
        elif not fragment.mixed:
            chars.setForeground(self._style.colour(kind))
        found = QTextLayout.FormatRange()
        found.start = fragment.unit(begin)
        found.length = fragment.unit(end) - fragment.unit(begin)
        found.format = chars
        return found

    def _runs(self, start: int, end: int) -> Iterator[Run]:
        """Runs that overlap `shown[start:end]`."""
        runs = self.block.runs
        first = max(bisect_right(runs, start, key=lambda run: run.shown_start) - 1, 0)
        for index in range(first, len(runs)):
            run = runs[index]
            if run.shown_start >= end:
                return
            if run.shown_end > start:
                yield run

    def _cells(self, line: Line) -> Iterator[Cell]:
        # Spaces at a soft line end hang out over the margin; only the block's own last spaces are shown.
        last = line.end == len(self.block.shown)
        limit = self.width if last else line.text_line.naturalTextWidth() + line.text_line.x()
        right = 0.0
        for number, run in enumerate(self._runs(line.start, line.end)):
            begin, end = max(run.shown_start, line.start), min(run.shown_end, line.end)
            if line.mixed:
                extents = line.extents(begin, end)
                if (
                    run.role is Role.MARK and extents
                ):  # one pill, also where its isolates are glyph runs of their own
                    extents = [(min(left for left, _ in extents), max(right for _, right in extents))]
                yield from (Cell(run, *extent) for extent in extents)
                continue
            left = right if number else line.x_of(begin)
            right = line.x_of(end)
            near = min(left, max(limit - MIN_CELL_PX, 0.0))
            yield Cell(run, near, max(min(right, limit), near))

    # --- where things are -------------------------------------------------------------------------------------------

    def line_at(self, y: float) -> int:
        """Index of the line at height `y`, the nearest one outside."""
        assert self._face is not None
        return min(max(int(y // self._face.pitch), 0), len(self.lines) - 1)

    def cell_at(self, x: float, y: float) -> Cell | None:
        """The cell under a point, None beside the text."""
        if not self.lines or not 0 <= y < self.height:
            return None
        for cell in self.lines[self.line_at(y)].cells:
            if cell.left <= x < max(cell.right, cell.left + MIN_CELL_PX):
                return cell
        return None

    def source_at(self, x: float, y: float) -> int:
        """The text offset nearest to a point: where a selection would begin."""
        if not self.lines:
            return self.block.start
        line = self.lines[self.line_at(y)]
        shown = line.fragment.offset(line.text_line.xToCursor(x))
        return self.to_source(min(max(shown, line.start), line.end))

    def to_source(self, shown: int) -> int:
        for run in self._runs(shown, shown + 1):
            return run.start + (shown - run.shown_start) if run.role is Role.TEXT else run.start
        return self.block.end

    def to_shown(self, offset: int) -> int:
        """Where text character `offset` stands in `shown`; behind the marks that lie before it."""
        for index in range(bisect_right(self.block.runs, offset, key=lambda run: run.start) - 1, -1, -1):
            run = self.block.runs[index]
            if run.role is Role.TEXT:
                return min(run.shown_start + offset - run.start, run.shown_end)
        return 0

    def place_of(self, offset: int) -> tuple[float, float]:
        """x and top of text character `offset`, px."""
        if not self.lines:
            return 0.0, 0.0
        shown = self.to_shown(offset)
        index = max(bisect_right(self.lines, shown, key=lambda line: line.start) - 1, 0)
        line = self.lines[index]
        return line.x_of(min(shown, line.end)), line.top

    def spans(self, start: int, end: int) -> Iterator[QRectF]:
        """Rectangles behind the text characters `start`:`end`."""
        assert self._face is not None
        begin, stop = self.to_shown(max(start, self.block.start)), self.to_shown(min(end, self.block.end))
        for line in self.lines:
            if line.end <= begin or line.start >= stop:
                continue
            for left, right in line.extents(max(begin, line.start), min(stop, line.end)):
                yield QRectF(left, line.top, min(right, self.width) - left, self._face.pitch)

    def token_rects(self, first: int, last: int) -> Iterator[QRectF]:
        """The rectangle of every line's part of the tokens `first`..`last`."""
        assert self._face is not None
        for line in self.lines:
            box: QRectF | None = None
            for cell in line.cells:
                if cell.run.role is not Role.MARK and first <= cell.run.token <= last:
                    here = QRectF(cell.left, line.top, cell.right - cell.left, self._face.pitch)
                    box = here if box is None else box.united(here)
            if box is not None:
                yield box

    # --- drawing ----------------------------------------------------------------------------------------------------

    def draw(self, painter: QPainter, origin: QPointF, top: float, bottom: float) -> None:
        """Draw the lines between the heights `top` and `bottom` (px in the painter's system)."""
        if not self.lines or self._style is None or self._face is None:
            return
        first = self.line_at(top - origin.y())
        last = self.line_at(bottom - origin.y())
        for line in self.lines[first : last + 1]:
            at = QPointF(origin.x(), origin.y() + line.top)
            self._draw_pills(painter, line, at)
            if line.fragment.mixed:
                self._draw_joined(painter, line, at)
            else:
                line.text_line.draw(painter, at)
            if line.marks is None:
                line.marks = self._marks(line)
            painter.translate(at)
            for kind, boxes in line.marks.items():
                self._style.marks.draw(painter, kind, boxes)
            painter.translate(-at)

    def _draw_joined(self, painter: QPainter, line: Line, at: QPointF) -> None:
        """Colours by clipping: a colour format would end the shaping run, and Arabic letters would fall apart there."""
        assert self._style is not None
        assert self._face is not None
        boxes: dict[TokenKind | None, QRegion] = {}
        for cell in line.cells:
            box = QRectF(cell.left, 0, cell.right - cell.left, self._face.pitch).translated(at).toRect()
            boxes[cell.run.kind] = boxes.get(cell.run.kind, QRegion()).united(box)
        rest = QRegion(QRectF(0, 0, self.width, self._face.pitch).translated(at).toAlignedRect())
        for kind, region in boxes.items():
            # The last class takes what no cell covers (swashes, halves of ligatures): every pixel is drawn once.
            mine = rest if kind is list(boxes)[-1] else region.intersected(rest)
            rest = rest.subtracted(region)
            painter.save()
            painter.setClipRegion(mine, Qt.ClipOperation.IntersectClip)
            painter.setPen(self._style.colour(kind))
            line.text_line.draw(painter, at)
            painter.restore()

    def _marks(self, line: Line) -> dict[TokenKind, list[QRectF]]:
        assert self._face is not None
        marks: dict[TokenKind, list[QRectF]] = {}
        middle = self._face.baseline + round(self._face.font.pixelSize() * 0.3)
        for cell in line.cells:
            kind = cell.run.kind
            if kind is not None and cell.run.role is Role.TEXT and cell.right > cell.left:
                left = self._ink_left(line, cell)
                if left < cell.right:
                    boxes = underline_boxes(KIND_STYLES[kind].underline, left, cell.right)
                    marks.setdefault(kind, []).extend(box.translated(0, middle) for box in boxes)
        return marks

    def _ink_left(self, line: Line, cell: Cell) -> float:
        """Where a token's mark begins: behind its leading space, so that words stand apart; a mere space is marked whole."""
        begin, end = max(cell.run.shown_start, line.start), min(cell.run.shown_end, line.end)
        text = self.block.shown[begin:end]
        spaces = len(text) - len(text.lstrip(" "))
        if not spaces or line.mixed:
            return cell.left
        if spaces == len(text):
            # The space hangs at a soft line end and its word begins the next line: the mark goes there.
            return cell.left if end == cell.run.shown_end else cell.right
        return max(line.x_of(begin + spaces), cell.left)

    def _draw_pills(self, painter: QPainter, line: Line, at: QPointF) -> None:
        assert self._style is not None
        assert self._face is not None
        for cell in line.cells:
            if cell.run.role is Role.MARK:
                height = round(self._face.mark_font.pixelSize() * 1.55)
                middle = self._face.baseline - self._face.mark_font.pixelSize() * 0.36
                box = QRectF(cell.left + 2, round(middle - height / 2), cell.right - cell.left - 3, height)
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(QColor(self._style.tokens.accent_soft))
                painter.drawRoundedRect(box.translated(at), height / 2, height / 2)
