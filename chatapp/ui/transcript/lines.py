"""One laid out line and its cells: the bridge between characters of a block and Qt's UTF-16 positions and pixels.

Knows nothing of styles or of how lines are broken.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import takewhile
from typing import cast

from PySide6.QtCore import QRectF
from PySide6.QtGui import QTextLayout, QTextLine

from chatapp.domain.tokens import TokenKind
from chatapp.ui.transcript.flow import Run
from chatapp.ui.transcript.graphemes import is_basic, utf16_offsets

OVERHANG_PX = 3
"""How far a letter may reach out of its cell."""

_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)


def has_right_to_left(text: str) -> bool:
    """Whether any letter of `text` runs from right to left."""
    return not text.isascii() and _RIGHT_TO_LEFT.search(text) is not None


class Fragment:
    """A `QTextLayout` over a piece of a block that begins at character `start`.

    `mixed`: some of it runs from right to left.
    """

    def __init__(self, layout: QTextLayout, text: str, start: int) -> None:
        self.layout = layout
        self.start = start
        self.mixed = has_right_to_left(text)
        self._units = None if is_basic(text) else utf16_offsets(text)

    def unit(self, offset: int) -> int:
        """UTF-16 offset in the layout of character `offset` of the block."""
        local = offset - self.start
        return local if self._units is None else self._units[local]

    def offset(self, unit: int) -> int:
        return self.start + (unit if self._units is None else bisect_right(self._units, unit) - 1)


@dataclass(frozen=True, slots=True)
class Cell:
    """The part of a run that stands in one line, from `left` to `right` px from the paragraph's left edge."""

    run: Run
    left: float
    right: float


@dataclass(slots=True)
class Line:
    """One line. `start`:`end` are characters of `Block.shown`; `top` is px from the paragraph's top.

    `mixed`: some of it runs from right to left. `cells` cover every run of the line; `marks` are made when the line is
    first drawn.
    """

    fragment: Fragment
    text_line: QTextLine
    start: int
    end: int
    top: float
    mixed: bool
    cells: list[Cell] = field(default_factory=list)
    marks: dict[TokenKind, list[QRectF]] | None = None

    def like(self, other: Line) -> bool:
        """Whether both show the same pieces at the same places; their text is for the caller to know."""
        return (self.start, self.end, self.cells) == (other.start, other.end, other.cells)

    def difference(self, other: Line, width: float) -> tuple[float, float]:
        """Between which x the two may differ, within `width` px. The last equal cell counts as different: its last letter may
        join the next."""
        if self.mixed or other.mixed or self.start != other.start:
            return 0.0, width
        pairs = zip(self.cells, other.cells, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        right = max((cell.right for cell in (*self.cells[same:], *other.cells[same:])), default=width)
        return self.cells[same - 1].left if same else 0.0, min(right + OVERHANG_PX, width)

    def x_of(self, offset: int) -> float:
        """Where a cursor before character `offset` stands, px."""
        # The binding returns x and the possibly adjusted position, and its stub says `object`.
        return cast("tuple[float, int]", self.text_line.cursorToX(self.fragment.unit(offset)))[0]

    def extents(self, begin: int, end: int) -> list[tuple[float, float]]:
        """Where `shown[begin:end]` stands in the line, left and right edges in px; several where directions mix."""
        if begin >= end:
            return []
        if not self.mixed:
            return [(self.x_of(begin), self.x_of(end))]
        # Where directions meet, a cursor position has two places and Qt tells one of them; glyphs stand in one place only.
        unit = self.fragment.unit(begin)
        found: list[tuple[float, float]] = []
        for glyphs in self.text_line.glyphRuns(unit, self.fragment.unit(end) - unit):
            box = glyphs.boundingRect()
            found.append((box.left(), box.right()))
        return found
